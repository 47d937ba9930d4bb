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

from tfrs_dhe.analysis._plots import save as save_picture

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any]:
    """Returns the figures of one benchmark."""
    figures: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return figures


def save(figure: plt.Figure, name: str) -> None:
    """Writes a picture as PNG and SVG."""
    figure.tight_layout()
    save_picture(figure, RESULTS / name)


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


def plot_decoder() -> None:
    """Time of a training step of the decoder, of every way, over its products."""
    result = load("decoder")
    rows = result["rows"]
    figure, axes = plt.subplots(figsize=(8, 3.5))
    times = [row["seconds"] * 1e3 for row in rows]
    bars = axes.barh([row["step"] for row in rows], times)
    labels = [f"{row['ratio_to_products']:.2f}" for row in rows]
    axes.bar_label(bars, labels, fontsize=8, padding=2)
    axes.axvline(1.4 * times[0], color="black", linewidth=0.8, linestyle="--")
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("ms, and times the matrix products (dashed: 1.4)")
    axes.set_title(
        f"Forward and backward, {result['num_layers']} x {result['width']}, "
        f"batch {result['batch_size']}, {result['cpus']} cores"
    )
    save(figure, "decoder")


def plot_mach_scale() -> None:
    """Time of a query by the number of classes, of every method."""
    result = load("mach_scale")
    queries: dict[tuple[str, int], dict[str, list[tuple[int, float]]]] = {}
    for num_classes, parts in result["results"].items():
        for row in (row for part in parts for row in part["rows"]):
            if row["batch_size"] == 1:
                lines = queries.setdefault((row["query"], row["k"]), {})
                point = int(num_classes), row["seconds"] * 1e3
                lines.setdefault(row["method"], []).append(point)
    figure, both = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axes, ((query, k), lines) in zip(both, queries.items(), strict=True):
        for method, points in lines.items():
            axes.loglog(*zip(*sorted(points), strict=True), marker="o", label=method)
        axes.set_xlabel("number of classes")
        axes.set_title(f"{query} query, top {k}")
        axes.grid(alpha=0.3)
    both[0].set_ylabel("ms")
    both[0].legend()
    figure.suptitle(
        f"One query, B = {result['num_buckets']:,}, R = {result['num_repetitions']}; "
        f"vectors of d = {result['dim']}, {result['cpus']} CPU cores"
    )
    save(figure, "mach_scale")


def plot_memory() -> None:
    """Time and peak memory of training steps, of what they are compared with."""
    cases = {
        "MACH head": ("mach_head", "head"),
        "two towers": ("two_towers", "model"),
    }
    figure, both = plt.subplots(1, 2, figsize=(9, 3))
    bars = [
        (f"{title}: {row[key]}", row)
        for title, (name, key) in cases.items()
        for row in load(name)["rows"]
    ]
    for axes, unit, of_row in (
        (both[0], "ms a step", lambda row: row["seconds"] * 1e3),
        (both[1], "peak memory, GB", lambda row: row["peak_bytes"] / 1e9),
    ):
        values = [of_row(row) for _, row in bars]
        drawn = axes.barh([label for label, _ in bars], values)
        # Three digits, and thousands of milliseconds as they are.
        labels = [f"{v:,.0f}" if v >= 100 else f"{v:.2f}" for v in values]
        axes.bar_label(drawn, labels, fontsize=8, padding=2)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel(unit)
    both[1].set_yticks([])
    save(figure, "training_memory")


def plot_pairs(
    rows: list[dict[str, Any]], of_label: dict[str, str], names: list[str], title: str
) -> plt.Figure:
    """Milliseconds of steps that are done in two ways.

    Args:
      rows: One for each step.
      of_label: The key of the seconds by what the way is called, two of them.
      names: What the steps are called.
      title: Of the picture.
    """
    figure, axes = plt.subplots(figsize=(9, 3))
    for shift, (label, key) in zip((-0.2, 0.2), of_label.items(), strict=True):
        times = [row[key] * 1e3 for row in rows]
        places = [i + shift for i in range(len(rows))]
        bars = axes.barh(places, times, height=0.4, label=label)
        axes.bar_label(bars, fmt="%.0f", fontsize=8, padding=2)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("ms a training step")
    axes.set_title(title)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def plot_repeated_ids() -> None:
    """A training step, each id computed once or as often as it occurs."""
    result = load("repeated_ids")
    names = [
        f"{row['set']}, {row['order']}:\n{row['distinct_ids']:,} distinct"
        for row in result["rows"]
    ]
    title = f"Batches of {result['batch_size']:,} ids, {result['cpus']} CPU cores"
    ways = {"every id": "seconds", "every distinct id": "seconds_once"}
    save(plot_pairs(result["rows"], ways, names, title), "repeated_ids")


