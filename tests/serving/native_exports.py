"""Small exports for the tests of the C program."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import layers
from tfrs_dhe._keras import tfrs
from tfrs_dhe.layers import factorized_top_k

USERS = np.array([f"user_{i}" for i in range(7)], object)
IDS = tf.TensorSpec([None], tf.string, "user_id")
# Of a fixed number, which TFRS's own indexes need.
EXCLUSIONS = tf.TensorSpec([None, 2], tf.string, "exclusions")


def save(path: Path, **functions: Any) -> None:
    """Writes an export with a signature for each function."""
    module = tf.Module()
    # Variables alone: what a tracked model of Keras 3 reads is not restored, and one
    # of legacy Keras is traced once more for each of its layers.
    module.variables_read = [
        variable
        for function in functions.values()
        for variable in function.get_concrete_function().graph.variables
    ]
    tf.saved_model.save(module, str(path), signatures=functions)


def save_strings(path: Path) -> None:
    """Two signatures on strings, and ones that fail at a request."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def describe(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "text": text,
            "length": tf.strings.length(text),
            "halves": tf.cast(tf.strings.length(text), tf.bfloat16) / 2,
            "is_empty": text == "",
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "numbers"),
            tf.TensorSpec([], tf.bool, "negate"),
        ]
    )
    def total(numbers: tf.Tensor, negate: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies(
            [tf.debugging.assert_all_finite(numbers, "numbers must be finite")]
        ):
            return {"sum": tf.reduce_sum(tf.where(negate, -numbers, numbers), axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "number")])
    def python(number: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"same": tf.numpy_function(lambda x: x, [number], tf.int64)}

    save(path, serving_default=describe, total=total, with_python=python)


def save_mach_index(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """A MACH index with a DHE as its query model; returns inputs."""
    query_model = layers.DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2)
    head = layers.MACHHead(num_buckets=20, num_repetitions=4)
    index = factorized_top_k.MACH(head, query_model, k=5)
    return _save_index(index.index([f"item_{i}" for i in range(50)]), path)


def save_brute_force(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """An index of TFRS with a DHE as its query model; returns inputs."""
    query_model = layers.DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2)
    index = tfrs.layers.factorized_top_k.BruteForce(query_model, k=5)
    items = tf.constant([f"item_{i}" for i in range(50)])
    embeddings = tf.random.stateless_normal([50, 8], seed=[0, 0])
    return _save_index(index.index(embeddings, items), path)


def _save_index(index: Any, path: Path) -> dict[str, dict[str, np.ndarray]]:
    index(tf.constant(USERS))
    # AutoGraph has nothing to convert in it, and takes most of the time.
    without = index.query_with_exclusions.python_function

    @tf.function(input_signature=[IDS], autograph=False)
    def serve(user_id: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, ids = index(user_id)
        return {"scores": scores, "ids": ids}

    @tf.function(input_signature=[IDS, EXCLUSIONS], autograph=False)
    def serve_rest(user_id: tf.Tensor, exclusions: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, ids = without(user_id, exclusions)
        return {"scores": scores, "ids": ids}

    save(path, serving_default=serve, with_exclusions=serve_rest)
    exclusions = np.array([["item_3", f"item_{i}"] for i in range(7)], object)
    return {
        "serving_default": {"user_id": USERS},
        "with_exclusions": {"user_id": USERS, "exclusions": exclusions},
    }


def save_side_features(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """A DHE of integers with side features; returns inputs."""
    layer = layers.DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2)
    specs = [
        tf.TensorSpec([None], tf.int64, "user_id"),
        tf.TensorSpec([None, 3], tf.float32, "age"),
    ]
    inputs = {
        "user_id": np.arange(7),
        "age": np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32),
    }
    layer(tf.constant(inputs["user_id"]), tf.constant(inputs["age"]))

    @tf.function(input_signature=specs, autograph=False)
    def embed(user_id: tf.Tensor, age: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embeddings": layer(user_id, age, training=False)}

    save(path, serving_default=embed)
    return {"serving_default": inputs}
