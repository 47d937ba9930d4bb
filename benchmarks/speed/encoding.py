"""Speed of the hash encodings, next to the paper's hash written as plain ops.

Run `python benchmarks/speed/encoding.py` from the repository's root. Figures of
one run can be compared with each other, those of two runs only as ratios.

The baseline is `((a x + b) mod p) mod m` in int64 and the uniform transform, for
keys small enough not to overflow. A compiled fill of the output shows what writing
it costs alone.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from timing import conditions, median_seconds, peak_memory

from tfrs_dhe import layers
from tfrs_dhe.hashing.transforms import DISTRIBUTIONS
from tfrs_dhe.hashing.universal import HASH_FAMILIES

MERSENNE_31 = 2**31 - 1
BASELINE = "plain ops, uniform"

Encode = Callable[[tf.Tensor], tf.Tensor]


def plain_encoder(num_hashes: int, num_buckets: int, seed: int) -> Encode:
    """The paper's formulas as one would write them first."""
    generator = np.random.default_rng(seed)
    a = tf.constant(generator.integers(1, MERSENNE_31, num_hashes))
    b = tf.constant(generator.integers(0, MERSENNE_31, num_hashes))

    def encode(ids: tf.Tensor) -> tf.Tensor:
        hashes = (a * ids[:, tf.newaxis] + b) % MERSENNE_31 % num_buckets
        return tf.cast(hashes, tf.float32) / (num_buckets - 1) * 2.0 - 1.0

    return encode


def make_functions(
    num_hashes: int, num_buckets: int, seed: int
) -> dict[tuple[str, str], Encode]:
    """All encoders, op by op and compiled, and the compiled fill."""
    encoders = {BASELINE: plain_encoder(num_hashes, num_buckets, seed)}
    for hash_family in HASH_FAMILIES:
        for distribution in DISTRIBUTIONS:
            encoders[f"{hash_family}, {distribution}"] = layers.DenseHashEncoding(
                num_hashes, num_buckets, distribution, hash_family, seed
            )

    def fill(ids: tf.Tensor) -> tf.Tensor:
        # A value of the input, lest the compiler make the output a constant.
        value = tf.cast(ids[0], tf.float32)
        return tf.fill([tf.shape(ids)[0], num_hashes], value)

    functions = {
        (name, mode): tf.function(encode, jit_compile=mode == "xla")
        for name, encode in encoders.items()
        for mode in ("ops", "xla")
    }
    functions["fill", "xla"] = tf.function(fill, jit_compile=True)
    return functions


def measure(
    batch_size: int, num_hashes: int, num_buckets: int, repeats: int, seed: int
) -> dict[str, Any]:
    """Seconds per batch and ratios to the baseline, op by op and compiled."""
    functions = make_functions(num_hashes, num_buckets, seed)
    # Below 2^30, where a x + b cannot overflow.
    ids = tf.constant(np.random.default_rng(seed).integers(0, 2**30, batch_size))
    seconds = median_seconds(functions, ids, repeats)
    rows = [
        {
            "encoding": name,
            "mode": mode,
            "seconds": value,
            "ratio_to_baseline_ops": value / seconds[BASELINE, "ops"],
            "ratio_to_baseline_xla": value / seconds[BASELINE, "xla"],
            "ratio_to_fill": value / seconds["fill", "xla"],
        }
        for (name, mode), value in seconds.items()
    ]
    return {
        "batch_size": batch_size,
        "num_hashes": num_hashes,
        "num_buckets": num_buckets,
        "repeats": repeats,
        "seed": seed,
        **conditions(),
        "peak_bytes": peak_memory(),
        "rows": rows,
    }


def print_table(result: dict[str, Any]) -> None:
    """Prints one line per encoding and mode."""
    print(f"int64 [{result['batch_size']}] -> float32 ", end="")
    print(f"[{result['batch_size']}, {result['num_hashes']}]")
    print(f"{'encoding':<26}{'mode':<6}{'ms':>9}{'/ plain ops':>13}{'/ plain xla':>13}")
    for row in result["rows"]:
        line = f"{row['encoding']:<26}{row['mode']:<6}{row['seconds'] * 1e3:>9.2f}"
        line += f"{row['ratio_to_baseline_ops']:>13.2f}"
        print(line + f"{row['ratio_to_baseline_xla']:>13.2f}")


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of the hash encodings.")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--num-hashes", type=int, default=1024)
    parser.add_argument("--num-buckets", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.batch_size < 1 or args.repeats < 1:
        parser.error("--batch-size and --repeats must be at least 1")
    if args.num_hashes < 2 or args.num_hashes % 2:
        parser.error("--num-hashes must be even, for the Gaussian distribution")

    tf.get_logger().setLevel("ERROR")  # Several functions of one code are wanted.
    result = measure(
        args.batch_size, args.num_hashes, args.num_buckets, args.repeats, args.seed
    )
    print_table(result)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
