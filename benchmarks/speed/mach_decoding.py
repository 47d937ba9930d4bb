"""Speed of exact decoding of MACH: every class scored, against the certified search.

Run `python benchmarks/speed/mach_decoding.py` from the repository's root. Figures of
one run can be compared with each other, those of two runs only as ratios. The time
of processors is given beside that of the clock: scoring uses all of them, a search
for one query mostly one.

A query is made of classes' probabilities, pushed through the hash functions, with
noise on the logits of the buckets: 70 % of the probability lies on a few classes
(`peaky`: 50, by Zipf's law), the rest on all, unevenly. `flat` has the rest alone.

With `--costs` it prints the constants of `tfrs_dhe/mach/decoding/cost.py` instead.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from timing import Times, conditions, median_times, peak_memory

from tfrs_dhe import mach
from tfrs_dhe.mach.decoding import (
    InverseLists,
    TopK,
    build_inverse_lists,
    partner_buckets,
    top_k,
)
from tfrs_dhe.mach.decoding.high_values import high_values
from tfrs_dhe.mach.decoding.pair_listing import find, plan
from tfrs_dhe.mach.decoding.pair_search import two_that_reach

METHODS = ("score_all", "certified", "auto")
#: How many likely classes a query has.
QUERIES = {"peaky": 50, "broad": 200, "flat": 0}
AGGREGATIONS = ("mean_log_probability", "unbiased_mean", "min", "median")

Decode = Callable[[tf.Tensor], TopK]


class Index:
    """The tables of a catalogue, in variables as an index holds them."""

    def __init__(self, num_classes: int, num_buckets: int, num_repetitions: int):
        # Loads and warms up what the first call of a process pays for.
        build_inverse_lists(mach.bucket_table(np.arange(10), 4, 2), 4)
        memory = peak_memory()
        start = time.perf_counter()
        table = mach.bucket_table(np.arange(num_classes), num_buckets, num_repetitions)
        hashed = time.perf_counter()
        lists = build_inverse_lists(table, num_buckets)
        partners = partner_buckets(table, lists)
        listed = time.perf_counter()
        self.figures = {
            "hash_seconds": hashed - start,
            "list_seconds": listed - hashed,
            "peak_additional_mb": (peak_memory() - memory) / 1e6,
            "tables_mb": sum(np.asarray(x).nbytes for x in (table, *lists, partners))
            / 1e6,
        }
        self.table = table
        self.num_buckets = num_buckets
        self.buckets = tf.Variable(table)
        self.lists = InverseLists(*map(tf.Variable, lists))
        self.partner_buckets = tf.Variable(partners)

    def decoder(self, method: str, k: int, aggregation: str, xla: bool) -> Decode:
        """One way to decode, as a graph."""

        def decode(values: tf.Tensor) -> TopK:
            lists = None if method == "score_all" else self.lists
            return top_k(
                values,
                self.buckets,
                k,
                aggregation,
                inverse_lists=lists,
                partner_buckets=None if lists is None else self.partner_buckets,
                method=method,
            )

        return tf.function(decode, jit_compile=xla, autograph=False)

    def logits(self, num_likely: int, batch_size: int, seed: int) -> tf.Tensor:
        """Logits [batch_size, R, B] of queries of one kind."""
        generator = np.random.default_rng(seed)
        queries = [self._logits(num_likely, generator) for _ in range(batch_size)]
        return tf.constant(np.stack(queries), tf.float32)

    def _logits(self, num_likely: int, generator: np.random.Generator) -> np.ndarray:
        num_classes = self.table.shape[1]
        p = np.exp(generator.normal(size=num_classes))
        p *= (0.3 if num_likely else 1.0) / p.sum()
        if num_likely:
            zipf = 1 / np.arange(1, num_likely + 1)
            likely = generator.choice(num_classes, num_likely, replace=False)
            p[likely] += 0.7 * zipf / zipf.sum()
        merged = [np.bincount(row, p, self.num_buckets) for row in self.table]
        noise = generator.normal(0, 0.5, (len(merged), self.num_buckets))
        return np.log(np.maximum(merged, 1e-12)) + noise


def cases(quick: bool) -> Iterator[tuple[int, int, str, str]]:
    """Batch sizes, k, kinds of queries and aggregations to measure."""
    for query in QUERIES:
        for k in (10, 100):
            for aggregation in AGGREGATIONS:
                yield 1, k, query, aggregation
    if not quick:
        for batch_size in (8, 32):
            for query in QUERIES:
                for k in (10, 100):
                    yield batch_size, k, query, "mean_log_probability"


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Times per call, and their ratios to scoring every class op by op."""
    index = Index(args.num_classes, args.num_buckets, args.num_repetitions)
    print(json.dumps(index.figures))
    rows = []
    for batch_size, k, query, aggregation in cases(args.quick):
        logits = index.logits(QUERIES[query], batch_size, args.seed)
        values = mach.bucket_values(logits, aggregation)
        functions = {
            (method, "ops"): index.decoder(method, k, aggregation, xla=False)
            for method in METHODS
        }
        functions["score_all", "xla"] = index.decoder("score_all", k, aggregation, True)
        times = median_times(functions, values, args.repeats)
        for (method, mode), function in functions.items():
            row = {
                "batch_size": batch_size,
                "k": k,
                "query": query,
                "aggregation": aggregation,
                "method": method,
                "mode": mode,
                "mean_num_scored": float(np.mean(function(values).num_scored)),
                "seconds": times[method, mode].wall,
                "processor_seconds": times[method, mode].processor,
            }
            base = times["score_all", "ops"]
            row["times_faster"] = base.wall / row["seconds"]
            row["times_less_work"] = base.processor / row["processor_seconds"]
            rows.append(row)
            print_row(row)
    return {
        "num_classes": args.num_classes,
        "num_buckets": args.num_buckets,
        "num_repetitions": args.num_repetitions,
        "repeats": args.repeats,
        "seed": args.seed,
        **conditions(),
        "index": index.figures,
        "rows": rows,
    }


