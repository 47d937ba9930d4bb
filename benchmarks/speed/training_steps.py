"""Training steps of whole models, fed with int64 ids: what is compiled and timed.

Strings are hashed in the input pipeline (`tfrs_dhe.hashing.int64_keys` in `tf.data`),
since XLA knows none. A step is all that `fit` does with a batch: encode, decode, loss,
gradients, batch statistics and Adam.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import tfrs_dhe
from tfrs_dhe._keras import keras, require_tfrs

tfrs: Any = require_tfrs("This benchmark")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of models and batches; the defaults are the paper's network at batch 4096."""

    batch_size: int = 4096
    embedding_dim: int = 32
    hidden_dim: int = 512
    num_hidden_layers: int = 5
    num_hashes: int = 1024
    hash_family: str = "multiply_shift"
    mach_buckets: int = 10_000
    mach_repetitions: int = 4

    def tower(self) -> Any:
        """Returns a deep hash embedding of this size."""
        return tfrs_dhe.layers.DeepHashEmbedding(
            self.embedding_dim,
            hidden_dim=self.hidden_dim,
            num_hidden_layers=self.num_hidden_layers,
            num_hashes=self.num_hashes,
            hash_family=self.hash_family,
        )


class Retrieval(tfrs.Model):
    """Two towers; the other items of the batch are the negatives."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.users, self.items = sizes.tower(), sizes.tower()
        self.task = tfrs.tasks.Retrieval(remove_accidental_hits=True)

    def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
        """Returns the loss of a batch."""
        return self.task(
            self.users(features["user_id"], training=training),
            self.items(features["item_id"], training=training),
            candidate_ids=features["item_id"],
        )


class Ranking(tfrs.Model):
    """Two towers, and a network that predicts the rating."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.users, self.items = sizes.tower(), sizes.tower()
        self.score = keras.Sequential(
            [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(1)]
        )
        self.task = tfrs.tasks.Ranking(keras.losses.MeanSquaredError())

    def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
        """Returns the loss of a batch."""
        rows = [
            self.users(features["user_id"], training=training),
            self.items(features["item_id"], training=training),
        ]
        return self.task(
            labels=features["rating"][:, tf.newaxis],
            predictions=self.score(tf.concat(rows, axis=1)),
        )


class MACH(tfrs.Model):
    """A tower, and softmaxes over buckets of items."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.users = sizes.tower()
        head = tfrs_dhe.layers.MACHHead(sizes.mach_buckets, sizes.mach_repetitions)
        self.task = tfrs_dhe.tasks.MACHRetrieval(head)

    def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
        """Returns the loss of a batch."""
        queries = self.users(features["user_id"], training=training)
        return self.task(queries, candidate_ids=features["item_id"])


MODELS: dict[str, Callable[[Sizes], Any]] = {
    "dhe_retrieval": Retrieval,
    "dhe_ranking": Ranking,
    "mach": MACH,
}


def make_batch(sizes: Sizes, seed: int = 0) -> dict[str, tf.Tensor]:
    """Returns a batch of random ids, all 64 bits of them, and of ratings."""
    rng = np.random.default_rng(seed)
    limits = np.iinfo(np.int64)

    def ids() -> tf.Tensor:
        return tf.constant(rng.integers(limits.min, limits.max, sizes.batch_size))

    ratings = rng.integers(1, 6, sizes.batch_size)
    return {
        "user_id": ids(),
        "item_id": ids(),
        "rating": tf.constant(ratings, tf.float32),
    }


def make_step(name: str, sizes: Sizes, compiled: bool) -> Callable[..., tf.Tensor]:
    """Returns a function from a batch to its loss, which trains a new model.

    Args:
      name: One of `MODELS`.
      sizes: Of the model and its batches.
      compiled: Whether XLA compiles the whole of it.
    """
    keras.utils.set_random_seed(0)
    model = MODELS[name](sizes)
    model.compile(keras.optimizers.Adam(1e-3))
    model.compute_loss(make_batch(sizes))  # Makes the weights, outside of the step.
    model.optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=compiled)
    def step(user_id: tf.Tensor, item_id: tf.Tensor, rating: tf.Tensor) -> tf.Tensor:
        features = {"user_id": user_id, "item_id": item_id, "rating": rating}
        return model.train_step(features)["loss"]

    return step
