"""Draws the results of the speed benchmarks.

Run `python benchmarks/speed/plot.py` after the benchmarks have written their
figures to `benchmarks/speed/results`.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any]:
    """Returns the figures of one benchmark."""
    figures: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return figures


def save(figure: plt.Figure, name: str) -> None:
    """Writes a picture as PNG and SVG."""
    figure.tight_layout()
    for ending in ("png", "svg"):
        # Without the date, so that equal figures give an equal file.
        metadata = {"Date": None} if ending == "svg" else None
        figure.savefig(RESULTS / f"{name}.{ending}", dpi=120, metadata=metadata)


def plot_cityhash() -> None:
    """Time per string, of both hashes, by the length of the strings."""
    result = load("cityhash")
    rows = [row for row in result["rows"] if "ratio" in row]
    labels = [row["batch"].partition(" x ")[2] for row in rows]
    figure, axes = plt.subplots(figsize=(7, 3.5))
    for shift, name in ((-0.2, "cityhash64"), (0.2, "to_hash_bucket_fast")):
        times = [row[name] / result["batch_size"] * 1e9 for row in rows]
        places = [i + shift for i in range(len(rows))]
        bars = axes.bar(places, times, width=0.4, label=name)
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks(range(len(rows)), labels)
    axes.set_xlabel("length of the strings")
    axes.set_ylabel("ns per string")
    axes.set_title(
        f"Hashing a batch of {result['batch_size']} strings, {result['cpus']} CPU cores"
    )
    axes.legend()
    save(figure, "cityhash")


def plot_encoding() -> None:
    """Time of every encoding, op by op and compiled."""
    result = load("encoding")
    rows = result["rows"]
    names = list(dict.fromkeys(row["encoding"] for row in rows))
    figure, axes = plt.subplots(figsize=(7, 3.5))
    for shift, mode, label in ((-0.2, "ops", "op by op"), (0.2, "xla", "XLA")):
        times = {
            row["encoding"]: row["seconds"] * 1e3 for row in rows if row["mode"] == mode
        }
        places = [names.index(name) + shift for name in times]
        bars = axes.barh(places, list(times.values()), height=0.4, label=label)
        axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("ms")
    axes.set_title(
        f"int64 [{result['batch_size']}] to float32 "
        f"[{result['batch_size']}, {result['num_hashes']}], {result['cpus']} CPU cores"
    )
    axes.legend()
    save(figure, "encoding")


def plot_mach_decoding() -> None:
    """How much less the certified search works than scoring all, by the query."""
    result = load("mach_decoding")
    rows = [row for row in result["rows"] if row["batch_size"] == 1]
    names = list(dict.fromkeys(row["aggregation"] for row in rows))
    queries = list(dict.fromkeys(row["query"] for row in rows))
    figure, both = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axes, k in zip(both, (10, 100), strict=True):
        for i, query in enumerate(queries):
            ratios = {
                row["aggregation"]: row["times_less_work"]
                for row in rows
                if (row["k"], row["query"], row["method"]) == (k, query, "auto")
            }
            places = [names.index(name) + 0.27 * (i - 1) for name in ratios]
            bars = axes.barh(places, list(ratios.values()), height=0.27, label=query)
            axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.margins(x=0.1)
        axes.set_xlabel("times less work than scoring every class")
        axes.set_title(f"top {k}, one query")
    both[0].invert_yaxis()
    both[1].legend(title="query")
    figure.suptitle(
        f"Exact decoding, K = {result['num_classes']:,}, B = "
        f"{result['num_buckets']:,}, R = {result['num_repetitions']}, plain ops"
    )
    save(figure, "mach_decoding")


if __name__ == "__main__":
    plot_cityhash()
    plot_encoding()
    plot_mach_decoding()
