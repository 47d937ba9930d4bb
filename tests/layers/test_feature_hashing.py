"""Hashed bags of features against sums in NumPy and the theory of the hash."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import FeatureHashing

# The second row is empty, and the third has its columns in disorder.
INDICES = np.array([[0, 0], [0, 3], [0, 2**40], [2, 9], [2, 7], [3, 2**31]])
VALUES = np.float32([1.5, -2, 3, 0.25, 1, -1])
SPARSE = tf.SparseTensor(INDICES, VALUES, [5, 2**41])
WORDS = tf.ragged.constant([["to", "be", "or", "to"], [], ["not", "é" * 40]])
WEIGHTS = tf.ragged.constant([[1.0, 0.5, 2.0, 4.0], [], [-1.0, 3.0]])


GOLDEN = [(762, 1.0), (677, 1.0), (957, -1.0), (334, -1.0)]


def dense(sparse: tf.SparseTensor) -> np.ndarray:
    return np.asarray(tf.sparse.to_dense(sparse))


def expected_of(
    rows: Any, keys: Any, values: Any, num_rows: int, layer: FeatureHashing
) -> np.ndarray:
    """Sums one value after the other, in float64."""
    keys = tf.constant(keys, tf.int64)
    n, bins = layer.num_hashes, layer.num_bins
    columns = hashing.universal_hash(keys, n, bins, seed=layer.seed).numpy() - 1
    signs = np.ones([len(rows), n])
    if layer.signed:
        sign_seed = hashing.derive_seed(layer.seed, "sign")
        signs = 2.0 * hashing.universal_hash(keys, n, 2, seed=sign_seed).numpy() - 3
    result = np.zeros([num_rows, bins])
    for i, row in enumerate(rows):
        for column, sign in zip(columns[i], signs[i], strict=True):
            result[row, column] += sign * values[i] / np.sqrt(n)
    return result


LAYERS = [
    {"num_bins": 4},
    {"num_bins": 3, "signed": False},
    {"num_bins": 5, "num_hashes": 3, "seed": 7},
    {"num_bins": 2**31 - 1},
    {"num_bins": 2, "num_hashes": 40, "signed": False},
]
every_layer = pytest.mark.parametrize("arguments", LAYERS, ids=str)


@every_layer
def test_columns_of_a_sparse_tensor(arguments: dict[str, Any]) -> None:
    layer = FeatureHashing(**arguments)
    hashed = layer(SPARSE)
    assert hashed.dense_shape.numpy().tolist() == [5, layer.num_bins]
    assert hashed.values.dtype == tf.float32
    if layer.num_bins < 100:
        expected = expected_of(INDICES[:, 0], INDICES[:, 1], VALUES, 5, layer)
        np.testing.assert_allclose(dense(hashed), expected, rtol=1e-6, atol=1e-6)
    else:
        assert len(hashed.values) == 6
    # The order that all sparse ops of TensorFlow ask for, and nothing twice.
    places = [tuple(place) for place in hashed.indices.numpy()]
    assert places == sorted(set(places))


@every_layer
@pytest.mark.parametrize("weighted", [False, True])
def test_words(arguments: dict[str, Any], weighted: bool) -> None:
    arguments = {**arguments, "num_bins": min(arguments["num_bins"], 50)}
    layer = FeatureHashing(**arguments)
    keys = hashing.cityhash64(WORDS.values).numpy()
    values = WEIGHTS.values.numpy() if weighted else np.ones(6)
    rows = [0, 0, 0, 0, 2, 2]
    expected = expected_of(rows, keys, values, 3, layer)
    ragged = layer(WORDS, WEIGHTS if weighted else None)
    np.testing.assert_allclose(dense(ragged), expected, rtol=1e-6, atol=1e-6)
    sparse = layer(WORDS.to_sparse(), WEIGHTS.to_sparse() if weighted else None)
    np.testing.assert_array_equal(dense(sparse), dense(ragged))


def test_a_number_is_the_same_feature_wherever_it_stands() -> None:
    layer = FeatureHashing(1000)
    columns = layer(tf.SparseTensor([[0, 5], [1, 2**40]], [1, 1], [2, 2**41]))
    for dtype in (tf.int64, tf.uint64):
        ids = tf.RaggedTensor.from_row_lengths(tf.constant([5, 2**40], dtype), [1, 1])
        np.testing.assert_array_equal(dense(layer(ids)), dense(columns))


@pytest.mark.parametrize("num_hashes", [1, 4])
def test_products_are_kept_on_average(num_hashes: int) -> None:
    """Mean and variance over many sets of features, as the paper's lemma 2 has them.

    A feature that goes into c bins is c features of its weight over sqrt(c).
    """
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=[2, 6])
    bins, n = 4, 10_000
    # Vectors x and y over six features that no other pair of rows has.
    columns = np.arange(6 * n)
    rows = np.repeat(np.arange(n), 6)
    indices = np.stack([rows, columns], axis=1)
    layer = FeatureHashing(bins, num_hashes)
    hashed_x, hashed_y = (
        dense(layer(tf.SparseTensor(indices, np.float32(np.tile(v, n)), [n, 6 * n])))
        for v in (x, y)
    )
    products = np.sum(hashed_x.astype(np.float64) * hashed_y, axis=1)
    x, y = (np.repeat(v, num_hashes) / np.sqrt(num_hashes) for v in (x, y))
    cross = np.outer(x**2, y**2) + np.outer(x * y, x * y)
    variance = (cross.sum() - np.trace(cross)) / bins
    assert abs(np.mean(products) - x @ y) < 4 * np.sqrt(variance / n)
    fourth = np.mean((products - products.mean()) ** 4) / variance**2
    spread = np.sqrt((fourth - 1) / n)
    assert np.var(products) == pytest.approx(variance, rel=4 * spread)


def test_hashes_never_change() -> None:
    """Models are served with the hashes that they were trained with."""
    ids = tf.ragged.constant([[0, 1, 2, -1]], dtype=tf.int64)
    layer = FeatureHashing(1000, seed=3)
    hashed = [layer(ids[:, i : i + 1]) for i in range(4)]
    places = [
        (int(h.indices[0, 1].numpy()), float(h.values[0].numpy())) for h in hashed
    ]
    assert places == GOLDEN


def test_empty_rows_and_batches() -> None:
    layer = FeatureHashing(8)
    for rows in (0, 3):
        nothing = tf.SparseTensor(np.zeros([0, 2], np.int64), np.float32([]), [rows, 9])
        hashed = layer(nothing)
        assert hashed.dense_shape.numpy().tolist() == [rows, 8]
        assert hashed.indices.shape == [0, 2]
    empty = tf.RaggedTensor.from_row_splits(tf.constant([], tf.string), [0, 0, 0])
    assert dense(layer(empty)).tolist() == [[0] * 8] * 2


def test_graph_knows_the_width() -> None:
    layer = FeatureHashing(8)
    graph = tf.function(lambda inputs: layer(inputs))
    spec = tf.SparseTensorSpec([None, None], tf.float32)
    concrete = graph.get_concrete_function(spec)
    np.testing.assert_array_equal(dense(concrete(SPARSE)), dense(layer(SPARSE)))
    shapes = []

    @tf.function(input_signature=[spec])
    def look(inputs: tf.SparseTensor) -> tf.SparseTensor:
        hashed = layer(inputs)
        shapes.append(hashed.shape.as_list())
        return hashed

    look.get_concrete_function()
    assert shapes == [[None, 8]]
    assert tuple(layer.compute_output_shape((None, None))) == (None, 8)


def test_gradient_of_the_weights() -> None:
    layer = FeatureHashing(50, num_hashes=2)
    weights = tf.constant([1.0, 2.0, 3.0])
    words = tf.RaggedTensor.from_row_lengths(tf.constant(["a", "b", "c"]), [2, 1])
    with tf.GradientTape() as tape:
        tape.watch(weights)
        hashed = layer(words, words.with_values(weights))
        loss = tf.reduce_sum(hashed.values**2)
    # Six places of their own: each adds w^2 / 2.
    assert len(hashed.values) == 6
    np.testing.assert_allclose(tape.gradient(loss, weights), 2 * weights, rtol=1e-6)


MODELS = [
    (lambda: keras.Input((2**41,), sparse=True, name="x"), SPARSE),
    (lambda: keras.Input((4,), sparse=True, dtype="string"), WORDS.to_sparse()),
    (lambda: keras.Input((None,), ragged=True, dtype="string"), WORDS),
    (
        lambda: keras.Input((None,), ragged=True, dtype="int64"),
        tf.ragged.constant([[1, 2], [], [3]], dtype=tf.int64),
    ),
]
every_model = pytest.mark.parametrize(
    ("make_input", "inputs"), MODELS, ids=["columns", "sparse words", "words", "ids"]
)


def make_model(make_input: Any) -> Any:
    x = make_input()
    return keras.Model(x, keras.layers.Dense(3)(FeatureHashing(16, seed=2)(x)))


@every_model
def test_model_trains_and_is_saved(make_input: Any, inputs: Any, tmp_path: Any) -> None:
    model = make_model(make_input)
    assert model.output.shape[-1] == 3
    expected = dense(FeatureHashing(16, seed=2)(inputs)) @ np.asarray(
        model.layers[-1].kernel
    )
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-5, atol=1e-6)
    model.compile("sgd", "mse")
    target = tf.ones([tf.shape(expected)[0], 3])
    history = model.fit(
        tf.data.Dataset.from_tensors((inputs, target)), epochs=3, verbose=0
    )
    losses = history.history["loss"]
    assert losses[2] < losses[1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


@every_model
def test_exported_model(make_input: Any, inputs: Any, tmp_path: Any) -> None:
    model = make_model(make_input)
    module = tf.Module()
    module.variables_of_model = (
        model.variables if is_legacy else [v.value for v in model.variables]
    )
    spec = tf.type_spec_from_value(inputs)
    free = tf.TensorShape([None, inputs.shape[1]])
    if isinstance(inputs, tf.SparseTensor):
        spec = tf.SparseTensorSpec(free, inputs.dtype)
    else:
        spec = tf.RaggedTensorSpec(free, inputs.dtype)
    serve = tf.function(lambda features: {"y": model(features)})
    module.serve = serve
    serve.get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.serve(inputs)["y"], model(inputs), atol=1e-6)


def test_served_by_the_loader_of_tensorflow_1(tmp_path: Any) -> None:
    """As TF Serving does, from a signature of the parts of a sparse tensor."""
    model = make_model(MODELS[0][0])
    module = tf.Module()
    module.variables_of_model = (
        model.variables if is_legacy else [v.value for v in model.variables]
    )

    def serve(indices: Any, values: Any, shape: Any) -> dict[str, Any]:
        columns = tf.constant([2**41], tf.int64)
        shape = tf.concat([shape[:1], columns], axis=0)
        return {"y": model(tf.SparseTensor(indices, values, shape))}

    signature = tf.function(serve).get_concrete_function(
        tf.TensorSpec([None, 2], tf.int64, "indices"),
        tf.TensorSpec([None], tf.float32, "values"),
        tf.TensorSpec([2], tf.int64, "shape"),
    )
    tf.saved_model.save(module, str(tmp_path), signatures=signature)
    parts = {"indices": INDICES, "values": VALUES, "shape": SPARSE.dense_shape.numpy()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        serving = meta.signature_def["serving_default"]
        feed = {serving.inputs[name].name: part for name, part in parts.items()}
        served = session.run(serving.outputs["y"].name, feed)
    np.testing.assert_allclose(served, model(SPARSE), atol=1e-6)


@pytest.mark.parametrize(
    # Rounding to 8 and 11 bits, of the input and of the sum.
    ("policy", "dtype", "tolerance"),
    [("mixed_bfloat16", tf.bfloat16, 2**-6), ("mixed_float16", tf.float16, 2**-9)],
)
def test_mixed_precision(policy: str, dtype: tf.DType, tolerance: float) -> None:
    exact = dense(FeatureHashing(4)(SPARSE))
    hashed = FeatureHashing(4, dtype=policy)(SPARSE)
    assert hashed.values.dtype == dtype
    rounded = dense(tf.cast(hashed, tf.float32))
    np.testing.assert_allclose(rounded, exact, rtol=0, atol=tolerance * 6)


def test_config_and_weights_as_arguments_of_a_model() -> None:
    layer = FeatureHashing(16, num_hashes=2, signed=False, seed=5, name="hash")
    config = layer.get_config()
    assert {
        name: config[name] for name in ("num_bins", "num_hashes", "signed", "seed")
    } == {"num_bins": 16, "num_hashes": 2, "signed": False, "seed": 5}
    copy = FeatureHashing.from_config(config)
    words = keras.Input((None,), ragged=True, dtype="string")
    weights = keras.Input((None,), ragged=True)
    hashed = copy(words, weights)
    assert tuple(hashed.shape) == (None, 16)
    model = keras.Model([words, weights], keras.layers.Dense(2)(hashed))
    kernel = np.asarray(model.layers[-1].kernel)
    np.testing.assert_allclose(
        model([WORDS, WEIGHTS]),
        dense(layer(WORDS, WEIGHTS)) @ kernel,
        rtol=1e-5,
        atol=1e-6,
    )
    assert not layer.supports_jit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 1}, r"`num_bins` must be an integer from 2 to 2\*\*31 - 1.*: 1"),
        ({"num_bins": 2**31}, "`num_bins` must be an integer"),
        ({"num_bins": 8.0}, "`num_bins` must be an integer"),
        ({"num_bins": 8, "num_hashes": 0}, "`num_hashes` must be a positive integer"),
        ({"num_bins": 8, "seed": None}, "`seed` must be an integer"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureHashing(**arguments)


@pytest.mark.parametrize(
    ("inputs", "weights", "message"),
    [
        (tf.zeros([2, 3]), None, "must be a tf.SparseTensor or a.*from_dense"),
        (tf.constant([["a", ""]]), None, "must be a tf.SparseTensor.*padding"),
        (SPARSE, SPARSE, "`weights` are for strings and ragged features"),
        (WORDS, WEIGHTS.to_sparse(), "`weights` must be a RaggedTensor"),
        (WORDS.to_sparse(), WEIGHTS, "`weights` must be a SparseTensor"),
        (tf.ragged.constant([[[1]], []]), None, r"must be of rank 2"),
        (tf.SparseTensor([[0]], [1.0], [3]), None, r"rank 2.*shape \(3,\)"),
        (tf.ragged.constant([[1.0]]), None, "`ids` must be integers.*float32"),
    ],
)
def test_bad_input(inputs: Any, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        FeatureHashing(8)(inputs, weights)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers(bad: float) -> None:
    sparse = tf.SparseTensor([[0, 1]], [np.float32(bad)], [1, 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="weights of a FeatureHas"):
        FeatureHashing(8)(sparse)


def test_weights_in_other_places() -> None:
    other = tf.ragged.constant([[1.0], [0.5, 2.0, 4.0], [-1.0, 3.0]])
    words = tf.ragged.constant([["a", "b", "c"], ["d"], ["e", "f"]])
    graph = tf.function(lambda words, weights: FeatureHashing(8)(words, weights).values)
    for layer in (FeatureHashing(8), graph):
        for x, w in ((words, other), (words.to_sparse(), other.to_sparse())):
            with pytest.raises(tf.errors.InvalidArgumentError, match="must be placed"):
                layer(x, w)
