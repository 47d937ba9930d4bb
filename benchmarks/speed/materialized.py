"""Speed of a materialized deep hash embedding, next to a table and the network.

Run `python benchmarks/speed/materialized.py` from the repository's root. Figures of
one run can be compared with each other, those of two runs only as ratios.

The baseline is what materialized rows stand in for: `StringLookup` (or
`IntegerLookup`) of all ids and `Embedding`, in a tf.function as all others. Ids are
drawn evenly, so that rows and keys come from memory rather than from caches. A batch
with one id that is unknown shows what the network's branch costs.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from timing import conditions, median_seconds

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DeepHashEmbedding

BASELINE = "table"
ROW_DTYPES = ("float32", "bfloat16", "int8")


def make_functions(ids: np.ndarray, output_dim: int, hidden_dim: int) -> dict[str, Any]:
    """The table, the layer, its inference form and its materialized forms."""
    is_string = ids.dtype == object
    lookup = keras.layers.StringLookup if is_string else keras.layers.IntegerLookup
    to_index = lookup(vocabulary=ids.tolist() if is_string else ids)
    table = keras.layers.Embedding(len(ids) + 1, output_dim)
    layer = DeepHashEmbedding(output_dim, hidden_dim)
    layer(ids[:256], training=True)
    forms = {dtype: layer.materialize(ids, dtype) for dtype in ROW_DTYPES}
    calls = {
        BASELINE: lambda batch: table(to_index(batch)),
        **{f"materialized, {dtype}": form for dtype, form in forms.items()},
        "inference form": layer.inference_form(),
        "layer": lambda batch: layer(batch, training=False),
    }
    signature = [tf.TensorSpec([None], tf.string if is_string else tf.int64)]
    return {name: tf.function(f, signature) for name, f in calls.items()}


def measure(
    num_ids: int,
    batch_sizes: list[int],
    output_dim: int,
    hidden_dim: int,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    """Seconds per batch and ratios to the table."""
    generator = np.random.default_rng(seed)
    integers = generator.choice(2**40, num_ids, replace=False)
    strings = np.array([f"id-{i}" for i in integers], dtype=object)
    rows = []
    for kind, ids in (("string", strings), ("int64", integers)):
        functions = make_functions(ids, output_dim, hidden_dim)
        for batch_size in batch_sizes:
            batch = generator.choice(ids, batch_size)
            batches = {"all known": tf.constant(batch)}
            batch[0] = -1 if kind == "int64" else "unknown"
            batches["one unknown"] = tf.constant(batch)
            for content, tensor in batches.items():
                seconds = median_seconds(functions, tensor, repeats)
                rows += [
                    {
                        "ids": kind,
                        "batch_size": batch_size,
                        "content": content,
                        "form": form,
                        "seconds": value,
                        "ratio_to_table": value / seconds[BASELINE],
                    }
                    for form, value in seconds.items()
                ]
    return {
        "num_ids": num_ids,
        "output_dim": output_dim,
        "hidden_dim": hidden_dim,
        "repeats": repeats,
        "seed": seed,
        **conditions(),
        "rows": rows,
    }


def print_table(result: dict[str, Any]) -> None:
    """Prints one line per form, batch size and kind of ids."""
    print(f"{result['num_ids']:,} ids -> float32 [batch, {result['output_dim']}]")
    print(f"{'ids':<8}{'batch':>6}  {'content':<13}{'form':<24}{'ms':>9}{'/ table':>9}")
    for row in result["rows"]:
        line = f"{row['ids']:<8}{row['batch_size']:>6}  {row['content']:<13}"
        line += f"{row['form']:<24}{row['seconds'] * 1e3:>9.3f}"
        print(line + f"{row['ratio_to_table']:>9.2f}")


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of materialized embeddings.")
    parser.add_argument("--num-ids", type=int, default=1_000_000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[256, 4096])
    parser.add_argument("--output-dim", type=int, default=32)
    parser.add_argument("--hidden-dim", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()

    tf.get_logger().setLevel("ERROR")  # Several functions of one code are wanted.
    result = measure(
        args.num_ids,
        args.batch_sizes,
        args.output_dim,
        args.hidden_dim,
        args.repeats,
        args.seed,
    )
    print_table(result)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
