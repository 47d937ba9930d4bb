"""What is exported answers in a server as the model does in Python."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.serving import exporting
from tests.serving.exporting import Case, found
from tfrs_dhe import layers, serving
from tfrs_dhe._keras import keras
from tfrs_dhe.layers.factorized_top_k import MACH

USERS = ["user_1", "", "one that is longer than 32 bytes, so hashed otherwise"]
MOVIES = ["alien", "brazil", "casablanca", "dune", "eraserhead"]


def trained_embedding(**arguments: Any) -> Any:
    """Returns a small embedding whose batch normalization has seen batches."""
    layer = layers.DeepHashEmbedding(
        4, hidden_dim=8, num_hidden_layers=2, num_hashes=16, **arguments
    )
    layer.network.build((None, 16))
    for _ in range(3):
        layer(tf.constant(USERS), training=True)
    return layer


class Tower(keras.Model):
    """Has a lookup table and parts in a list, as users' towers do."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [
            keras.layers.StringLookup(vocabulary=["user_1", "user_2"]),
            keras.layers.Embedding(3, 4),
        ]
        self.dense = keras.layers.Dense(4)

    def call(self, features: Any, training: Any = None) -> Any:
        lookup, embedding = self.parts
        user = embedding(lookup(features["user_id"]))
        return self.dense(tf.concat([user, features["age"]], axis=-1))


