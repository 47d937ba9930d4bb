"""What the examples of analyses share: ratings, and a MACH model of liked movies."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import argparse
from pathlib import Path

import tensorflow as tf

import tfrs_dhe

NUM_RATINGS = 100_000


def argument_parser(docstring):
    """Returns a parser with the arguments that every example has."""
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=Path("analysis"), help="folder for pictures"
    )
    parser.add_argument("--data-dir", help="folder with MovieLens; else synthetic")
    parser.add_argument("--num-ratings", type=int, default=NUM_RATINGS)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def load(data_dir=None, num_ratings=NUM_RATINGS, seed=0):
    """Returns ratings, from a folder or made; weights start from the seed as well."""
    tf.keras.utils.set_random_seed(seed)
    if data_dir:
        return tfrs_dhe.datasets.load("movielens", data_dir=data_dir)
    return tfrs_dhe.datasets.load(
        "synthetic",
        num_ratings=num_ratings,
        num_users=num_ratings // 40,
        num_movies=num_ratings // 80,
        seed=seed,
    )


class UserModel(tf.keras.Model):
    """Users, by id and side features, to vectors."""

    def __init__(self, hash_seed=0):
        super().__init__()
        self.embedding = tfrs_dhe.layers.DeepHashEmbedding(
            32, hidden_dim=128, num_hidden_layers=2, num_hashes=256, seed=hash_seed
        )

    def call(self, features, training=None):
        return self.embedding(
            features["user_id"], features["user_side_features"], training=training
        )


class MovieModel(tfrs_dhe.models.Model):
    """A softmax over hash buckets of movies."""

    def __init__(self, num_buckets, num_repetitions=4, hash_seed=0):
        super().__init__()
        self.user_model = UserModel(hash_seed)
        self.head = tfrs_dhe.layers.MACHHead(
            num_buckets, num_repetitions, embedding_dim=32
        )
        self.task = tfrs_dhe.tasks.MACHRetrieval(self.head)

    def compute_loss(self, features, training=False):
        return self.task(self.user_model(features), candidate_ids=features["movie_id"])

    def make_index(self, movie_ids):
        return tfrs_dhe.layers.factorized_top_k.MACH(self.head, self.user_model).index(
            movie_ids
        )


def train(model, interactions, epochs, seed=0, callbacks=()):
    """Trains on all ratings of the interactions."""
    tf.keras.utils.set_random_seed(seed)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.003))
    model.fit(
        interactions.batches(512, shuffle=True, seed=seed),
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
    )
    return model
