"""Draws the latency of exports.

Run `python benchmarks/serving/plot.py` after `latency.py` has written its figures to
`benchmarks/serving/results`.
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Draws a panel for each group, with a bar for each model and batch size."""
    result = json.loads((RESULTS / "latency.json").read_text())
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
            axes.bar_label(bars, fmt="%.3g", fontsize=8, padding=2)
        axes.set_xscale("log")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_title(group, fontsize=10)
    panels[-1].set_xlabel("ms, median")
    panels[0].legend()
    figure.suptitle(
        f"Latency of exports without Python and network, {result['cpus']} CPU cores"
    )
    figure.tight_layout()
    for ending in ("png", "svg"):
        # Without the date, so that equal figures give an equal file.
        metadata = {"Date": None} if ending == "svg" else None
        figure.savefig(RESULTS / f"latency.{ending}", dpi=120, metadata=metadata)


if __name__ == "__main__":
    main()
