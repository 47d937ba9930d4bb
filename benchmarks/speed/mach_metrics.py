"""What top-k accuracy over the catalogue costs, next to an epoch of training.

Run `python benchmarks/speed/mach_metrics.py` from the repository's root. Figures of
one run can be compared with each other, those of two runs only as ratios. CPU
seconds are those of all processors together; they hold on a busy machine too.

A `MACHRetrieval` task is trained on users who have a favourite class each, by either
objective. Then queries are evaluated with `tfrs.metrics.FactorizedTopK` over a MACH
index, which is made once, before training. For comparison, the index of the whole
table of embeddings that TFRS's `BruteForce` needs is made after the epoch, as it has
to be after each, and evaluated.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import numpy as np
import tensorflow as tf
from timing import conditions

import tfrs_dhe
from tfrs_dhe._keras import keras, tfrs

#: By what the head is trained on, how an index has to combine its buckets.
AGGREGATION = {"softmax": "unbiased_mean", "in_batch": "mean_logit"}
KS = (1, 10, 100)


class Model(tfrs.Model):
    """Users to classes."""

    def __init__(self, objective: str, args: argparse.Namespace) -> None:
        super().__init__()
        num_buckets = args.num_classes // (4 * args.num_repetitions)
        self.head = tfrs_dhe.layers.MACHHead(
            num_buckets, args.num_repetitions, embedding_dim=args.dim
        )
        self.user_model = keras.Sequential(
            [
                keras.layers.Embedding(args.num_users, args.dim),
                keras.layers.Dense(args.dim),
            ]
        )
        index = tfrs_dhe.layers.factorized_top_k.MACH(
            self.head, aggregation=AGGREGATION[objective]
        )
        index.index(np.arange(args.num_classes))
        self.task = tfrs_dhe.tasks.MACHRetrieval(
            self.head,
            metrics=tfrs.metrics.FactorizedTopK(index, ks=KS),
            objective=objective,
        )

    def compute_loss(
        self, features: dict[str, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Trains without metrics and evaluates with them."""
        return self.task(
            self.user_model(features["user"]),
            candidate_ids=features["class"],
            compute_metrics=not training,
        )


def make_data(args: argparse.Namespace) -> tf.data.Dataset:
    """Returns users, drawn at random, and their favourite classes."""
    generator = np.random.default_rng(args.seed)
    favourite = generator.integers(args.num_classes, size=args.num_users)
    users = generator.integers(args.num_users, size=args.num_examples)
    return tf.data.Dataset.from_tensor_slices(
        {"user": users, "class": favourite[users]}
    )


def seconds(function: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Returns how long a call took, by the clock and on all processors together."""
    start = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def medians(timings: list[tuple[float, float]]) -> tuple[float, float]:
    """Returns the medians of what `seconds` returned."""
    by_clock, by_processor = np.median(timings, axis=0).tolist()
    return by_clock, by_processor


def train(model: Model, batches: tf.data.Dataset) -> None:
    """Trains for an epoch, without metrics."""
    model.fit(batches, verbose=0)


def evaluate(model: Model, queries: tf.data.Dataset) -> None:
    """Evaluates with metrics, on the index there is."""
    model.evaluate(queries, verbose=0)


def evaluate_embeddings(
    model: Model, queries: tf.data.Dataset, num_classes: int
) -> None:
    """Does what a task with embeddings of candidates does after every epoch."""
    classes = tf.range(num_classes, dtype=tf.int64)
    index = tfrs.layers.factorized_top_k.BruteForce()
    index.index(model.head.class_embeddings(classes), classes)
    metric = tfrs.metrics.FactorizedTopK(index, ks=KS)

    @tf.function
    def update(batch: dict[str, tf.Tensor]) -> None:
        embeddings = model.user_model(batch["user"])
        metric.update_state(embeddings, embeddings, batch["class"])

    for batch in queries:
        update(batch)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns one row of figures for each objective."""
    data = make_data(args)
    queries = data.take(args.num_queries).batch(args.batch_size)
    batches = data.batch(args.batch_size).prefetch(2)
    rows = []
    for objective in AGGREGATION:
        keras.utils.set_random_seed(args.seed)
        model = Model(objective, args)
        model.compile(keras.optimizers.Adam(5e-3))
        model.fit(batches.take(2), verbose=0)  # Traces.
        model.evaluate(queries.take(2), verbose=0)
        timings: dict[str, list[tuple[float, float]]] = {}
        for _ in range(args.epochs):
            for name, function, arguments in (
                ("epoch", train, (model, batches)),
                ("metrics", evaluate, (model, queries)),
                ("dense", evaluate_embeddings, (model, queries, args.num_classes)),
            ):
                timings.setdefault(name, []).append(seconds(function, *arguments))
        row: dict[str, Any] = {"objective": objective}
        for name, values in timings.items():
            row[f"{name}_seconds"], row[f"{name}_cpu_seconds"] = medians(values)
        row["metrics_to_epoch"] = row["metrics_cpu_seconds"] / row["epoch_cpu_seconds"]
        logs = model.evaluate(queries, return_dict=True, verbose=0)
        row["top_10"] = logs["factorized_top_k/top_10_categorical_accuracy"]
        rows.append(row)
    return rows


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Cost of metrics over a catalogue.")
    parser.add_argument("--num-classes", type=int, default=60_000)
    parser.add_argument("--num-repetitions", type=int, default=4)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--num-users", type=int, default=20_000)
    parser.add_argument("--num-examples", type=int, default=200_000)
    parser.add_argument("--num-queries", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    rows = measure(args)
    names = [name for name in rows[0] if name != "objective"]
    print(f"{'objective':<10}" + "".join(f"{name:>21}" for name in names))
    for row in rows:
        figures = "".join(f"{row[name]:>21.2f}" for name in names)
        print(f"{row['objective']:<10}{figures}")
    if args.output is not None:
        settings = {k: v for k, v in vars(args).items() if k != "output"}
        result = {**settings, **conditions(), "rows": rows}
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
