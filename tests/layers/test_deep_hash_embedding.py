"""What is particular to DeepHashEmbedding; the rest is in test_every_layer."""

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import (
    BloomEmbedding,
    DeepHashEmbedding,
    DeepHashEmbeddingCollection,
    DenseHashEncoding,
    EmbeddingNetwork,
)


def make(**options: Any) -> DeepHashEmbedding:
    defaults = {"hidden_dim": 8, "num_hidden_layers": 2, "num_hashes": 32}
    return DeepHashEmbedding(4, **{**defaults, **options})


def test_is_hash_then_encoding_then_network() -> None:
    ids = tf.constant(["a", "b" * 99, ""])
    layer = make(seed=5)
    outputs = layer(ids, training=False)
    encoding = DenseHashEncoding(32, seed=5)(hashing.cityhash64(ids))
    np.testing.assert_array_equal(outputs, layer.network(encoding, training=False))


def test_every_id_has_an_embedding_of_its_own() -> None:
    ids = tf.strings.as_string(tf.range(5000))
    embeddings = make()(ids, training=False).numpy()
    assert len(np.unique(embeddings, axis=0)) == 5000


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_integer_width_does_not_matter(dtype: type) -> None:
    layer = make()
    expected = layer(np.array([0, 7, -1], np.int64), training=False)
    actual = layer(np.array([0, 7, -1], dtype), training=False)
    np.testing.assert_array_equal(actual, expected)


def test_uint64_keeps_its_bits() -> None:
    layer = make()
    np.testing.assert_array_equal(
        layer(np.array([2**64 - 1, 2**63], np.uint64), training=False),
        layer(np.array([-1, -(2**63)], np.int64), training=False),
    )


@pytest.mark.parametrize("shape", [(), (5,), (5, 1), (2, 3, 4), (0, 3)])
def test_any_rank(shape: tuple[int, ...]) -> None:
    ids = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    layer = make()
    outputs = layer(ids, training=False)
    assert outputs.shape == (*shape, 4)
    flat = layer(ids.reshape(-1), training=False)
    np.testing.assert_array_equal(np.reshape(outputs, [-1, 4]), flat)


