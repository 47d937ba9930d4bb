"""Speed of a materialized deep hash embedding, next to a table and the network.

Run `python benchmarks/speed/materialized.py` from the repository's root. Figures of
one run can be compared with each other, those of two runs only as ratios.

The baseline is what materialized rows stand in for: `StringLookup` (or
`IntegerLookup`) of all ids and `Embedding`. Each form is exported and served, on one
core; see `native_latency.py`.

Ids are drawn evenly, so that rows and keys come from memory rather than from caches. A
batch with one id that is unknown shows what the network's branch costs.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from native_latency import ROUNDS, lowest_medians, serve, use_one_core
from timing import conditions

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DeepHashEmbedding

BASELINE = "table"
#: Dtype of the rows, and what finds them.
MATERIALIZED = (
    ("float32", "hash_table"),
    ("bfloat16", "hash_table"),
    ("int8", "hash_table"),
    ("int4", "hash_table"),
    ("int4", "sorted"),
)


class Table(keras.layers.Layer):
    """Looks ids up in a vocabulary, and their rows in a table."""

    def __init__(self, ids: np.ndarray, output_dim: int) -> None:
        super().__init__()
        is_string = ids.dtype == object
        lookup = keras.layers.StringLookup if is_string else keras.layers.IntegerLookup
        self.to_index = lookup(vocabulary=ids.tolist() if is_string else ids)
        self.rows = keras.layers.Embedding(len(ids) + 1, output_dim)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns rows [batch, output_dim] of ids [batch]."""
        return self.rows(self.to_index(ids))


def make_forms(ids: np.ndarray, output_dim: int, hidden_dim: int) -> dict[str, Any]:
    """The table, the layer, its inference form and its materialized forms."""
    layer = DeepHashEmbedding(output_dim, hidden_dim)
    layer(tf.constant(ids[:256]), training=True)
    forms = {
        BASELINE: Table(ids, output_dim),
        **{
            f"materialized, {dtype}" + ", sorted" * (index == "sorted"): (
                layer.materialize(ids, dtype, key_index=index)
            )
            for dtype, index in MATERIALIZED
        },
        "inference form": layer.inference_form(),
        "layer": layer,
    }
    for form in forms.values():
        form(tf.constant(ids[:1]))
    return forms


def measure(
    num_ids: int,
    batch_sizes: list[int],
    output_dim: int,
    hidden_dim: int,
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    """Latency of a batch and ratios to that of the table."""
    generator = np.random.default_rng(seed)
    integers = generator.choice(2**40, num_ids, replace=False)
    strings = np.array([f"id-{i}" for i in integers], dtype=object)
    rows = []
    for kind, ids in (("string", strings), ("int64", integers)):
        with serve(make_forms(ids, output_dim, hidden_dim), ids) as servers:
            for batch_size in batch_sizes:
                batch = generator.choice(ids, batch_size)
                with_unknown = batch.copy()
                with_unknown[0] = -1 if kind == "int64" else "unknown"
                for content, request in (
                    ("all known", batch),
                    ("one unknown", with_unknown),
                ):
                    latencies = lowest_medians(servers, request, seconds)
                    rows += [
                        {
                            "ids": kind,
                            "batch_size": batch_size,
                            "content": content,
                            "form": form,
                            "p50_us": latency * 1e6,
                            "ratio_to_table": latency / latencies[BASELINE],
                        }
                        for form, latency in latencies.items()
                    ]
    return {
        "num_ids": num_ids,
        "output_dim": output_dim,
        "hidden_dim": hidden_dim,
        "seconds": seconds,
        "rounds": ROUNDS,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "seed": seed,
        **conditions(),
        "rows": rows,
    }


def print_table(result: dict[str, Any]) -> None:
    """Prints one line per form, batch size and kind of ids."""
    print(f"{result['num_ids']:,} ids -> float32 [batch, {result['output_dim']}]")
    print(f"{'ids':<8}{'batch':>6}  {'content':<13}{'form':<24}{'us':>9}{'/ table':>9}")
    for row in result["rows"]:
        line = f"{row['ids']:<8}{row['batch_size']:>6}  {row['content']:<13}"
        line += f"{row['form']:<24}{row['p50_us']:>9.1f}"
        print(line + f"{row['ratio_to_table']:>9.2f}")


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of materialized embeddings.")
    parser.add_argument("--num-ids", type=int, default=1_000_000)
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[1, 32, 256, 4096]
    )
    parser.add_argument("--output-dim", type=int, default=32)
    parser.add_argument("--hidden-dim", type=int, default=64)
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="for each form and batch"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()

    use_one_core()
    result = measure(
        args.num_ids,
        args.batch_sizes,
        args.output_dim,
        args.hidden_dim,
        args.seconds,
        args.seed,
    )
    print_table(result)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
