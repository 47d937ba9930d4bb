"""Makes the table and the picture of the latency of exports.

Run `python benchmarks/serving/plot.py` after `latency.py` has written its figures to
`benchmarks/serving/results`.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from tfrs_dhe.analysis._plots import save as save_picture

RESULTS = Path(__file__).parent / "results"


def milliseconds(value: float) -> str:
    """Returns three digits, or more where more are before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write_table(result: dict[str, Any]) -> None:
    """Writes the figures as a Markdown table, with their conditions."""
    rows = result["rows"]
    sizes = list(dict.fromkeys(row["batch_size"] for row in rows))
    lines = [
        f"Milliseconds, median (minimum), {result['cpus']} CPU cores, TensorFlow "
        f"{result['tensorflow']}, without Python and network. The machine's load "
        f"average was {result['load_average_before']} before. MB: the version on "
        "disk.",
        "",
        f"| answer | model | MB | {' | '.join(f'batch {size}' for size in sizes)} |",
        "|---|---|--:|" + "--:|" * len(sizes),
    ]
    for name in dict.fromkeys((r["group"], r["model"], r["megabytes"]) for r in rows):
        group, model, megabytes = name
        times = [
            f"{milliseconds(row['p50_ms'])} ({milliseconds(row['min_ms'])})"
            for row in rows
            if (row["group"], row["model"]) == (group, model)
        ]
        lines.append("| " + " | ".join([group, model, f"{megabytes:,}", *times]) + " |")
    (RESULTS / "latency.md").write_text("\n".join(lines) + "\n")


def plot(result: dict[str, Any]) -> None:
    """Draws a panel for each group, with a bar for each model and batch size."""
    rows = result["rows"]
    groups = {
        group: list(dict.fromkeys(r["model"] for r in rows if r["group"] == group))
        for group in dict.fromkeys(row["group"] for row in rows)
    }
    sizes = list(dict.fromkeys(row["batch_size"] for row in rows))
    figure, panels = plt.subplots(
        len(groups),
        figsize=(9, 1.5 + 0.65 * sum(map(len, groups.values()))),
        height_ratios=[len(names) for names in groups.values()],
    )
    for axes, (group, names) in zip(panels, groups.items(), strict=True):
        for i, size in enumerate(sizes):
            times = {
                row["model"]: row["p50_ms"]
                for row in rows
                if (row["group"], row["batch_size"]) == (group, size)
            }
            places = [names.index(name) + 0.27 * (i - 1) for name in times]
            label = f"batch {size}"
            bars = axes.barh(places, list(times.values()), height=0.27, label=label)
            axes.bar_label(bars, fmt=milliseconds, fontsize=8, padding=2)
        axes.set_xscale("log")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_title(group, fontsize=10)
    panels[-1].set_xlabel("ms, median, on a logarithmic scale")
    panels[0].legend()
    figure.suptitle(
        f"Latency of exports without Python and network, {result['cpus']} CPU cores"
    )
    figure.tight_layout()
    save_picture(figure, RESULTS / "latency")


if __name__ == "__main__":
    figures = json.loads((RESULTS / "latency.json").read_text())
    write_table(figures)
    plot(figures)