def print_row(row: dict[str, Any]) -> None:
    """Prints one line."""
    print(
        f"{row['batch_size']:>3} k={row['k']:<4}{row['query']:<6} "
        f"{row['aggregation']:<21}{row['method']:<10}{row['mode']:<4}"
        f"{row['seconds'] * 1e3:>9.2f} ms{row['processor_seconds'] * 1e3:>9.2f} cpu ms"
        f"{row['times_faster']:>7.1f}x{row['times_less_work']:>7.1f}x"
        f"{row['mean_num_scored']:>11.0f} scored",
        flush=True,
    )


def costs(repeats: int) -> dict[str, float]:
    """The constants of the cost model, in nanoseconds of processor time."""
    num_classes, num_buckets, num_repetitions = 1_000_000, 10_000, 16
    index = Index(num_classes, num_buckets, num_repetitions)
    small = Index(1000, 100, num_repetitions)
    wide = Index(1000, num_buckets, num_repetitions)

    def nanoseconds(function: Callable[..., Any], values: tf.Tensor) -> float:
        times: dict[str, Times] = median_times({"": function}, values, repeats)
        return times[""].processor * 1e9

    def of_decoding(of: Index, method: str, batch_size: int) -> float:
        values = mach.bucket_values(of.logits(5, batch_size, 0), "mean_log_probability")
        decode = of.decoder(method, 1, "mean_log_probability", xla=False)
        return nanoseconds(decode, values)

    one, many = (of_decoding(index, "score_all", batch) for batch in (1, 16))
    add_value = (many - one) / 15 / (num_classes * num_repetitions)
    look_up = one / (num_classes * num_repetitions) - add_value
    start = of_decoding(small, "certified", 1)
    read = of_decoding(wide, "certified", 1) - start

    values = mach.bucket_values(index.logits(0, 1, 0), "mean_log_probability")[0]

    def of_listing(num_buckets: int) -> tuple[float, int]:
        level = tf.math.top_k(tf.reshape(values, [-1]), num_buckets).values[-1]
        thresholds = tf.cast(tf.fill([num_repetitions], level), tf.float64)

        @tf.function(autograph=False)
        def listed(values: tf.Tensor) -> tf.Tensor:
            wanted = two_that_reach(values, thresholds)
            high = high_values(values, tf.fill([num_repetitions], float("inf")), 1)
            reading = plan(wanted, index.lists, high)
            everything = tf.constant(True)
            tables = index.buckets, index.lists
            return find(wanted, reading, everything, values, *tables, high)

        return nanoseconds(listed, values), num_buckets * num_classes

    (less, few), (more, many_entries) = of_listing(200), of_listing(4000)
    entries = (many_entries - few) / index.num_buckets
    return {
        "LOOK_UP": look_up,
        "ADD_VALUE": add_value,
        "START": start,
        "READ_VALUE": read / (num_buckets * num_repetitions),
        "LIST_ENTRY": (more - less) / entries,
    }


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of exact MACH decoding.")
    parser.add_argument("--num-classes", type=int, default=1_000_000)
    parser.add_argument("--num-buckets", type=int, default=10_000)
    parser.add_argument("--num-repetitions", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="batches of one only")
    parser.add_argument("--costs", action="store_true", help="fit the cost model")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    tf.get_logger().setLevel("ERROR")  # Several functions of one code are wanted.
    if args.costs:
        for name, value in costs(args.repeats).items():
            print(f"{name} = {value:.1f}")
        return
    result = measure(args)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
