"""Models as users export them are found sound, and answer as in Python."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import layers
from tfrs_dhe._keras import is_legacy, keras, tfrs
from tfrs_dhe.serving import verify
from tfrs_dhe.serving._samples import Sample, write_samples

MOVIES = tf.constant([f"/movies/{i}" for i in range(200)])
# Hashed by another part of the graph than shorter ones.
LONG = "a name that is longer than thirty-two bytes"


def record(path: Path, ids: list[str]) -> None:
    """Records what Python answers to requests of three sizes."""
    loaded = tf.saved_model.load(str(path))
    samples = []
    for signature, ask in loaded.signatures.items():
        ((name, _),) = ask.structured_input_signature[1].items()
        for size in (0, 1, len(ids)):
            given = tf.constant(ids[:size], tf.string)
            outputs = {key: x.numpy() for key, x in ask(**{name: given}).items()}
            samples.append(Sample(signature, {name: given.numpy()}, outputs))
    write_samples(path, samples)


@pytest.mark.skipif(tfrs is None, reason="TFRS needs legacy Keras.")
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


def test_embedding_exported_by_keras(tmp_path: Path) -> None:
    inputs = keras.layers.Input([], dtype="string", name="user_id")
    embedding = layers.DeepHashEmbedding(8, hidden_dim=16, num_hashes=32)(inputs)
    model = keras.Model(inputs, embedding)
    path = tmp_path / "1"
    if is_legacy:
        tf.saved_model.save(model, str(path))
    else:
        model.export(str(path), verbose=False)
    record(path, ["ann", "bob", LONG])
    report = verify(path)
    # Keras 3 writes the same signature under two names.
    assert report.num_samples == 3 * len(report.signatures)