def test_unknown_shape_in_a_graph() -> None:
    layer = make()
    layer(tf.constant([1]), training=False)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64)])
    def embed(ids: tf.Tensor) -> tf.Tensor:
        return layer(ids, training=False)

    ids = tf.reshape(tf.range(6, dtype=tf.int64), [2, 3])
    np.testing.assert_allclose(embed(ids), layer(ids, training=False), atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_ragged_is_the_flat_values(training: bool) -> None:
    ids = tf.ragged.constant([["a", "b"], [], ["c"]])
    ragged, flat = make(), make()
    ragged(ids, training=False)
    flat(ids.flat_values, training=False)
    flat.set_weights(ragged.get_weights())
    outputs = ragged(ids, training=training)
    assert outputs.row_lengths().numpy().tolist() == [2, 0, 1]
    np.testing.assert_array_equal(
        outputs.flat_values, flat(ids.flat_values, training=training)
    )


def test_ragged_side_features() -> None:
    ids = tf.ragged.constant([["a", "b"], ["c"]])
    side = tf.RaggedTensor.from_row_splits(tf.ones([3, 5]), ids.row_splits)
    layer = make()
    outputs = layer(ids, side_features=side, training=False)
    flat = layer(ids.flat_values, side_features=tf.ones([3, 5]), training=False)
    np.testing.assert_array_equal(outputs.flat_values, flat)
    wrong = tf.RaggedTensor.from_row_splits(tf.ones([3, 5]), [0, 1, 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="different row lengths"):
        layer(ids, side_features=wrong, training=False)
    with pytest.raises(ValueError, match="both be dense, or both ragged"):
        layer(ids, side_features=tf.ones([3, 5]), training=False)


@pytest.mark.parametrize(
    ("padded", "unpadded", "mask_value"),
    [
        (np.array([["a", "b", ""], ["c", "", ""]]), np.array(["a", "b", "c"]), ""),
        (np.array([[1, 2, 0], [3, 0, 0]]), np.array([1, 2, 3]), 0),
    ],
)
def test_padding_does_not_count_in_the_statistics(
    padded: np.ndarray, unpadded: np.ndarray, mask_value: Any
) -> None:
    masked, reference = make(mask_value=mask_value), make()
    masked(padded, training=False)
    reference(unpadded, training=False)
    reference.set_weights(masked.get_weights())
    outputs = masked(padded, training=True).numpy()
    expected = reference(unpadded, training=True)
    is_id = padded != mask_value
    np.testing.assert_allclose(outputs[is_id], expected, rtol=0, atol=1e-5)
    for actual, wanted in zip(
        masked.get_weights(), reference.get_weights(), strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-6)
    # Without the mask the statistics are others, so the check above can fail.
    plain = make()
    plain(padded, training=False)
    plain.set_weights(masked.get_weights())
    plain(padded, training=True)
    assert any(
        np.abs(a - b).max() > 1e-4
        for a, b in zip(plain.get_weights(), masked.get_weights(), strict=True)
    )


def test_explicit_mask_does_what_a_mask_value_does() -> None:
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    by_value, by_mask = make(mask_value=0), make()
    by_value(ids, training=False)
    by_mask(ids, training=False)
    by_mask.set_weights(by_value.get_weights())
    np.testing.assert_array_equal(
        by_mask(ids, mask=ids != 0, training=True), by_value(ids, training=True)
    )


def test_padding_in_ragged_ids() -> None:
    ids = tf.ragged.constant([["a", "b", ""], ["c"]])
    masked, reference = make(mask_value=""), make()
    masked(ids, training=False)
    reference(ids, training=False)
    reference.set_weights(masked.get_weights())
    outputs = masked(ids, training=True).flat_values
    expected = reference(tf.constant(["a", "b", "c"]), training=True)
    np.testing.assert_allclose(
        tf.gather(outputs, [0, 1, 3]), expected, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        (np.array([[1, 2]]), np.array([True])),
        (np.array([[1, 2]]), np.array([[True, True, False]])),
        (tf.ragged.constant([[1, 2], [3]]), np.array([[True, True], [True, False]])),
    ],
)
def test_mask_of_another_shape(ids: Any, mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="`mask` must have the shape of the ids"):
        make()(ids, mask=mask, training=False)


def test_numpy_arguments_are_saved_as_numbers() -> None:
    layer = DeepHashEmbedding(
        np.int64(4),
        parameter_budget=np.float32(0.5),
        table_shape=np.array([5000, 4]),
        num_hashes=np.int32(32),
        seed=np.uint64(2**63),
    )
    config = json.loads(json.dumps(layer.get_config()))
    copy = DeepHashEmbedding.from_config(config)
    for each in (layer, copy):
        each(tf.constant([1]), training=False)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(
        copy(tf.constant([1, 2]), training=False),
        layer(tf.constant([1, 2]), training=False),
    )


def test_mask_reaches_the_next_layer() -> None:
    model = keras.Sequential(
        [
            keras.Input(shape=(None,), dtype="string"),
            make(mask_value=""),
            keras.layers.GlobalAveragePooling1D(),
        ]
    )
    padded = model(tf.constant([["a", "b", "", ""]]))
    np.testing.assert_allclose(padded, model(tf.constant([["a", "b"]])), atol=1e-6)


def test_deduplicate_gives_outputs_gradients_and_statistics_of_the_batch() -> None:
    ids = tf.constant(["a", "b", "a", "a", "c", "b"])
    whole, once = make(), make(deduplicate=True)
    whole(ids, training=False)
    once(ids, training=False)
    once.set_weights(whole.get_weights())
    direction = tf.constant(np.random.default_rng(0).normal(size=[6, 4]), tf.float32)
    results = []
    for layer in (whole, once):
        with tf.GradientTape() as tape:
            outputs = layer(ids, training=True)
            loss = tf.reduce_sum(outputs * outputs * direction)
        gradients = tape.gradient(loss, layer.trainable_weights)
        results.append([outputs, *gradients, *layer.get_weights()])
    for actual, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_deduplicate_and_padding() -> None:
    # Sixteen different ids, so that no unit's variance is so small that it magnifies
    # rounding.
    names = np.array([f"id_{i % 16}" for i in range(38)])
    ids = np.where(np.arange(40) % 10 == 9, "", np.resize(names, 40)).reshape(8, 5)
    whole, once = make(mask_value=""), make(mask_value="", deduplicate=True)
    whole(ids, training=False)
    once(ids, training=False)
    once.set_weights(whole.get_weights())
    is_id = ids != ""  # what stands at padding has no meaning, and may be large
    np.testing.assert_allclose(
        once(ids, training=True).numpy()[is_id],
        whole(ids, training=True).numpy()[is_id],
        rtol=0,
        atol=1e-5,
    )
    for actual, expected in zip(once.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_side_features_are_concatenated_to_the_encoding() -> None:
    ids = tf.constant([3, 4])
    side = {"b": tf.constant([[1], [0]]), "a": tf.constant([[0.5, 2.0], [0.0, 1.0]])}
    layer = make()
    outputs = layer(ids, side_features=side, training=False)
    encoding = DenseHashEncoding(32)(ids)
    together = tf.concat([encoding, [[0.5, 2.0, 1.0], [0.0, 1.0, 0.0]]], axis=-1)
    np.testing.assert_array_equal(outputs, layer.network(together, training=False))


BUDGETS = [
    ({"parameter_budget": budget}, budget) for budget in (5_000, 20_000, 250_000)
] + [({"parameter_budget": 0.25, "table_shape": (20_000, 32)}, 160_000)]


@pytest.mark.parametrize(("arguments", "budget"), BUDGETS)
@pytest.mark.parametrize("num_hidden_layers", [1, 2, 5])
@pytest.mark.parametrize("normalization", ["batch", "layer", None])
@pytest.mark.parametrize(
    "order", ["normalize_then_activate", "activate_then_normalize"]
)
def test_budget_is_used_and_kept(
    arguments: dict[str, Any],
    budget: int,
    num_hidden_layers: int,
    normalization: str | None,
    order: str,
) -> None:
    layer = DeepHashEmbedding(
        32,
        num_hidden_layers=num_hidden_layers,
        # One layer of 4 or 5 units would be the choice: nothing near 5,000.
        num_hashes=64 if budget == 5_000 else 1024,
        normalization=normalization,
        order=order,
        **arguments,
    )
    layer(tf.constant([1]), side_features=tf.ones([1, 7]), training=False)
    assert 0.95 * budget <= layer.count_params() <= budget


def test_impossible_budgets() -> None:
    with pytest.raises(ValueError, match=r"smallest network .* has 1\d{3} param"):
        DeepHashEmbedding(8, parameter_budget=1000)(tf.constant([1]))
    # 3 u + 64 (u + 1) parameters with u units: 131 with one and 198 with two.
    with pytest.raises(ValueError, match=r"nearest sizes are 131 and 198"):
        EmbeddingNetwork(
            64, num_hidden_layers=1, normalization=None, parameter_budget=180
        )(tf.ones([1, 2]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_dim": None}, "either by `hidden_dim` or by `parameter_budget`"),
        ({"parameter_budget": 9999}, "either by `hidden_dim` or by"),
        ({"hidden_dim": 0}, "`hidden_dim` must be a positive integer"),
        ({"hidden_dim": (8, 8, 8)}, "width for each of the `num_hidden_layers`=2"),
        ({"hidden_dim": None, "parameter_budget": 0.5}, "`parameter_budget` must be a"),
        (
            {"hidden_dim": None, "parameter_budget": 2, "table_shape": (10, 4)},
            "share of the table's",
        ),
        (
            {"hidden_dim": None, "parameter_budget": 0.5, "table_shape": (10,)},
            "`table_shape` must be the rows and columns",
        ),
        ({"table_shape": (10, 4)}, "`table_shape` says what"),
        ({"num_hidden_layers": 0}, "`num_hidden_layers` must be a positive"),
        ({"num_hashes": 33, "distribution": "gaussian"}, "`num_hashes` must be even"),
        ({"num_hashes": 0}, "`num_hashes` must be a positive"),
        ({"num_buckets": 1}, "`num_buckets` must be an integer from 2"),
        ({"num_buckets": 2**31}, "`num_buckets` must be an integer from 2"),
        ({"distribution": "normal"}, "`distribution` must be one of"),
        ({"hash_family": "md5"}, "`hash_family` must be one of"),
        ({"normalization": "group"}, "`normalization` must be one of"),
        ({"order": "first"}, "`order` must be one of"),
        ({"seed": -1}, "`seed` must be an integer"),
        ({"seed": None}, "`seed` must be an integer"),
        ({"mask_value": 1.5}, "`mask_value` must be the string or integer"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (tf.constant([1.0, 2.0]), "`ids` must be integers. Received dtype float32"),
        (np.array([1.5]), "`ids` must be integers. Received dtype float"),
        (tf.constant([True]), "`ids` must be integers. Received dtype bool"),
        (None, "`ids`.*Received: None"),
    ],
)
def test_bad_ids(ids: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(ids)


def test_bad_mask_value_for_the_ids() -> None:
    with pytest.raises(ValueError, match="`mask_value` must be of the type of the ids"):
        make(mask_value="")(tf.constant([1]))


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (tf.ones([2]), r"one dimension more, \(2, None\). Received shape \(2,\)"),
        (tf.ones([3, 4]), r"Received shape \(3, 4\)"),
        (tf.ones([2, 1, 4]), r"Received shape \(2, 1, 4\)"),
        (tf.constant([["a"], ["b"]]), "must be numbers. Received dtype string"),
        ({}, "must not be empty"),
        ({"age": tf.ones([2])}, r"`side_features\['age'\]` must have the shape"),
        ({"age": None}, r"`side_features\['age'\]` is None"),
    ],
)
def test_bad_side_features(side: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(tf.constant([1, 2]), side_features=side)


def test_sparse_ids() -> None:
    with pytest.raises(ValueError, match=r"`tf\.RaggedTensor\.from_sparse` makes"):
        make()(tf.SparseTensor([[0, 0]], [1], [1, 1]), training=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("in_graph", [False, True])
def test_side_features_that_are_not_finite(value: float, in_graph: bool) -> None:
    layer = make()
    ids = tf.constant([1, 2])
    layer(ids, side_features=tf.ones([2, 2]), training=False)

    def call(side: tf.Tensor) -> tf.Tensor:
        return layer(ids, side_features=side, training=False)

    call = tf.function(call) if in_graph else call
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="`side_features` must be finite"
    ):
        call(tf.constant([[1.0, value], [0.0, 0.0]]))


@pytest.mark.parametrize("side", [[[1e5], [1.0]], [[100_000], [1]]])
def test_side_features_beyond_the_compute_dtype(side: Any) -> None:
    """The largest number of float16 is 65,504; Keras 3 casts floats before the call."""
    layer = make(dtype="mixed_float16")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="must be finite numbers in float16"
    ):
        layer(tf.constant([1, 2]), side_features=tf.constant(side), training=False)


def test_side_features_of_another_width_than_built_with() -> None:
    layer = make()
    ids = tf.constant([1, 2])
    layer(ids, side_features=tf.ones([2, 3]), training=False)
    for side, width in ((tf.ones([2, 4]), 4), (None, 0)):
        with pytest.raises(ValueError, match=f"Expected: 3 .*Received: {width}"):
            layer(ids, side_features=side, training=False)


def test_deduplicate_refuses_side_features() -> None:
    with pytest.raises(ValueError, match="`deduplicate`"):
        make(deduplicate=True)(tf.constant([1]), side_features=tf.ones([1, 2]))


def test_float_input_of_a_functional_model() -> None:
    with pytest.raises(ValueError, match="`ids` must be"):
        make()(keras.Input(shape=()))


def test_loaded_layer_checks_side_features(tmp_path: Any) -> None:
    ids = keras.Input(shape=(), dtype="int64")
    side = keras.Input(shape=(3,))
    model = keras.Model([ids, side], make(name="dhe")(ids, side_features=side))
    model.save(tmp_path / "m.keras")
    layer = keras.models.load_model(tmp_path / "m.keras").get_layer("dhe")
    with pytest.raises(ValueError, match="Expected: 3"):
        layer(tf.constant([1]), training=False)


def test_different_seeds_are_different_functions() -> None:
    ids = np.arange(100)
    a, b = (DenseHashEncoding(64, seed=seed)(ids).numpy() for seed in (0, 1))
    # Correlation of independent encodings: standard deviation 1 / sqrt(6400).
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(6400)


def test_unknown_width_of_an_encoding() -> None:
    with pytest.raises(ValueError, match="of EmbeddingNetwork must be known"):
        EmbeddingNetwork(4, 8).build((None, None))


def of_bloom(**options: Any) -> DeepHashEmbedding:
    encoding = BloomEmbedding(6, num_buckets=50)
    return DeepHashEmbedding(
        4, 8, num_hidden_layers=2, encoding=encoding, **{"name": "dhe", **options}
    )


def test_an_encoding_takes_the_place_of_the_hashes() -> None:
    ids = tf.constant(["a", "b" * 99, ""])
    layer = of_bloom()
    side = tf.ones([3, 2])
    outputs = layer(ids, side_features=side, training=False)
    encoding = layer.encoding(hashing.cityhash64(ids))
    inputs = tf.concat([encoding, side], axis=1)
    np.testing.assert_array_equal(outputs, layer.network(inputs, training=False))
    assert layer.encoding_dim == 6
    assert layer.count_params() == 50 * 6 + layer.network.count_params()


def test_an_encoding_learns() -> None:
    layer = of_bloom()
    optimizer = keras.optimizers.SGD(0.1)
    ids = tf.constant(["a", "b", "c"])
    layer(ids, training=False)
    before = layer.encoding.get_weights()[0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(ids, training=True) ** 3)
    weights = layer.trainable_weights
    gradients = tape.gradient(loss, weights)
    optimizer.apply_gradients(zip(gradients, weights, strict=True))
    changed = np.any(layer.encoding.get_weights()[0] != before, axis=1)
    buckets = hashing.universal_hash(hashing.cityhash64(ids), 4, 50) - 1
    assert set(np.flatnonzero(changed)) == set(buckets.numpy().ravel())


def test_an_encoding_is_saved_and_materialized(tmp_path: Any) -> None:
    ids = tf.constant(["a", "b", "c"])
    layer = of_bloom()
    layer(ids, training=True)
    expected = layer(ids, training=False)
    model = keras.Sequential([keras.Input((), dtype="string"), layer])
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras").get_layer("dhe")
    np.testing.assert_array_equal(loaded(ids, training=False), expected)
    served = loaded.materialize(ids[:2])
    np.testing.assert_allclose(served(ids), expected, atol=1e-6)
    path = tmp_path / "served.keras"
    keras.Sequential([keras.Input((), dtype="string"), served]).save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(again(ids), served(ids))


def test_encodings_that_are_refused() -> None:
    with pytest.raises(ValueError, match="`encoding` must be a Keras layer"):
        DeepHashEmbedding(4, 8, encoding="bloom")
    with pytest.raises(ValueError, match="`seed` is an argument of the hashes"):
        of_bloom(seed=1)
    with pytest.raises(ValueError, match="`encoding` would be one layer for all"):
        DeepHashEmbeddingCollection(["a"], 4, encoding=BloomEmbedding(4, 50))
