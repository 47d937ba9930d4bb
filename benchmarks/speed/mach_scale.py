"""How indexing and exact decoding of MACH grow with the number of classes.

Run `python benchmarks/speed/mach_scale.py` from the repository's root. For each number
of classes there is a process that indexes integer ids in a MACH index and asks it, one
whose index is `compact`, one that asks TFRS's `BruteForce` over as many vectors, if
they fit, and one that scores every class in NumPy; each reports the most memory it ever
held. Figures of one run can be compared with each other, those of two runs only as
ratios.

A query has likely classes, which have 70 % of its probability by Zipf's law, and the
rest on all, unevenly, with noise on the logits of the buckets: `peaky` has 50 likely
ones and is asked for the top 10, `broad` has 200 and is asked for the top 100. Scores
are means of log-probabilities.

With `--output` rows are added to those in the file that are of other numbers.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import numpy as np
import tensorflow as tf
from timing import conditions, median_times, peak_memory

from tfrs_dhe import mach
from tfrs_dhe._keras import tfrs
from tfrs_dhe.layers.factorized_top_k import MACH

COMPACT = "mach_compact"
PARTS = ("mach", COMPACT, "numpy", "brute_force")
#: How many classes are likely, and how many are asked for.
QUERIES = {"peaky": (50, 10), "broad": (200, 100)}
BATCH_SIZES = (1, 32)
AGGREGATION = "mean_log_probability"
CHUNK_SIZE = 2**20


class GivenLogits:
    """In place of a head: queries are the logits [Q, R, B] that it would give."""

    def __init__(self, num_buckets: int, num_repetitions: int) -> None:
        self.num_buckets = num_buckets
        self.repetitions = tuple(range(num_repetitions))

    def bucket_table(self, class_ids: Any) -> np.ndarray:
        """Buckets [R, K] of all classes."""
        return mach.bucket_table(class_ids, self.num_buckets, len(self.repetitions))

    def __call__(self, queries: tf.Tensor) -> tf.Tensor:
        """Returns the queries."""
        return queries


def background(args: argparse.Namespace) -> np.ndarray:
    """Probabilities [R, B] of the buckets, of classes by a lognormal law."""
    generator = np.random.default_rng(args.seed)
    sums = np.zeros((args.num_repetitions, args.num_buckets))
    for start in range(0, args.num_classes, CHUNK_SIZE):
        ids = np.arange(start, min(start + CHUNK_SIZE, args.num_classes))
        p = np.exp(generator.standard_normal(len(ids), np.float32))
        table = mach.bucket_table(ids, args.num_buckets, args.num_repetitions)
        sums += [np.bincount(row, p, args.num_buckets) for row in table]
    return sums / sums.sum(axis=1, keepdims=True)


def logits_of(
    args: argparse.Namespace, rest: np.ndarray, num_likely: int, batch_size: int
) -> tf.Tensor:
    """Logits [batch_size, R, B] of queries that differ in their likely classes."""
    generator = np.random.default_rng(args.seed + 1)
    zipf = 1 / np.arange(1, num_likely + 1)
    queries = []
    for _ in range(batch_size):
        p = 0.3 * rest
        likely = generator.choice(args.num_classes, num_likely, replace=False)
        table = mach.bucket_table(likely, args.num_buckets, args.num_repetitions)
        p += [
            np.bincount(row, 0.7 * zipf / zipf.sum(), args.num_buckets) for row in table
        ]
        queries.append(np.log(p) + generator.normal(0, 0.5, p.shape))
    return tf.constant(np.stack(queries), tf.float32)


def timed(
    functions: dict[str, Callable[[tf.Tensor], Any]],
    queries: tf.Tensor,
    args: argparse.Namespace,
    **row: Any,
) -> list[dict[str, Any]]:
    """A row of figures for each function."""
    return [
        {**row, "method": name, "seconds": time.wall, "processor_seconds": time[1]}
        for name, time in median_times(functions, queries, args.repeats).items()
    ]


def measure_mach(args: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of an index, and of queries."""
    warnings.simplefilter("ignore")  # Of classes that no repetition tells apart.
    head = GivenLogits(args.num_buckets, args.num_repetitions)
    MACH(head).index(np.arange(1000))  # Loads what TensorFlow loads once.
    ids = tf.range(args.num_classes, dtype=tf.int64)
    is_compact = args.part == COMPACT
    index = MACH(head, aggregation=AGGREGATION, compact=is_compact)
    before = peak_memory()
    start = time.perf_counter()
    index.index(ids)
    figures: dict[str, Any] = {
        "index_seconds": time.perf_counter() - start,
        "peak_bytes_before_index": before,
        "peak_bytes_of_index": peak_memory(),
    }
    rest = background(args)
    rows = []
    for query, (num_likely, k) in QUERIES.items():
        for batch_size in BATCH_SIZES:
            logits = logits_of(args, rest, num_likely, batch_size)

            def ask(method: str, k: int = k) -> Callable[[tf.Tensor], Any]:
                def call(queries: tf.Tensor) -> Any:
                    index.method = method  # Read as the graph is made.
                    return index.query_with_statistics(queries, k)

                return tf.function(call)

            certified = f"certified{', compact' if is_compact else ''}"
            functions = {certified: ask("certified")}
            if not is_compact and batch_size * args.num_classes <= args.max_scored:
                functions["score_all"] = ask("score_all")
            row = {"query": query, "k": k, "batch_size": batch_size}
            rows += timed(functions, logits, args, **row)
            scored = functions[certified](logits)[2]
            rows[-len(functions)]["mean_num_scored"] = float(np.mean(scored))
    return {**figures, "rows": rows}


