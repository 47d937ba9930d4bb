"""Models as users export them are found sound, and answer as in Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.exports import USER_ID, save
from tfrs_dhe import layers
from tfrs_dhe._keras import is_legacy, keras, tfrs
from tfrs_dhe.serving import verify
from tfrs_dhe.serving._samples import Sample, write_samples

MOVIES = tf.constant([f"/movies/{i}" for i in range(200)])
with_tfrs = pytest.mark.skipif(tfrs is None, reason="TFRS needs legacy Keras.")


def record(path: Path, ids: list[str], **others: Any) -> None:
    """Records what Python answers to requests of three sizes."""
    loaded = tf.saved_model.load(str(path))
    samples = []
    for name, signature in loaded.signatures.items():
        first, *more = signature.structured_input_signature[1]
        for size in (0, 1, len(ids)):
            inputs = {first: tf.constant(ids[:size], tf.string)}
            inputs.update({each: others[each][:size] for each in more})
            arrays = {key: x.numpy() for key, x in inputs.items()}
            outputs = {key: x.numpy() for key, x in signature(**inputs).items()}
            samples.append(Sample(name, arrays, outputs))
    write_samples(path, samples)


@with_tfrs
def test_brute_force_behind_a_lookup(tmp_path: Path) -> None:
    users = [f"user {i}" for i in range(20)]
    tower = keras.Sequential(
        [keras.layers.StringLookup(vocabulary=users), keras.layers.Embedding(21, 8)]
    )
    index = tfrs.layers.factorized_top_k.BruteForce(tower, k=5)
    rows = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
    index.index(rows, MOVIES)
    index(tf.constant(users[:2]))
    tf.saved_model.save(index, str(tmp_path / "1"))
    record(tmp_path / "1", [*users, "unknown"])
    report = verify(tmp_path / "1")
    # The rows, the candidates, their identifiers, and the lookup's table.
    assert (report.num_samples, report.num_resources) == (3, 4)


@with_tfrs
def test_mach_index_with_exclusions(tmp_path: Path) -> None:
    tower = keras.Sequential(
        [layers.DeepHashEmbedding(8, hidden_dim=16, num_hashes=32)]
    )
    index = layers.factorized_top_k.MACH(layers.MACHHead(16, 4), tower, k=5)
    index.index(MOVIES)
    index(tf.constant(["ann"]))
    module = tf.Module()
    module.index = index
    pairs = tf.TensorSpec([None, None], tf.string, "exclusions")

    @tf.function(input_signature=[USER_ID])
    def serve(user_id: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, ids = index(user_id)
        return {"scores": scores, "ids": ids}

    @tf.function(input_signature=[USER_ID, pairs])
    def exclude(user_id: tf.Tensor, exclusions: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, ids = index.query_with_exclusions(user_id, exclusions)
        return {"scores": scores, "ids": ids}

    path = save(module, tmp_path / "1", serving_default=serve, with_exclusions=exclude)
    ids = ["ann", "bob", "a name that is longer than thirty-two bytes", "\u00e9", ""]
    record(path, ids, exclusions=tf.reshape(MOVIES[:10], [5, 2]))
    assert verify(path).num_samples == 6


def test_embedding_exported_by_keras(tmp_path: Path) -> None:
    inputs = keras.layers.Input([], dtype="string", name="user_id")
    embedding = layers.DeepHashEmbedding(8, hidden_dim=16, num_hashes=32)(inputs)
    model = keras.Model(inputs, embedding)
    path = tmp_path / "1"
    if is_legacy:
        tf.saved_model.save(model, str(path))
    else:
        model.export(str(path), verbose=False)
    record(path, ["ann", "bob", "a name that is longer than thirty-two bytes"])
    report = verify(path)
    # Keras 3 writes the same signature under two names.
    assert report.num_samples == 3 * len(report.signatures)
