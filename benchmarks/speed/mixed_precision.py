"""Whether bfloat16 trains to the quality of float32: two-tower retrieval of films.

Run `python benchmarks/speed/mixed_precision.py` from the repository's root, on built-in
data or with `--data-dir` on files as GroupLens or MovieTweetings publish them. The
towers are given `dtype="mixed_bfloat16"`: weights and batch statistics stay float32,
and so does the loss, since the task is left as it is. Runs of a seed have the same data
in the same order and start from the same weights.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from timing import conditions, peak_memory

import tfrs_dhe
from tfrs_dhe._keras import keras, require_tfrs

tfrs: Any = require_tfrs("This benchmark")

POLICIES = ("float32", "mixed_bfloat16")
METRICS = {
    f"recall@{k}": f"factorized_top_k/top_{k}_categorical_accuracy" for k in (10, 100)
}


class TwoTowers(tfrs.Model):
    """The retrieval model of the examples, on ids alone."""

    def __init__(self, movies: Any, policy: str) -> None:
        super().__init__()
        self.users, self.movies = (
            tfrs_dhe.layers.DeepHashEmbedding(
                32, hidden_dim=128, num_hidden_layers=2, num_hashes=512, dtype=policy
            )
            for _ in range(2)
        )
        candidates = movies.map(
            lambda movie: (movie["movie_id"], self.embed_movies(movie["movie_id"]))
        )
        metric = tfrs.metrics.FactorizedTopK(candidates, ks=(10, 100))
        self.task = tfrs.tasks.Retrieval(metrics=metric)

    def embed_movies(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns embeddings in float32, which TFRS does not cast them to itself."""
        return tf.cast(self.movies(ids, training=training), tf.float32)

    def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
        """Returns the loss of a batch."""
        return self.task(
            self.users(features["user_id"], training=training),
            self.embed_movies(features["movie_id"], training=training),
            candidate_ids=features["movie_id"],
            compute_metrics=not training,
        )


def quality(
    split: Any, policy: str, seed: int, args: argparse.Namespace
) -> dict[str, float]:
    """Trains, and returns the recalls on the test examples."""
    keras.utils.set_random_seed(seed)
    model = TwoTowers(split.movies.batch(1024).cache(), policy)
    model.compile(keras.optimizers.Adam(args.learning_rate))
    model.fit(
        split.train_batches(args.batch_size, seed=seed), epochs=args.epochs, verbose=0
    )
    assert {v.dtype.name for v in model.trainable_variables} == {"float32"}
    logs = model.evaluate(split.test_batches(4096), return_dict=True, verbose=0)
    return {name: logs[key] for name, key in METRICS.items()}


def main() -> None:
    """Trains in both precisions, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Quality of bfloat16 training.")
    parser.add_argument("--data-dir", help="folder with a data set as published")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error("--seeds must be at least 2: runs differ by their seed as well")
    data = tfrs_dhe.datasets.load(data_dir=args.data_dir).positives()
    split = tfrs_dhe.datasets.split_by_time(data)
    rows = []
    for seed in range(args.seeds):
        for policy in POLICIES:
            row = quality(split, policy, seed, args)
            rows.append({"policy": policy, "seed": seed, **row})
            print(rows[-1], flush=True)
    summary: dict[str, dict[str, list[float]]] = {}
    for policy in POLICIES:
        summary[policy] = {}
        for name in METRICS:
            values = [row[name] for row in rows if row["policy"] == policy]
            mean, deviation = statistics.mean(values), statistics.stdev(values)
            summary[policy][name] = [mean, deviation]
            print(f"{policy:<16}{name:<12}{mean:.4f} +- {deviation:.4f}")
    if args.output is not None:
        result = {
            "data": Path(args.data_dir).name if args.data_dir else "synthetic",
            "epochs": args.epochs,
            "batch_size": args.batch_size,
            "learning_rate": args.learning_rate,
            **conditions(),
            "peak_bytes": peak_memory(),
            "mean and standard deviation": summary,
            "rows": rows,
        }
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