def plot_compiled_step() -> None:
    """Training steps op by op and under XLA."""
    result = load("compiled_step")
    names = [f"{row['model']}, {row['network']}" for row in result["rows"]]
    title = f"Batch {result['batch_size']}, {result['cpus']} CPU cores"
    ways = {"op by op": "ops_seconds", "jit_compile=True": "xla_seconds"}
    save(plot_pairs(result["rows"], ways, names, title), "compiled_step")


def plot_input() -> None:
    """Epochs of the demo, and what of each is spent waiting for batches."""
    result = load("input_pipeline")
    epochs = result["epochs"]
    figure, axes = plt.subplots(figsize=(9, 3))
    labels = [f"{i // 2 + 1}: {row['batches']}" for i, row in enumerate(epochs)]
    labels = [label.replace("_", " ") for label in labels]
    waiting = [row["waiting"] for row in epochs]
    working = [row["seconds"] - row["waiting"] for row in epochs]
    bars = axes.barh(labels, waiting, label="waiting for a batch")
    axes.barh(labels, working, left=waiting, label="all else", alpha=0.5)
    shares = [f"{row['waiting'] / row['seconds']:.1%}" for row in epochs]
    axes.bar_label(bars, shares, fontsize=8, padding=2)
    axes.invert_yaxis()
    axes.set_xlabel("s")
    axes.set_title(
        f"Epochs of the demo, batches read and in memory, {result['cpus']} cores"
    )
    axes.legend(loc="lower right")
    save(figure, "input_pipeline")


def plot_out_of_core() -> None:
    """Peak memory while training from files, and the rate of embedding to files."""
    training, embedding = load("out_of_core"), load("out_of_core_embedding")
    figure, both = plt.subplots(1, 2, figsize=(9, 3.2))
    peaks = training["training, interactions"]["peak MB by tenth"]
    peaks = [training["start"]["peak MB"], *peaks]
    both[0].plot([10 * i for i in range(len(peaks))], peaks, marker="o")
    both[0].margins(y=0.1)
    both[0].set_ylim(bottom=0)
    both[0].set_xlabel(f"% of {training['num_interactions']:,} interactions")
    both[0].set_ylabel("peak memory, MB")
    rates = embedding["embedding the catalogue"]
    of_files = ["slowest", "median", "fastest"]
    values = [rates[f"a processor second, {which} file"] for which in of_files]
    both[1].bar_label(both[1].bar(of_files, values), fmt="{:,.0f}", fontsize=8)
    both[1].margins(y=0.1)
    both[1].set_xlabel(f"of {embedding['num_shards']} files of embeddings")
    both[1].set_ylabel("ids a processor second")
    save(figure, "out_of_core")


def plot_mixed_precision() -> None:
    """Quality of both policies, seed by seed."""
    result = load("mixed_precision")
    rows = result["rows"]
    names = [name for name in rows[0] if name.startswith("recall")]
    figure, both = plt.subplots(1, len(names), figsize=(8, 3))
    for axes, name in zip(both, names, strict=True):
        for policy in dict.fromkeys(row["policy"] for row in rows):
            points = [
                (row["seed"], row[name]) for row in rows if row["policy"] == policy
            ]
            axes.plot(*zip(*points, strict=True), "o", label=policy, alpha=0.7)
        axes.margins(y=0.1)
        axes.set_ylim(bottom=0)
        axes.set_xticks(sorted({row["seed"] for row in rows}))
        axes.set_xlabel("seed")
        axes.set_ylabel(name)
    both[0].legend()
    save(figure, "mixed_precision")


if __name__ == "__main__":
    plot_cityhash()
    plot_encoding()
    plot_mach_decoding()
    plot_decoder()
    plot_mach_scale()
    plot_memory()
    plot_repeated_ids()
    plot_compiled_step()
    plot_input()
    plot_out_of_core()
    plot_mixed_precision()
