"""What is particular to MaterializedEmbedding; the rest is in test_every_layer."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DeepHashEmbedding, MaterializedEmbedding

KNOWN = np.array([f"id-{i}" for i in range(100)] + ["long " * 20], dtype=object)
UNKNOWN = np.array(["new", "", "other " * 20], dtype=object)
MIXED = tf.constant(np.concatenate([KNOWN[:3], UNKNOWN, KNOWN[:2], UNKNOWN[:1]]))


def make(**options: Any) -> DeepHashEmbedding:
    defaults = {"hidden_dim": 8, "num_hidden_layers": 2, "num_hashes": 32}
    layer = DeepHashEmbedding(4, **{**defaults, **options})
    layer(KNOWN, training=False)
    layer(KNOWN, training=True)
    return layer


def largest(x: Any) -> np.ndarray:
    return np.abs(x).max(axis=-1, keepdims=True)


@pytest.mark.parametrize("key_index", ["hash_table", "sorted"])
# Half of a step of each dtype, relative to a value or to the largest of a row.
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [
        ("float32", lambda row: 0 * row),
        ("bfloat16", lambda row: np.abs(row) * 2.0**-8),
        ("int8", lambda row: largest(row) / 127 / 2),
        ("int4", lambda row: largest(row) / 7 / 2),
    ],
)
def test_is_the_plain_layer_within_half_a_step(
    dtype: str, bound: Any, key_index: str
) -> None:
    layer = make()
    expected = layer(MIXED, training=False).numpy()
    served = layer.materialize(KNOWN, dtype, key_index=key_index)
    is_known = served.is_known(MIXED).numpy()
    assert is_known.tolist() == [True] * 3 + [False] * 3 + [True] * 2 + [False]
    step = np.where(is_known[:, np.newaxis], bound(expected), 0)
    # Float32 numbers near 1 that were summed in another order.
    rounding = 1e-6 * np.maximum(1, np.abs(expected))
    for call in (served, tf.function(served)):
        assert np.all(np.abs(call(MIXED) - expected) <= step + rounding)


def test_known_ids_do_not_pay_for_the_network() -> None:
    served = make().materialize(KNOWN)
    computed = []
    embed_keys = served.embedding.embed_keys

    def counted(keys: tf.Tensor, side_features: Any) -> tf.Tensor:
        computed.append(len(keys))
        return embed_keys(keys, side_features)

    served.embedding.embed_keys = counted
    served(KNOWN)
    assert not computed
    served(MIXED)
    assert computed == [4]


def test_network_is_in_a_branch_of_the_graph() -> None:
    served = make().materialize(KNOWN)
    graph = tf.function(served).get_concrete_function(tf.TensorSpec([None], tf.string))
    types = {operation.type for operation in graph.graph.get_operations()}
    assert "MatMul" not in types
    assert types & {"If", "StatelessIf"}


def test_unknown_repeated_ids_are_computed_once() -> None:
    layer = make(deduplicate=True)
    served = layer.materialize(KNOWN)
    computed = []
    call = served.embedding.network.call

    def counted(inputs: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        computed.append(len(inputs))
        return call(inputs, **kwargs)

    served.embedding.network.call = counted
    served(MIXED)
    assert computed == [3]  # "new" is there twice.


def test_ids_of_integers_of_any_width() -> None:
    layer = make()
    layer(tf.constant([1]), training=False)
    served = layer.materialize([-1, 2**40, 7])
    ids = np.array([2**64 - 1, 2**40, 7, 8], np.uint64)
    assert served.is_known(ids).numpy().tolist() == [True, True, True, False]
    np.testing.assert_allclose(served(ids), layer(ids, training=False), atol=1e-6)
    small = np.array([-1, 7], np.int8)
    np.testing.assert_array_equal(served(small), served(ids)[0:3:2])


@pytest.mark.parametrize("shape", [(), (4, 1), (2, 3, 4), (0, 3)])
def test_any_rank(shape: tuple[int, ...]) -> None:
    ids = tf.reshape(tf.constant(KNOWN[: np.prod(shape, dtype=int)]), shape)
    layer = make()
    served = layer.materialize(KNOWN[:5])
    outputs = served(ids)
    assert outputs.shape == (*shape, 4)
    np.testing.assert_allclose(outputs, layer(ids, training=False), atol=1e-6)
    assert served.is_known(ids).shape == shape


def test_ragged_ids() -> None:
    ids = tf.ragged.constant([["id-1", "new"], [], ["id-2"]])
    layer = make()
    served = layer.materialize(ids)
    assert served.num_rows == 3
    served = layer.materialize(KNOWN)
    outputs = served(ids)
    assert outputs.row_lengths().numpy().tolist() == [2, 0, 1]
    expected = layer(ids.flat_values, training=False)
    np.testing.assert_allclose(outputs.flat_values, expected, atol=1e-6)
    assert served.is_known(ids).to_list() == [[True, False], [], [True]]


def test_each_id_has_one_row_and_padding_has_one() -> None:
    ids = ["a", "b", "a", "a"]
    assert make().materialize(ids).num_rows == 2
    padded = make(mask_value="").materialize(ids)
    assert padded.num_rows == 3
    assert padded.is_known(tf.constant(["", "c"])).numpy().tolist() == [True, False]
    mask = padded.compute_mask(tf.constant([["a", ""]]))
    assert mask.numpy().tolist() == [[True, False]]


def test_rows_are_computed_in_batches() -> None:
    layer = make()
    whole, parts = layer.materialize(KNOWN), layer.materialize(KNOWN, batch_size=7)
    np.testing.assert_allclose(parts(KNOWN), whole(KNOWN), atol=1e-6)


def test_is_a_copy() -> None:
    layer = make()
    served = layer.materialize(KNOWN)
    before = served(MIXED).numpy()
    layer.network.hidden_0.kernel.assign(layer.network.hidden_0.kernel + 1.0)
    np.testing.assert_array_equal(served(MIXED), before)


@pytest.mark.parametrize("key_index", ["hash_table", "sorted"])
def test_unset_rows_are_not_served(key_index: str) -> None:
    """A layer made again without its weights computes all ids."""
    layer = make().materialize(["id-0", ""], key_index=key_index)
    again = MaterializedEmbedding.from_config(layer.get_config())
    assert not np.any(again.is_known(tf.constant(["id-0", ""])))
    layer = make().materialize([0, 1], key_index=key_index)
    again = MaterializedEmbedding.from_config(layer.get_config())
    assert not np.any(again.is_known(tf.range(-9, 9)))


def test_rows_are_never_those_of_other_ids() -> None:
    """However weights come, keys and rows belong together."""
    layer = make()
    served = layer.materialize(KNOWN[:50], "int8")
    fresh = MaterializedEmbedding.from_config(served.get_config())
    of_others = layer.materialize(KNOWN[51:], "int8")
    # As a model around the layer sets them, or an old file.
    for target in (fresh, of_others):
        for weight, value in zip(target.weights, served.get_weights(), strict=True):
            weight.assign(value)
    exact = layer.inference_form()(KNOWN).numpy()
    np.testing.assert_array_equal(fresh(KNOWN), exact)
    step = largest(exact) / 127 / 2 + 1e-6
    assert np.all(np.abs(of_others(KNOWN) - exact) <= step)


def test_files_hold_the_rows(tmp_path: Path) -> None:
    layer = make()
    ids = keras.Input((), dtype="string")
    served, others = (
        keras.Model(ids, layer.materialize(known, "int8")(ids))
        for known in (KNOWN[:50], KNOWN[51:])
    )
    expected = served(tf.constant(KNOWN)).numpy()
    served.save_weights(tmp_path / "rows.weights.h5")
    assert np.any(others(tf.constant(KNOWN)) != expected)
    others.load_weights(tmp_path / "rows.weights.h5")
    np.testing.assert_array_equal(others(tf.constant(KNOWN)), expected)


def test_files_of_another_number_of_rows_are_refused() -> None:
    layer = make()
    stored: dict[str, np.ndarray] = {}
    layer.materialize(KNOWN[:50]).save_own_variables(stored)
    with pytest.raises(ValueError, match=r"each of the 49 rows\. Received 50 keys"):
        layer.materialize(KNOWN[:49]).load_own_variables(stored)


def test_copies_share_nothing() -> None:
    layer = make()
    served, others = layer.materialize(KNOWN[:50]), layer.materialize(KNOWN[51:])
    copied = copy.deepcopy(served)
    stored: dict[str, np.ndarray] = {}
    others.save_own_variables(stored)
    served.load_own_variables(stored)
    assert copied.is_known(KNOWN).numpy().tolist() == [True] * 50 + [False] * 51
    assert served.is_known(KNOWN).numpy().tolist() == [False] * 51 + [True] * 50


def test_error_is_that_of_the_rows() -> None:
    layer = make()
    exact = layer.inference_form()(KNOWN).numpy().astype(np.float64)
    served = layer.materialize(KNOWN, "int8")
    difference = np.abs(served(KNOWN) - exact)
    error = served.error(KNOWN, batch_size=10)
    assert error.max_absolute == pytest.approx(difference.max(), abs=1e-6)
    assert error.mean_absolute == pytest.approx(difference.mean(), abs=1e-6)
    relative = np.linalg.norm(difference, axis=1) / np.linalg.norm(exact, axis=1)
    assert error.max_relative == pytest.approx(relative.max(), rel=1e-3)
    assert error.mean_relative == pytest.approx(relative.mean(), rel=1e-3)
    assert f"(max {error.max_absolute:.2e})" in str(error)
    with pytest.raises(ValueError, match="Received 2 ids, of which 1 have none"):
        served.error(["id-1", "new"])


def test_rows_of_zeros() -> None:
    layer = make()
    for weight in (layer.network.output_layer.kernel, layer.network.output_layer.bias):
        weight.assign(tf.zeros_like(tf.convert_to_tensor(weight)))
    served = layer.materialize(KNOWN, "int8")
    np.testing.assert_array_equal(served(KNOWN), np.zeros((101, 4)))
    assert served.error(KNOWN).max_relative == 0


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros([0], np.int64), "`ids` must be at least one"),
        ([1.0], "`ids` must be strings or integers. Received dtype float"),
        (None, "Received: None"),
    ],
)
def test_ids_that_cannot_be_materialized(ids: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().materialize(ids)


def test_ids_that_cannot_be_asked_for() -> None:
    served = make().materialize(KNOWN)
    with pytest.raises(ValueError, match="`ids` must be strings"):
        served(tf.constant([1.0]))
    with pytest.raises(ValueError, match="`ids` must be integers"):
        make().materialize([1, 2])(tf.constant([1.0]))
    with pytest.raises(ValueError, match="Received: None"):
        served(None)
    with pytest.raises(ValueError, match="is for inference"):
        served(MIXED, training=True)


@pytest.mark.parametrize("key_index", ["hash_table", "sorted"])
@pytest.mark.parametrize(
    ("ids", "others"), [(["1", "2"], [1, 2]), ([1, 2], ["1", "2"])]
)
def test_ids_of_another_type_than_those_with_rows(
    ids: list[Any], others: list[Any], key_index: str
) -> None:
    layer = make()
    served = layer.materialize(ids, key_index=key_index)
    kind = "strings" if isinstance(ids[0], str) else "integers"
    loaded = MaterializedEmbedding.from_config(served.get_config())
    for form in (served, copy.deepcopy(served), loaded):
        with pytest.raises(ValueError, match=f"`ids` must be {kind}, as the ids"):
            form(tf.constant(others))
        with pytest.raises(ValueError, match=f"`ids` must be {kind}, as the ids"):
            form.is_known(tf.ragged.constant([others, []]))
    expected = layer(tf.constant(ids), training=False)
    np.testing.assert_allclose(served(tf.constant(ids)), expected, atol=1e-6)
    # A configuration of before says nothing of it.
    old = {k: v for k, v in served.get_config().items() if k != "string_ids"}
    old_form = MaterializedEmbedding.from_config(old)
    assert not np.any(old_form.is_known(tf.constant(others)))


def test_ids_of_another_type_than_the_padding() -> None:
    with pytest.raises(ValueError, match="`ids` must be strings, as the `mask_value`"):
        make(mask_value="").materialize([1, 2])


def test_padding_beyond_the_type_of_the_ids() -> None:
    layer = DeepHashEmbedding(
        4, hidden_dim=8, num_hidden_layers=2, num_hashes=32, mask_value=1000
    )
    ids, side = np.array([1, 2, -24]), np.ones([3, 1], np.float32)
    expected = layer(ids, side, training=False)
    served = layer.materialize(ids[:2].astype(np.int8), side_features=side[:2])
    # 1000 in eight bits is -24, whose row would have the side features of padding.
    assert served.is_known([1, 2, -24, 1000]).numpy().tolist() == [1, 1, 0, 1]
    np.testing.assert_allclose(served(ids, side), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_side_features(dtype: str) -> None:
    layer = DeepHashEmbedding(4, hidden_dim=8)
    features = tf.random.stateless_normal([len(KNOWN), 2], seed=[1, 2])
    exact = layer(KNOWN, side_features=features, training=False).numpy()
    served = layer.materialize(KNOWN, dtype, side_features=features)
    step = largest(exact) / 127 / 2 if dtype == "int8" else 0
    # Known ids have their features in their rows; those of a call are not looked at.
    outputs = served(KNOWN, tf.zeros([len(KNOWN), 2]))
    assert np.all(np.abs(outputs - exact) <= step + 1e-6)
    expected = layer(UNKNOWN, side_features=features[:3], training=False)
    np.testing.assert_allclose(served(UNKNOWN, features[:3]), expected, atol=1e-6)
    assert served.error(KNOWN, side_features=features).max_absolute == pytest.approx(
        np.abs(outputs - exact).max(), abs=1e-6
    )


def test_padding_may_be_among_the_ids_with_side_features() -> None:
    layer = DeepHashEmbedding(
        4, hidden_dim=8, num_hidden_layers=2, num_hashes=32, mask_value=0
    )
    ids, side = tf.constant([0, 1, 2]), tf.constant([[1.0], [2.0], [3.0]])
    expected = layer(ids, side_features=side, training=False)
    served = layer.materialize(ids, side_features=side)
    assert served.num_rows == 3
    np.testing.assert_allclose(served(ids, side_features=side), expected, atol=1e-6)
    # Given or not, it has a row.
    assert layer.materialize(ids[1:], side_features=side[1:]).num_rows == 3


def test_side_features_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="0 numbers per id"):
        make().materialize(KNOWN)(MIXED, side_features=tf.ones([9, 2]))
    layer = DeepHashEmbedding(4, hidden_dim=8)
    with pytest.raises(ValueError, match="Train it, load it, or call it"):
        layer.materialize(KNOWN)
    layer(MIXED, side_features=tf.ones([9, 2]), training=False)
    with pytest.raises(ValueError, match="must be the 2 numbers per id"):
        layer.materialize(KNOWN)
    twice = np.concatenate([KNOWN, KNOWN[1:2]])
    features = np.arange(2 * len(twice), dtype=np.float32).reshape(-1, 2)
    with pytest.raises(ValueError, match="They differ for b'id-1'"):
        layer.materialize(twice, side_features=features)
    features[-1] = features[1]
    served = layer.materialize(twice, side_features=features)
    assert served.num_rows == len(KNOWN)
    with pytest.raises(ValueError, match="2 numbers per id"):
        served(MIXED)
    with pytest.raises(ValueError, match="`num_side_features` must be"):
        MaterializedEmbedding(layer.inference_form(), 3)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        make().materialize(KNOWN, "float16")
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        make().materialize(KNOWN, batch_size=0)
    with pytest.raises(ValueError, match="`key_index` must be one of"):
        make().materialize(KNOWN, key_index="trie")
    with pytest.raises(ValueError, match="`embedding` must be the inference form"):
        MaterializedEmbedding(make(), 3)
