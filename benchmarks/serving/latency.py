"""Latency of exports in TensorFlow's C++ runtime, without Python and network.

Run `make bench-serving`, or `python benchmarks/serving/latency.py` from the
repository's root. The exports are made here and served by the C program of
`tfrs_dhe.serving.native`, one after the other. A time is that of a run of the graph,
from strings or queries to the outputs, after warm-up; compare times of one call.

Shapes: embeddings of 32 numbers, of one of 100,000 ids that are strings; the ten best
classes for a query of 64 numbers. MACH has R = 16 and 100 classes to a bucket, and
its queries are peaky (see `exports.py`), as those of a trained model are.
"""

import argparse
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # The indexes of TFRS need it.

import exports
import tensorflow as tf

from tfrs_dhe import serving

BATCH_SIZES = (1, 32, 256)
#: How many runs are measured, at least and at most.
MIN_REPEATS, MAX_REPEATS = 3, 500


def measure(model: exports.Model, seconds: float) -> Iterator[dict[str, Any]]:
    """Yields the latency of each batch size, measured for about `seconds`."""
    with tempfile.TemporaryDirectory() as folder:
        (first_inputs, *_) = model.inputs.values()
        ((name, sample),) = first_inputs(1).items()
        version = serving.export(
            model.servable,
            folder,
            sample,
            input_name=name,
            exclusions=False if is_index(model) else None,
            output_name=None if is_index(model) else "embeddings",
            warmup=False,
            allow_untrained=True,
        )
        num_bytes = sum(serving.inspect(version).num_bytes.values())
        with serving.native.Server(version) as server:
            for (suffix, inputs), batch_size in itertools.product(
                model.inputs.items(), BATCH_SIZES
            ):
                latency, repeats = time(server, inputs(batch_size), seconds)
                yield {
                    "group": model.group,
                    "model": model.name + suffix,
                    "megabytes": round(num_bytes / 1e6, 1),
                    "batch_size": batch_size,
                    "p50_ms": latency.p50 * 1e3,
                    "min_ms": latency.min * 1e3,
                    "repeats": repeats,
                }


def is_index(model: exports.Model) -> bool:
    """Whether a model finds ids rather than embeds them."""
    return hasattr(model.servable, "query_with_exclusions")


def time(
    server: serving.native.Server, inputs: dict[str, Any], seconds: float
) -> tuple[serving.native.Latency, int]:
    """Returns the latency of requests, and how many were made."""
    # The first run optimizes the graph; the second says how many are affordable.
    first = server.time("serving_default", inputs, repeats=1, warm_up=1)
    repeats = min(max(int(seconds / first.min), MIN_REPEATS), MAX_REPEATS)
    return server.time("serving_default", inputs, repeats, warm_up=0), repeats


def print_row(row: dict[str, Any]) -> None:
    """Prints one line."""
    print(
        f"{row['group']:<20}{row['model']:<36}batch {row['batch_size']:<5}"
        f"p50 {row['p50_ms']:>9.3f} ms   min {row['min_ms']:>9.3f} ms",
        flush=True,
    )


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Latency of exports, without Python.")
    parser.add_argument(
        "--num-classes", type=int, nargs="*", default=[100_000, 1_000_000]
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="for each model and batch size"
    )
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    rows = []
    for models in (
        exports.embedding_models(),
        *map(exports.index_models, args.num_classes),
    ):
        for row in itertools.chain.from_iterable(
            measure(model, args.seconds) for model in models
        ):
            rows.append(row)
            print_row(row)
    if args.output is not None:
        result = {
            "tensorflow": tf.__version__,
            "cpus": os.cpu_count(),
            "load_average_before": round(load, 1),
            "seconds": args.seconds,
            "num_repetitions": exports.NUM_REPETITIONS,
            "classes_per_bucket": exports.CLASSES_PER_BUCKET,
            "query_dim": exports.QUERY_DIM,
            "num_ids": exports.NUM_IDS,
            "output_dim": exports.OUTPUT_DIM,
            "rows": rows,
        }
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
