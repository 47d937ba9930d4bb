"""Speed of `cityhash64`, next to TensorFlow's own string hash.

Run `python benchmarks/speed/cityhash.py` from the repository's root. Figures of
one run can be compared with each other, those of two runs only as ratios.
"""

import argparse
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from timing import conditions, median_seconds

from tfrs_dhe.hashing import cityhash64

SHORT_LENGTHS = (8, 16, 32)
LONG_LENGTHS = (64, 100, 300)
NUM_BUCKETS = 1_000_000


def random_batch(lengths: list[int], seed: int) -> tf.Tensor:
    """Random bytes, one string per length."""
    generator = random.Random(seed)
    return tf.constant([generator.randbytes(length) for length in lengths])


def compile_functions() -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
    """The two hashes, each in a `tf.function`."""
    signature = [tf.TensorSpec([None], tf.string)]

    def bucket(strings: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_hash_bucket_fast(strings, NUM_BUCKETS)

    return {
        "cityhash64": tf.function(cityhash64, input_signature=signature),
        "to_hash_bucket_fast": tf.function(bucket, input_signature=signature),
    }


def measure(batch_size: int, repeats: int, seed: int) -> dict[str, Any]:
    """Seconds per batch, for batches of several lengths."""
    functions = compile_functions()
    ours = {"cityhash64": functions["cityhash64"]}
    rows: list[dict[str, Any]] = []
    for length in SHORT_LENGTHS + LONG_LENGTHS:
        strings = random_batch([length] * batch_size, seed)
        seconds = median_seconds(functions, strings, repeats)
        rows.append({"batch": f"{batch_size} x {length} bytes", **seconds})
    # Few repeats: the long string's chunks have to follow each other.
    strings = random_batch([16] * (batch_size - 1) + [100_000], seed)
    seconds = median_seconds(ours, strings, max(3, repeats // 20))
    rows.append({"batch": f"{batch_size}, one of 100 kB", **seconds})
    for row in rows:
        row["strings_per_second"] = batch_size / row["cityhash64"]
        if "to_hash_bucket_fast" in row:
            row["ratio"] = row["cityhash64"] / row["to_hash_bucket_fast"]
    return {
        "batch_size": batch_size,
        "repeats": repeats,
        "seed": seed,
        **conditions(),
        "rows": rows,
    }


def print_table(result: dict[str, Any]) -> None:
    """Prints one line per batch; `ratio` is to to_hash_bucket_fast."""
    print(f"{'batch':<22}{'ms':>9}{'strings/s':>13}{'bucket_fast ms':>16}{'ratio':>8}")
    for row in result["rows"]:
        line = f"{row['batch']:<22}{row['cityhash64'] * 1e3:>9.3f}"
        line += f"{row['strings_per_second']:>13,.0f}"
        if "ratio" in row:
            line += f"{row['to_hash_bucket_fast'] * 1e3:>16.3f}{row['ratio']:>8.2f}"
        print(line)


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of cityhash64.")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.batch_size < 1 or args.repeats < 1:
        parser.error("--batch-size and --repeats must be at least 1")

    result = measure(args.batch_size, args.repeats, args.seed)
    print_table(result)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
