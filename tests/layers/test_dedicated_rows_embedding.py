"""What is particular to DedicatedRowsEmbedding; the rest is in test_every_layer."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DedicatedRowsEmbedding, DeepHashEmbedding

KNOWN = [f"id-{i}" for i in range(50)] + ["long " * 20]
NEW = ["new", "other " * 20, ""]
MIXED = tf.constant([KNOWN[3], NEW[0], KNOWN[50], NEW[1], KNOWN[3], NEW[0], NEW[2]])
IS_KNOWN = [True, False, True, False, True, False, False]
#: Enough draws for a share of one half to be told from 0.4 and 0.6 by 20 deviations.
MANY = tf.constant(KNOWN[:1] * 10_000)


def network(**options: Any) -> DeepHashEmbedding:
    defaults = {"hidden_dim": 8, "num_hidden_layers": 2, "num_hashes": 32}
    return DeepHashEmbedding(4, **{**defaults, **options})


def make(ids: Any = KNOWN, **options: Any) -> DedicatedRowsEmbedding:
    own = {n: options.pop(n) for n in ("row_dropout",) if n in options}
    return DedicatedRowsEmbedding(network(**options), ids, **own)


def rows(layer: DedicatedRowsEmbedding) -> np.ndarray:
    return layer.trainable_weights[0].numpy()


def test_known_ids_have_a_row_each_and_others_are_computed() -> None:
    layer = make()
    outputs = layer(MIXED, training=False).numpy()
    computed = layer.embedding(MIXED, training=False).numpy()
    assert layer.is_known(MIXED).numpy().tolist() == IS_KNOWN
    # In another batch a sum may be taken in another order.
    np.testing.assert_allclose(
        outputs[~np.array(IS_KNOWN)], computed[~np.array(IS_KNOWN)], atol=1e-6
    )
    table = {tuple(row) for row in rows(layer)}
    assert len(table) == len(KNOWN)
    every = layer(tf.constant(KNOWN), training=False).numpy()
    assert {tuple(row) for row in every} == table


def test_gradient_of_a_row_is_that_of_its_id_alone() -> None:
    layer = make(row_dropout=0)
    layer(MIXED, training=False)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(MIXED, training=True))
    gradients = tape.gradient(loss, layer.trainable_weights)
    gradient = tf.convert_to_tensor(gradients[0]).numpy()
    # The first known id is there twice, the other once.
    assert sorted(gradient.sum(axis=1) / 4, reverse=True)[:3] == [2, 1, 0]


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_share_of_rows_is_left_out_in_training_only(in_graph: bool) -> None:
    layer = make(row_dropout=0.5)
    row = layer(MANY[:1], training=False).numpy()
    call = tf.function(layer) if in_graph else layer
    keras.utils.set_random_seed(1)
    first, second = (call(MANY, training=True).numpy() for _ in range(2))
    is_row = np.all(first == row, axis=1)
    assert 0.4 < is_row.mean() < 0.6
    # Other ids the next time.
    assert np.any(is_row != np.all(second == row, axis=1))
    np.testing.assert_array_equal(call(MANY, training=False), np.tile(row, [10_000, 1]))


def test_rows_left_out_teach_the_network_alone() -> None:
    layer = make(row_dropout=0.5, normalization=None)
    layer(MANY, training=False)
    keras.utils.set_random_seed(1)
    with tf.GradientTape() as tape:
        outputs = layer(MANY, training=True)
        loss = tf.reduce_sum(outputs)
    gradients = tape.gradient(loss, layer.trainable_weights)
    num_rows = tf.convert_to_tensor(gradients[0]).numpy().sum() / 4
    # The bias of the last Dense layer has a gradient of one for each computed id.
    num_computed = gradients[-1].numpy()[0]
    assert num_rows + num_computed == len(MANY)
    assert num_computed > 0


def test_statistics_are_those_of_computed_ids() -> None:
    layer = make(row_dropout=0, mask_value="")
    alone = layer.embedding
    layer(MIXED, training=False)
    start = alone.get_weights()
    layer(MIXED, training=True)
    moved = alone.get_weights()
    alone.set_weights(start)
    alone(tf.constant([NEW[0], NEW[1], NEW[0]]), training=True)
    for actual, expected in zip(moved, alone.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_padding_goes_nowhere() -> None:
    layer = make(mask_value="")
    ids = tf.constant([[KNOWN[0], ""], ["", ""]])
    np.testing.assert_array_equal(layer(ids, training=False)[1], np.zeros([2, 4]))
    assert layer.compute_mask(ids).numpy().tolist() == [[True, False], [False, False]]


def test_ragged_ids_and_side_features() -> None:
    layer = make()
    ids = tf.ragged.constant([[KNOWN[1], "new"], [], [KNOWN[2]]])
    features = tf.ragged.constant(
        [[[1.0, 2.0], [3.0, 4.0]], [], [[5.0, 6.0]]], ragged_rank=1
    )
    outputs = layer(ids, side_features=features, training=False)
    assert outputs.row_lengths().numpy().tolist() == [2, 0, 1]
    new = layer.embedding(
        tf.constant(["new"]), side_features=tf.constant([[3.0, 4.0]]), training=False
    )
    np.testing.assert_allclose(outputs[0][1], new[0], atol=1e-6)
    with pytest.raises(ValueError, match="Expected: 2 numbers per id"):
        layer(tf.constant(["x"]), side_features=tf.ones([1, 3]), training=False)


@pytest.mark.parametrize(
    ("dtype", "inner"), [("mixed_bfloat16", "float32"), ("float32", "mixed_bfloat16")]
)
def test_network_of_another_policy(dtype: str, inner: str) -> None:
    embedding = DeepHashEmbedding(4, hidden_dim=8, num_hidden_layers=1, dtype=inner)
    layer = DedicatedRowsEmbedding(embedding, ids=["a"], dtype=dtype)
    ids = tf.constant(["a", "new"])
    assert layer(ids, training=True).dtype == layer.compute_dtype
    outputs = tf.cast(layer(ids, training=False), tf.float32)
    computed = tf.cast(embedding(ids[1:], training=False), tf.float32)
    # Either is in bfloat16, with 8 bits to a number.
    np.testing.assert_allclose(outputs[1:], computed, rtol=2**-8)


def test_integers_of_any_width() -> None:
    layer = make(ids=np.array([-1, 2**40, 7]))
    wide = np.array([2**64 - 1, 2**40, 7, 8], np.uint64)
    outputs = layer(wide, training=False)
    assert layer.is_known(wide).numpy().tolist() == [True, True, True, False]
    np.testing.assert_array_equal(layer(np.array([7], np.int8)), outputs[2:3])


# Half of a step of each dtype, relative to the largest number of a row.
@pytest.mark.parametrize(
    ("dtype", "step"), [("float32", 0), ("int8", 1 / 127), ("int4", 1 / 7)]
)
@pytest.mark.parametrize("key_index", ["hash_table", "sorted"])
def test_materialized_form_rounds_the_rows(
    dtype: str, step: float, key_index: str
) -> None:
    layer = make(mask_value="")
    exact = layer(MIXED, training=False).numpy()
    served = layer.materialize(dtype, key_index)
    # Padding has a row, too.
    assert served.num_rows == len(KNOWN) + 1
    assert served.is_known(MIXED).numpy().tolist() == [*IS_KNOWN[:-1], True]
    largest = np.abs(exact).max(axis=1, keepdims=True)
    is_known = np.array(IS_KNOWN)[:, np.newaxis]
    bound = np.where(is_known, largest * step / 2, 0) + 1e-6
    for call in (served, tf.function(served)):
        assert np.all(np.abs(call(MIXED) - exact) <= bound)
    known = tf.constant(KNOWN)
    measured = served.error(known, reference=layer)
    expected = np.abs(served(known) - layer(known, training=False)).max()
    assert measured.max_absolute == pytest.approx(expected)


def test_materialized_form_takes_the_ids_of_the_layer() -> None:
    layer = make()
    layer(MIXED, training=False)
    served = layer.materialize()
    with pytest.raises(ValueError, match="`ids` must be strings, as the ids that have"):
        served(tf.constant([1, 2]))


@pytest.mark.parametrize("key_index", ["hash_table", "sorted"])
def test_network_does_not_stand_in_for_rows_that_were_trained(
    key_index: str, tmp_path: Any
) -> None:
    layer = make()
    layer(MIXED, training=False)
    ids = keras.Input((), dtype="string")
    served = keras.Model(ids, layer.materialize("float32", key_index)(ids))
    # What does not have the rows: weights, as they are in an old file.
    again = keras.models.clone_model(served)
    again.set_weights(served.get_weights())
    in_graph = tf.function(again)
    for function in (again, in_graph):
        with pytest.raises(tf.errors.InvalidArgumentError, match="has no rows"):
            function(MIXED)
    served.save_weights(tmp_path / "rows.weights.h5")
    again.load_weights(tmp_path / "rows.weights.h5")
    expected = layer(MIXED, training=False)
    for function in (again, in_graph):
        np.testing.assert_allclose(function(MIXED), expected, atol=1e-6)
    # With rows nothing is checked, when a server runs it.
    operations = tf.function(served).get_concrete_function(MIXED).graph.get_operations()
    assert "Assert" not in {operation.type for operation in operations}


def test_materialized_form_takes_side_features() -> None:
    layer = make(row_dropout=0.5)
    features = tf.random.stateless_normal([7, 2], seed=[1, 2])
    exact = layer(MIXED, side_features=features, training=False)
    served = layer.materialize("float32", "sorted")
    np.testing.assert_allclose(served(MIXED, features), exact, atol=1e-6)
    with pytest.raises(ValueError, match="2 numbers per id"):
        served(MIXED)


def test_trains_in_a_model_and_keeps_known_ids_apart() -> None:
    """Labels that depend on the id: rows learn them, unknown ids get the rest."""
    ids = tf.constant(KNOWN * 40)
    labels = tf.constant([float(i % 2) for i in range(len(KNOWN))] * 40)
    inputs = keras.Input(shape=(), dtype="string")
    embeddings = make(row_dropout=0.1)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(embeddings))
    model.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model.fit(ids, labels, batch_size=64, epochs=5, verbose=0)
    logits = model.predict(tf.constant(KNOWN), verbose=0)[:, 0]
    np.testing.assert_array_equal(logits > 0, labels[: len(KNOWN)].numpy() > 0.5)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="`embedding` must be a DeepHashEmbedding"):
        DedicatedRowsEmbedding(keras.layers.Dense(3), KNOWN)
    for row_dropout in (-0.1, 1, 1.5):
        with pytest.raises(ValueError, match=r"`row_dropout` must be in \[0, 1\)"):
            make(row_dropout=row_dropout)
    with pytest.raises(ValueError, match="Give either `ids`, or `num_rows`"):
        DedicatedRowsEmbedding(network())
    with pytest.raises(ValueError, match="Give either `ids`, or `num_rows`"):
        DedicatedRowsEmbedding(network(), KNOWN, num_rows=3)
    with pytest.raises(ValueError, match="Give either `ids`, or `num_rows`"):
        DedicatedRowsEmbedding(network(), num_rows=3)
    with pytest.raises(ValueError, match="`num_rows` must be a positive integer"):
        DedicatedRowsEmbedding(network(), num_rows=0, string_ids=True)
    with pytest.raises(ValueError, match="`ids` must be distinct"):
        make(ids=["a", "b", "a"])
    with pytest.raises(ValueError, match="`ids` must be strings or integers"):
        make(ids=[0.5])
    with pytest.raises(ValueError, match="`ids` must be a list of at least one id"):
        make(ids=np.array([], np.int64))
    with pytest.raises(ValueError, match="`ids` must not have the `mask_value`"):
        make(ids=["a", ""], mask_value="")
    with pytest.raises(ValueError, match="`ids` must be strings, as the ids that have"):
        make()(tf.constant([1]), training=False)
    with pytest.raises(ValueError, match="`ids` must be integers, as the ids that"):
        make(ids=[1, 2]).is_known(tf.constant(["1"]))
    layer = make()
    with pytest.raises(ValueError, match="Train it, load it, or call it"):
        layer.materialize()
    layer(MIXED, training=False)
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        layer.materialize("float16")
    with pytest.raises(ValueError, match="`key_index` must be one of"):
        layer.materialize(key_index="trie")