def measure_numpy(args: argparse.Namespace) -> dict[str, Any]:
    """Time to score every class in NumPy."""
    ids = np.arange(args.num_classes)
    table = mach.bucket_table(ids, args.num_buckets, args.num_repetitions)
    rest = background(args)
    rows = []
    for query, (num_likely, k) in QUERIES.items():

        def score(logits: tf.Tensor, k: int = k) -> tuple[tf.Tensor]:
            values = mach.bucket_values(logits, AGGREGATION).numpy()[0]
            scores = np.zeros(args.num_classes, np.float32)
            for value, row in zip(values, table, strict=True):
                scores += value[row]
            best = np.argpartition(scores, -k)[-k:]
            return (tf.constant(best[np.argsort(-scores[best])]),)

        logits = logits_of(args, rest, num_likely, 1)
        row = {"query": query, "k": k, "batch_size": 1}
        rows += timed({"numpy": score}, logits, args, **row)
    return {"rows": rows}


def measure_brute_force(args: argparse.Namespace) -> dict[str, Any]:
    """Time to ask an index of vectors, whatever they are."""
    vectors = tf.random.stateless_normal([args.num_classes, args.dim], seed=[0, 0])
    index = tfrs.layers.factorized_top_k.BruteForce().index(vectors)
    del vectors
    rows = []
    for query, (_, k) in QUERIES.items():
        for batch_size in BATCH_SIZES:
            # The scores of a batch are held all at once.
            if batch_size * args.num_classes > args.max_scored:
                continue
            queries = tf.random.stateless_normal([batch_size, args.dim], seed=[0, 1])
            functions = {"brute_force": tf.function(lambda x, k=k: index(x, k))}
            row = {"query": query, "k": k, "batch_size": batch_size}
            rows += timed(functions, queries, args, **row)
    return {"rows": rows}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """What one process is for."""
    parts = {
        "mach": measure_mach,
        COMPACT: measure_mach,
        "numpy": measure_numpy,
        "brute_force": measure_brute_force,
    }
    figures = parts[args.part](args)
    return {"part": args.part, **figures, "peak_bytes": peak_memory()}


def print_part(num_classes: int, figures: dict[str, Any]) -> None:
    """Prints a line for each figure of a process."""
    line = f"\nK = {num_classes:,}, {figures['part']}: "
    if "index_seconds" in figures:
        line += f"indexed in {figures['index_seconds']:.1f} s within "
        line += f"{figures['peak_bytes_of_index'] / 1e9:.2f} GB; "
    print(line + f"peak {figures['peak_bytes'] / 1e9:.2f} GB")
    for row in figures["rows"]:
        line = f"  {row['query']:<6} k={row['k']:<4} batch {row['batch_size']:<4}"
        line += f"{row['method']:<20}{row['seconds'] * 1e3:>10.2f} ms"
        line += f"{row['processor_seconds'] * 1e3:>10.2f} cpu ms"
        if "mean_num_scored" in row:
            line += f"{row['mean_num_scored']:>12.0f} scored"
        print(line, flush=True)


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="MACH by the number of classes.")
    parser.add_argument("--num-classes", type=int, nargs="+", default=[10**6, 10**7])
    parser.add_argument("--num-buckets", type=int, default=20_000)
    parser.add_argument("--num-repetitions", type=int, default=16)
    parser.add_argument("--dim", type=int, default=64, help="of vectors")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--max-scored",
        type=int,
        default=50_000_000,
        help="scores of a batch up to which every class is scored",
    )
    parser.add_argument("--part", choices=PARTS, help="measure this one, here")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    if args.part is not None:
        (args.num_classes,) = args.num_classes
        print(json.dumps(measure(args)))
        return
    results = {}
    if args.output is not None and args.output.exists():
        results = json.loads(args.output.read_text())["results"]
    for num_classes in args.num_classes:
        of_number = {row["part"]: row for row in results.get(str(num_classes), [])}
        for part in args.parts:
            command = [sys.executable, __file__, "--part", part]
            for name in (
                "num_buckets",
                "num_repetitions",
                "dim",
                "repeats",
                "seed",
                "max_scored",
            ):
                command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
            command += ["--num-classes", str(num_classes)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            of_number[part] = json.loads(done.stdout)
            print_part(num_classes, of_number[part])
        results[str(num_classes)] = list(of_number.values())
    if args.output is not None:
        settings = {
            name: getattr(args, name)
            for name in ("num_buckets", "num_repetitions", "dim", "repeats", "seed")
        }
        result = {**settings, **conditions(), "results": results}
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
