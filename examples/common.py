"""What the examples share: arguments, data, the popularity baseline, the table.

Nothing here is about deep hash embeddings; each example is complete without it
but for its data and its report.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import datasets


def argument_parser(docstring: str, epochs: int) -> argparse.ArgumentParser:
    """Returns a parser with the arguments that every example has."""
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", default="synthetic", help='"synthetic" or "movielens/100k" etc.'
    )
    parser.add_argument("--data-dir", help="folder with a data set as published")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--num-ratings", type=int, default=200_000, help="size of the synthetic data"
    )
    return parser


def load(args: argparse.Namespace) -> datasets.Interactions:
    """Returns the ratings that the arguments ask for."""
    options = {}
    if args.data_dir is None and args.dataset == "synthetic":
        options = {
            "num_ratings": args.num_ratings,
            "num_users": max(args.num_ratings // 30, 1),
            "num_movies": max(args.num_ratings // 60, 1),
        }
    return datasets.load(args.dataset, data_dir=args.data_dir, **options)


def test_parts(split: datasets.TimeSplit) -> dict[str, datasets.Interactions]:
    """Returns all test ratings, and those of ids seen and unseen in training."""
    masks = {
        "all": np.ones(len(split.test_interactions), bool),
        "seen": split.user_is_seen & split.movie_is_seen,
        "unseen users": ~split.user_is_seen,
        "unseen movies": ~split.movie_is_seen,
    }
    return {
        name: split.test_interactions.select(mask)
        for name, mask in masks.items()
        if mask.any()
    }


def add_movie_probability(
    split: datasets.TimeSplit,
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """Returns a function that adds `movie_probability` to training batches.

    Popular movies are negatives more often where the other movies of the batch
    are the negatives. The loss corrects for it, given how often that is.
    """
    movie_id = split.train_interactions.movie_table.movie_id
    row_of_movie = tf.keras.layers.StringLookup(vocabulary=movie_id, num_oov_indices=0)
    counts = split.train_movie_counts
    probability = tf.constant(counts / counts.sum(), tf.float32)

    def add(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        rows = row_of_movie(batch["movie_id"])
        return {**batch, "movie_probability": tf.gather(probability, rows)}

    return add


def popularity_recall(
    split: datasets.TimeSplit,
    parts: Mapping[str, datasets.Interactions],
    ks: Sequence[int],
) -> dict[str, dict[str, float]]:
    """Returns recall@k on each part if everyone is shown the most-rated movies."""
    rank_of_movie = np.argsort(np.argsort(-split.train_movie_counts, kind="stable"))
    return {
        name: {f"recall@{k}": np.mean(rank_of_movie[part.movie_index] < k) for k in ks}
        for name, part in parts.items()
    }


def recall_among_unrated(
    split: datasets.TimeSplit,
    ratings: datasets.Interactions,
    scores: Callable[[dict[str, tf.Tensor]], np.ndarray],
    ks: Sequence[int],
) -> dict[str, float]:
    """Returns recall@k among the movies that the user has not rated in training.

    Nobody is shown what they have rated before, but the top k of a whole catalogue
    are full of it.

    Args:
      split: Says what was rated.
      ratings: Examples to evaluate on.
      scores: From a batch of examples to scores [batch, num_movies], in the order
        of the catalogue.
      ks: Numbers of movies shown.
    """
    train = split.train_interactions
    order = np.argsort(train.user_index, kind="stable")
    rated, users = train.movie_index[order], train.user_index[order]
    ranks, start = [], 0
    for batch in ratings.batches(1024):
        table = np.array(scores(batch))
        rows = np.arange(len(table))
        true = ratings.movie_index[start : start + len(table)]
        true_scores = table[rows, true]
        of_batch = ratings.user_index[start : start + len(table)]
        first = np.searchsorted(users, of_batch, side="left")
        counts = np.searchsorted(users, of_batch, side="right") - first
        offsets = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        positions = np.repeat(first, counts) + offsets
        table[np.repeat(rows, counts), rated[positions]] = -np.inf
        ranks.append((table > true_scores[:, np.newaxis]).sum(axis=1))
        start += len(table)
    rank = np.concatenate(ranks)
    return {f"recall@{k}": float(np.mean(rank < k)) for k in ks}


def factorized_top_k(logs: Mapping[str, float]) -> dict[str, float]:
    """Returns recall@k from the logs of a model with `tfrs.metrics.FactorizedTopK`.

    There is one right movie in an example, so its top-k accuracy is its recall.
    """
    prefix, suffix = "factorized_top_k/top_", "_categorical_accuracy"
    return {
        f"recall@{name.removeprefix(prefix).removesuffix(suffix)}": value
        for name, value in logs.items()
        if name.startswith(prefix)
    }


def movie_means(
    train: datasets.Interactions, values: np.ndarray
) -> Callable[[datasets.Interactions], np.ndarray]:
    """Returns a function from ratings to the mean of `values` of their movies.

    Movies without a rating in `train` get the mean over all its ratings.
    """
    num_movies = len(train.movie_table)
    counts = np.bincount(train.movie_index, minlength=num_movies)
    sums = np.bincount(train.movie_index, weights=values, minlength=num_movies)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), values.mean())
    return lambda ratings: means[ratings.movie_index]


def decaying_adam(learning_rate: float, steps: int) -> Any:
    """Returns an Adam whose rate falls evenly to a fiftieth."""
    return tf.keras.optimizers.Adam(
        tf.keras.optimizers.schedules.PolynomialDecay(
            learning_rate, steps, learning_rate / 50
        )
    )


def trained_size(model: Any) -> dict[str, int]:
    """Returns how many parameters a model has, and the memory they take in training.

    The optimizer has its own numbers for every parameter.
    """
    parameters = model.trainable_variables
    variables = [*parameters, *model.optimizer.variables]
    return {
        "parameters": int(sum(np.prod(v.shape) for v in parameters)),
        "kB": int(sum(np.prod(v.shape) * v.dtype.size for v in variables) / 1000),
    }


def query_in_a_fresh_process(path: str | Path, request: Mapping[str, Any]) -> Any:
    """Returns what a SavedModel answers in a process with only TensorFlow.

    Args:
      path: Folder of the SavedModel.
      request: Lists of numbers or strings, by the names of the inputs.
    """
    script = Path(__file__).parent / "serve.py"
    words = json.dumps(request, default=bytes.decode)
    answer = subprocess.run(
        [sys.executable, script, path, words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return json.loads(answer)


def print_table(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Prints figures, a row of the table for each entry; absent ones stay empty."""
    width = max(map(len, rows))
    names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    print("\n" + " " * width + "".join(f"{name:>13}" for name in names))
    for label, figures in rows.items():
        cells = (_cell(figures.get(name)) for name in names)
        print(f"{label:<{width}}" + "".join(f"{cell:>13}" for cell in cells))


def print_columns(columns: Mapping[str, Mapping[str, float]]) -> None:
    """Prints figures, a column of the table for each entry."""
    names = dict.fromkeys(name for figures in columns.values() for name in figures)
    print_table(
        {
            name: {
                label: figures[name]
                for label, figures in columns.items()
                if name in figures
            }
            for name in names
        }
    )


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
