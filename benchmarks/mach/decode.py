"""Memory of heads as they are served, and the time to find the best classes by them.

Run from the repository's root:

    python benchmarks/mach/decode.py --output benchmarks/mach/results/decode.json

For the sizes of the four sets of this folder, on one core: processor time, the median
of calls that take turns. Rows are random, since the time of a full product does not
depend on them; every class is scored, and the first 20 are taken (5 with few classes).
Rows of 8 and 4 bits become floats in every call, as TensorFlow has no product of them.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
from xc_methods import SETS

from tfrs_dhe import mach
from tfrs_dhe.layers import MACHHead, _compact_rows
from tfrs_dhe.mach.decoding import top_k

NUM_LABELS = {"xc-bibtex": 159, "xc-delicious": 983, "xc-wordnet": 20_472}
#: Name, K, d, width of narrow rows, and the heads of MACH.
SESSIONS = ("sessions-nowplaying", 60_416, 64, 15, [(4, 3776)])
AGGREGATIONS = ("mean_log_probability", "unbiased_mean", "min", "median")
BATCH_SIZES = (1, 256)
WARM_UP = 2


class Rows(tf.Module):
    """A row and a bias for every class, of floats or of integers.

    Args:
      rows: float32 [K, d].
      dtype: "float32", "int8" or "int4".
      width: That of the queries; where the rows are narrower, a matrix projects.
    """

    def __init__(self, rows, dtype, width):
        super().__init__()
        self._dtype, self._width = dtype, rows.shape[1]
        compact = _compact_rows.compact(rows, dtype)
        self.values = tf.Variable(compact.values)
        scales = compact.scales
        self.scales = None if scales is None else tf.Variable(scales[:, np.newaxis])
        self.bias = tf.Variable(tf.zeros(len(rows)))
        self.projection = None
        if width != self._width:
            self.projection = tf.Variable(tf.random.normal([width, self._width]))

    @property
    def num_bytes(self):
        """Bytes of all of it."""
        return sum(v.numpy().nbytes for v in self.variables)

    def best(self, queries, k):
        """Returns the best classes of queries."""
        if self.projection is not None:
            queries = queries @ self.projection
        scales = None if self.scales is None else tf.convert_to_tensor(self.scales)
        rows = _compact_rows.restore(
            tf.convert_to_tensor(self.values),
            scales,
            self._width,
            self._dtype,
            "float32",
        )
        scores = tf.matmul(queries, rows, transpose_b=True) + self.bias
        return tf.math.top_k(scores, k).indices


class Buckets:
    """A head of MACH and its table of buckets.

    Args:
      shape: R and B.
      num_classes: K.
      dim: d.
    """

    def __init__(self, shape, num_classes, dim):
        num_repetitions, num_buckets = shape
        self._head = MACHHead(num_buckets, num_repetitions, embedding_dim=dim)
        self._buckets = tf.Variable(self._head.bucket_table(np.arange(num_classes)))

    @property
    def num_bytes(self):
        """Bytes of all of it."""
        weights = sum(w.nbytes for w in self._head.get_weights())
        return weights + self._buckets.numpy().nbytes

    def best(self, queries, k, aggregation):
        """Returns the best classes of queries."""
        values = mach.bucket_values(self._head(queries), aggregation)
        return top_k(values, self._buckets, k, aggregation, method="score_all").classes


def forms(num_classes, dim, narrow, shapes):
    """Returns the heads of a set, {name: (head, function)}."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(num_classes, dim)).astype(np.float32)
    found = {}
    for name, of, dtype in (
        ("full", rows, "float32"),
        ("full, int8", rows, "int8"),
        ("full, int4", rows, "int4"),
        ("narrow", rows[:, :narrow], "float32"),
    ):
        head = Rows(of, dtype, dim)
        found[name] = head, head.best
    for shape in shapes:
        head = Buckets(shape, num_classes, dim)
        for aggregation in AGGREGATIONS:
            found[f"mach {shape[0]}x{shape[1]}, {aggregation}"] = (
                head,
                lambda queries, k, head=head, name=aggregation: head.best(
                    queries, k, name
                ),
            )
    return found


def median_times(functions, queries, repeats):
    """Returns the median processor seconds of functions of the queries, in turns."""
    taken = {name: [] for name in functions}
    for repeat in range(WARM_UP + repeats):
        for name, function in functions.items():
            start = time.process_time()
            function(queries).numpy()
            if repeat >= WARM_UP:
                taken[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def measure(name, num_classes, dim, narrow, shapes, repeats):
    """Returns the lines of a set."""
    k = 20 if num_classes > 10_000 else 5
    heads = forms(num_classes, dim, narrow, shapes)
    lines = [
        {"set": name, "head": form, "bytes": head.num_bytes, "milliseconds": {}}
        for form, (head, _) in heads.items()
    ]
    for batch_size in BATCH_SIZES:
        functions = {
            form: tf.function(lambda queries, best=best: best(queries, k))
            for form, (_, best) in heads.items()
        }
        queries = tf.random.normal([batch_size, dim])
        times = median_times(functions, queries, repeats)
        for line in lines:
            line["milliseconds"][str(batch_size)] = round(1e3 * times[line["head"]], 4)
    return lines


def main():
    """Measures, and writes if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cases = [
        (name, NUM_LABELS[name], data.hidden_dim, data.narrow, data.mach)
        for name, data in SETS.items()
    ]
    lines = []
    for case in [*cases, SESSIONS]:
        for line in measure(*case, args.repeats):
            print(line, flush=True)
            lines.append(line)
    if args.output is not None:
        figures = {"tensorflow": tf.__version__, "repeats": args.repeats}
        args.output.write_text(json.dumps({**figures, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
