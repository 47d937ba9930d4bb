"""Every form for serving, exported and loaded as TF Serving does, against the layer."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.layers import DedicatedRowsEmbedding, DeepHashEmbedding
from tfrs_dhe.serving._resources import resources_of
from tfrs_dhe.serving._walk import walk

KNOWN = np.array([f"id-{i}" for i in range(50)], dtype=object)
REQUEST = np.concatenate([KNOWN[:20], ["new", "", "long " * 30, "new"], KNOWN[:9]])

FORMS = {
    "inference": lambda layer: layer.inference_form(deduplicate=False),
    "deduplicate": lambda layer: layer.inference_form(deduplicate=True),
    "float32": lambda layer: layer.materialize(KNOWN),
    "bfloat16": lambda layer: layer.materialize(KNOWN, "bfloat16"),
    "int8": lambda layer: layer.materialize(KNOWN, "int8"),
    "int4": lambda layer: layer.materialize(KNOWN, "int4", key_index="sorted"),
    "dedicated": lambda layer: dedicated(layer),
    "dedicated_int4": lambda layer: dedicated(layer).materialize("int4", "sorted"),
}


def dedicated(layer: DeepHashEmbedding) -> DedicatedRowsEmbedding:
    """Returns rows that are what the layer computes, so that all answers are its."""
    rows = DedicatedRowsEmbedding(layer, KNOWN)
    # The rows are in the order of their keys.
    numbers, has_row = rows._find(tf.constant(KNOWN))
    assert np.all(has_row)
    table = np.zeros([len(KNOWN), layer.output_dim], np.float32)
    table[numbers.numpy()] = layer(KNOWN, training=False)
    rows.weights[0].assign(table)
    return rows


@pytest.fixture(name="layer", scope="module")
def make() -> DeepHashEmbedding:
    layer = DeepHashEmbedding(4, hidden_dim=8, num_hidden_layers=2, num_hashes=32)
    layer(KNOWN, training=False)
    layer(KNOWN, training=True)
    return layer


@pytest.fixture(name="path", scope="module")
def export(layer: DeepHashEmbedding, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("export"))
    module = tf.Module()
    forms = {name: make_form(layer) for name, make_form in FORMS.items()}
    spec = tf.TensorSpec([None], tf.string, name="ids")
    signatures = {
        name: tf.function(
            lambda ids, form=form: {"embeddings": form(ids)}
        ).get_concrete_function(spec)
        for name, form in forms.items()
    }
    # Restoring fills raw variables; those of Keras 3 would stay unfilled.
    parts = [part for form in forms.values() for _, part in walk(form)]
    module.raw = resources_of(signatures, parts)
    tf.saved_model.save(module, path, signatures=signatures)
    return path


def serve(path: str, signature: str, requests: list[np.ndarray]) -> list[np.ndarray]:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
        definition = meta.signature_def[signature]
        ids = definition.inputs["ids"].name
        embeddings = definition.outputs["embeddings"].name
        return [session.run(embeddings, {ids: request}) for request in requests]


def half_step(form: str, rows: np.ndarray) -> np.ndarray:
    """Returns how far rows of a dtype may be from rows of float32."""
    if form == "bfloat16":
        return np.abs(rows) * 2.0**-8
    largest = {"int8": 127, "int4": 7, "dedicated_int4": 7}
    if form in largest:
        return np.abs(rows).max(axis=1, keepdims=True, initial=0) / largest[form] / 2
    return np.zeros_like(rows)


@pytest.mark.parametrize("form", FORMS)
def test_answers_are_those_of_the_layer(
    layer: DeepHashEmbedding, path: str, form: str
) -> None:
    requests = [REQUEST, REQUEST[:1], REQUEST[20:21], REQUEST[:0]]
    for request, answer in zip(requests, serve(path, form, requests), strict=True):
        expected = layer(request, training=False).numpy()
        is_known = np.isin(request, KNOWN)[:, np.newaxis]
        bound = np.where(is_known, half_step(form, expected), 0)
        # Float32 numbers of this size, summed in another order.
        rounding = 1e-6 * np.maximum(1, np.abs(expected))
        assert answer.shape == expected.shape
        assert np.all(np.abs(answer - expected) <= bound + rounding)


def test_only_needed_variables_are_read(path: str) -> None:
    loaded = tf.saved_model.load(path)
    read = loaded.signatures["inference"].variables
    shapes = sorted(variable.shape.as_list() for variable in read)
    # Kernels of 8, 2 and 1 lines of 32 numbers, and three biases.
    assert shapes == [[14, 32]]