class MeanOfItems(keras.layers.Layer):
    """Embeds padded lists of items."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = keras.layers.Embedding(10, 4)

    def call(self, items: Any) -> Any:
        return tf.reduce_mean(self.embedding(items), axis=1)


def with_side_features() -> Case:
    layer = layers.DeepHashEmbedding(
        4, hidden_dim=8, num_hidden_layers=2, num_hashes=16
    )
    ids = tf.constant([1, 2**62, -1], tf.int64)
    inputs = {"ids": ids, "side_features": tf.eye(3, 2)}
    for _ in range(3):
        layer(**inputs, training=True)
    return Case(
        layer,
        inputs,
        {"serving_default": lambda **x: {"embeddings": layer(**x, training=False)}},
    )


def tower() -> Case:
    model = Tower()
    inputs = {"user_id": np.array(USERS), "age": [[0.5], [1.0], [-3.0]]}
    model({name: tf.constant(x) for name, x in inputs.items()})
    return Case(
        model, inputs, {"serving_default": lambda **x: {"embeddings": model(x)}}
    )


def lists() -> Case:
    layer = MeanOfItems()
    layer(tf.constant([[1]]))
    return Case(
        layer,
        [[1, 2, 3], [4, 0, 0]],
        {"serving_default": lambda items: {"mean": layer(items)}},
        {"input_name": "items", "any_length": ["items"], "output_name": "mean"},
    )


def mach_index(identifiers: Any, query_model: Any = None) -> MACH:
    head = layers.MACHHead(20, 3, embedding_dim=4, kernel_initializer="normal")
    index = MACH(head, query_model, k=4, method="score_all").index(identifiers)
    index(tf.zeros([1, 4]) if query_model is None else tf.constant(USERS))
    return index


def mach_of_strings() -> Case:
    embed = trained_embedding()
    index = mach_index(MOVIES, embed)
    return Case(
        index,
        USERS,
        {
            "serving_default": lambda user_id: found(index(user_id)),
            "with_exclusions": lambda user_id, exclusions: found(
                index.query_with_exclusions(user_id, exclusions)
            ),
            "embeddings": lambda user_id: {"embeddings": embed(user_id)},
        },
        {"input_name": "user_id"},
    )


def mach_of_integers() -> Case:
    index = mach_index(np.array([7, 2**62, -1], np.int64))
    return Case(
        index,
        tf.random.normal([3, 4]),
        {
            "serving_default": lambda queries: found(index(queries, k=2)),
            "with_exclusions": lambda queries, exclusions: found(
                index.query_with_exclusions(queries, exclusions, k=2)
            ),
        },
        {"input_name": "queries", "k": 2},
    )


def forms_for_serving() -> Case:
    """Rows of 8-bit integers for two known users and for all buckets."""
    embed = trained_embedding().materialize(USERS[:2], dtype="int8")
    head = layers.MACHHead(20, 3, embedding_dim=4, kernel_initializer="normal")
    index = MACH(head.quantized(), embed, k=4, method="certified").index(MOVIES)
    return Case(
        index,
        USERS,
        {"serving_default": lambda user_id: found(index(user_id))},
        {"input_name": "user_id", "exclusions": False, "embeddings": False},
    )


CASES = {
    make.__name__: make
    for make in (
        with_side_features,
        tower,
        lists,
        mach_of_strings,
        mach_of_integers,
        forms_for_serving,
    )
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: Any) -> Any:
    keras.utils.set_random_seed(1)
    return exporting.export_and_replay(CASES, tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize("name", CASES)
def test_a_server_answers_as_the_model_does(name: str, exports: Any) -> None:
    case, path, replayed = exports[name]
    exporting.assert_served(case, path, replayed)
    exporting.assert_stock(path)


def test_signatures_have_any_number_of_rows(exports: Any) -> None:
    manifest = read_manifest(exports["mach_of_strings"][1])
    signatures = manifest["signatures"]
    assert signatures["with_exclusions"]["inputs"] == {
        "user_id": {"dtype": "string", "shape": [None]},
        "exclusions": {"dtype": "string", "shape": [None, None]},
    }
    # k = 4 of the index; four floats of its query model.
    assert signatures["serving_default"]["outputs"] == {
        "scores": {"dtype": "float32", "shape": [None, 4]},
        "ids": {"dtype": "string", "shape": [None, 4]},
    }
    assert signatures["embeddings"]["outputs"]["embeddings"]["shape"] == [None, 4]
    lists = read_manifest(exports["lists"][1])["signatures"]["serving_default"]
    assert lists["inputs"] == {"items": {"dtype": "int64", "shape": [None, None]}}


def test_a_server_refuses_inputs_of_another_rank(exports: Any) -> None:
    _, path, _ = exports["tower"]
    # A server feeds what came; the placeholders' shapes bind Python alone.
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        user_id, age = v1.placeholder(tf.string), v1.placeholder(tf.float32)
        model = v1.saved_model.loader.load(
            session,
            ["serve"],
            str(path),
            input_map={
                "serving_default_user_id:0": user_id,
                "serving_default_age:0": age,
            },
        )
        output = model.signature_def["serving_default"].outputs["embeddings"].name
        assert session.run(output, {user_id: ["a"], age: [[1]]}).shape == (1, 4)
        for wrong in ({user_id: "a", age: [[1]]}, {user_id: ["a"], age: [1]}):
            with pytest.raises(tf.errors.InvalidArgumentError):
                session.run(output, wrong)


def test_lists_of_another_length_are_answered(exports: Any) -> None:
    case, path, _ = exports["lists"]
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    items = tf.constant([[5, 6, 7, 8, 9]], tf.int64)
    np.testing.assert_array_equal(serve(items=items)["mean"], case.servable(items))


def test_only_what_is_read_is_saved(exports: Any) -> None:
    _, path, _ = exports["with_side_features"]
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    sizes = [np.prod(s, dtype=int) for s in reader.get_variable_to_shape_map().values()]
    # 18 numbers in, two layers of 8 normalized units, 4 out.
    parameters = 18 * 8 + 8 * 8 + 2 * 4 * 8 + (8 * 4 + 4)
    manifest = read_manifest(path)
    assert manifest["num_parameters"] == parameters
    assert sum(sizes) == parameters + 1  # the graph of objects, one string


def test_k_is_at_most_the_catalogue_and_exclusions_may_be_many(tmp_path: Path) -> None:
    index = mach_index([5, 6, 7])
    path = serving.export(
        index, tmp_path, tf.ones([1, 4]), k=9, embeddings=False, warmup=False
    )
    loaded = tf.saved_model.load(str(path)).signatures
    answer = loaded["serving_default"](inputs=tf.ones([1, 4]))
    assert sorted(answer["ids"][0].numpy().tolist()) == [5, 6, 7]
    answer = loaded["with_exclusions"](
        inputs=tf.ones([1, 4]), exclusions=tf.constant([[5, 7, 1, 2, 3]], tf.int64)
    )
    assert answer["ids"].numpy().tolist() == [[6, 0, 0]]
    assert np.isnan(answer["scores"].numpy()).tolist() == [[False, True, True]]


def test_exclusions_can_be_left_out(tmp_path: Path) -> None:
    path = serving.export(
        mach_index([5, 6]), tmp_path, tf.ones([1, 4]), exclusions=False, warmup=False
    )
    assert set(read_manifest(path)["signatures"]) == {"serving_default"}


def read_manifest(path: Path) -> Any:
    return json.loads((path / "assets.extra/tfrs_dhe_manifest.json").read_text())
