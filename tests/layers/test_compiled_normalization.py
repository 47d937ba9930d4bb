"""Training that compiles itself: where it does, and that results stay the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.programs import saved_xla_functions, xla_functions
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import (
    EmbeddingNetwork,
    _compilation,
    _compiled_normalization,
)

WIDTH = 64
#: The smallest number of rows that is compiled.
LARGE = _compiled_normalization.MIN_SIZE // WIDTH
RNG = np.random.default_rng(0)
ROWS = RNG.normal(1, 2, [LARGE + 5, 8])
#: Padding, distinct ids, and some that occur twice or more.
WEIGHTS = RNG.integers(0, 4, LARGE + 5).astype(float)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """Sums in another order would hide a slight mistake in float32."""
    before = keras.backend.floatx()
    set_float_type("float64")
    yield
    set_float_type(before)


def set_float_type(dtype: str) -> None:
    keras.backend.set_floatx(dtype)
    # In Keras 3 a policy that was once set does not follow.
    keras.mixed_precision.set_global_policy(dtype)


def network_of(**arguments: Any) -> EmbeddingNetwork:
    keras.utils.set_random_seed(0)
    network = EmbeddingNetwork(3, WIDTH, num_hidden_layers=2, **arguments)
    network.build((None, 8))
    for weight in network.trainable_weights:
        weight.assign(weight + noise(weight.shape))
    return network


def noise(shape: Any) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(0, 0.1, shape)


def train(network: EmbeddingNetwork, rows: tf.Tensor, weights: Any) -> list[tf.Tensor]:
    """Outputs and all gradients of a call, and the statistics that it leaves."""
    with tf.GradientTape() as tape:
        tape.watch(rows)
        outputs = network(rows, training=True, row_weights=weights)
        loss = tf.reduce_sum(tf.sin(outputs))
    gradients = tape.gradient(loss, [rows, *network.trainable_weights])
    statistics = [tf.identity(x) for x in network.non_trainable_weights]
    return [outputs, *gradients, *statistics]


def traced(network: EmbeddingNetwork, num_rows: int | None, weights: Any) -> Any:
    return tf.function(
        lambda rows: train(network, rows, weights),
        input_signature=[tf.TensorSpec([num_rows, 8], tf.float64)],
    )


def op_by_op(function: Any, *arguments: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_compiled_normalization, "is_useful", lambda *_: False)
        return function(*arguments)


def assert_equal(actual: list[Any], expected: list[Any]) -> None:
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "order", ["normalize_then_activate", "activate_then_normalize"]
)
@pytest.mark.parametrize("activation", ["mish", "tanh"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_results_are_those_op_by_op(order: str, activation: str, weights: Any) -> None:
    arguments = {"order": order, "activation": activation}
    rows = tf.constant(ROWS)
    expected = op_by_op(train, network_of(**arguments), rows, weights)
    assert_equal(train(network_of(**arguments), rows, weights), expected)
    for num_rows in (len(ROWS), None):
        function = traced(network_of(**arguments), num_rows, weights)
        assert_equal(function(rows), expected)
    graph = function.get_concrete_function().graph.as_graph_def()
    assert xla_functions(graph) > 0


@pytest.mark.parametrize("normalization", [None, "layer"])
@pytest.mark.parametrize("training", [True, None])
def test_mish_without_statistics_is_compiled_too(
    normalization: str | None, training: bool | None
) -> None:
    def gradients(network: EmbeddingNetwork, rows: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            outputs = network(rows, training=training)
            loss = tf.reduce_sum(tf.sin(outputs))
        return [outputs, *tape.gradient(loss, [rows, *network.trainable_weights])]

    rows = tf.constant(ROWS)
    network = network_of(normalization=normalization)
    expected = op_by_op(gradients, network, rows)
    assert_equal(gradients(network, rows), expected)
    for num_rows in (len(ROWS), None):
        function = tf.function(
            lambda rows: gradients(network, rows),
            input_signature=[tf.TensorSpec([num_rows, 8], tf.float64)],
        )
        assert_equal(function(rows), expected)
        graph = function.get_concrete_function().graph.as_graph_def()
        assert xla_functions(graph) > 0


@pytest.mark.parametrize("frozen", [["0"], ["0", "1"]])
@pytest.mark.parametrize(
    "order", ["normalize_then_activate", "activate_then_normalize"]
)
def test_a_normalization_that_is_frozen_alone(order: str, frozen: list[str]) -> None:
    """As in fine-tuning: the Dense layers learn, statistics stay."""

    def frozen_network() -> EmbeddingNetwork:
        network = network_of(order=order)
        network(ROWS, training=True)
        for name in frozen:
            getattr(network, f"normalization_{name}").trainable = False
        return network

    rows = tf.constant(ROWS)
    expected = op_by_op(train, frozen_network(), rows, None)
    assert_equal(train(frozen_network(), rows, None), expected)
    assert_equal(traced(frozen_network(), None, None)(rows), expected)
    if len(frozen) == 2:
        assert_equal([frozen_network()(rows, training=False)], expected[:1])


@pytest.mark.parametrize("num_rows", [0, 1, 2, 37])
def test_few_rows_of_a_batch_of_any_size(num_rows: int) -> None:
    rows = tf.constant(ROWS[:num_rows])
    results = traced(network_of(), None, None)(rows)
    assert_equal(results, op_by_op(train, network_of(), rows, None))


def test_inside_of_a_compiled_step() -> None:
    network = network_of()
    step = tf.function(lambda rows: train(network, rows, WEIGHTS), jit_compile=True)
    rows = tf.constant(ROWS)
    assert_equal(step(rows), op_by_op(train, network_of(), rows, WEIGHTS))


@pytest.mark.parametrize("normalization", ["batch", None])
@pytest.mark.parametrize("in_graph", [False, True])
def test_second_derivative(in_graph: bool, normalization: str | None) -> None:
    def curvature(network: EmbeddingNetwork, rows: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as outer:
            outer.watch(rows)
            with tf.GradientTape() as inner:
                inner.watch(rows)
                loss = tf.reduce_sum(tf.sin(network(rows, training=True)))
            slope = inner.gradient(loss, rows)
            length = tf.reduce_sum(slope * slope)
        return outer.gradient(length, rows)

    rows = tf.constant(ROWS)
    network = network_of(normalization=normalization)
    expected = op_by_op(curvature, network, rows)
    function = tf.function(curvature) if in_graph else curvature
    assert_equal([function(network, rows)], [expected])


def test_replicas_accelerators_and_small_batches_are_not_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_useful = _compiled_normalization.is_useful
    assert is_useful(LARGE, WIDTH)
    assert is_useful(None, WIDTH)
    assert not is_useful(LARGE - 1, WIDTH)
    assert not is_useful(None, WIDTH - 1)
    monkeypatch.setattr(_compilation, "_has_accelerator", lambda: True)
    assert not is_useful(LARGE, WIDTH)


@pytest.mark.parametrize("normalization", ["batch", None])
@pytest.mark.parametrize("training", [False, None])
def test_inference_is_not_compiled(
    training: bool | None, normalization: str | None
) -> None:
    network = network_of(normalization=normalization)
    function = tf.function(lambda rows: network(rows, training=training))
    concrete = function.get_concrete_function(tf.TensorSpec([None, 8], tf.float64))
    assert xla_functions(concrete.graph.as_graph_def()) == 0


@pytest.mark.parametrize("normalization", ["batch", None])
def test_a_saved_model_holds_no_program(
    tmp_path: Path, normalization: str | None
) -> None:
    """Neither one that was trained before, nor the training functions Keras saves."""
    network = network_of(normalization=normalization)
    model = keras.Sequential([keras.Input((8,)), network])
    model.compile("sgd", "mse")
    model.fit(ROWS, np.zeros([len(ROWS), 3]), batch_size=len(ROWS), verbose=0)
    if is_legacy:
        model.save(tmp_path / "keras", save_format="tf")
    else:
        model.export(tmp_path / "keras", verbose=False)
    module = tf.Module()
    module.model = model
    module.train = tf.function(
        lambda rows: model(rows, training=True),
        input_signature=[tf.TensorSpec([None, 8], tf.float64)],
    )
    assert xla_functions(module.train.get_concrete_function().graph.as_graph_def()) > 0
    tf.saved_model.save(module, str(tmp_path / "module"))
    for name in ("keras", "module"):
        assert saved_xla_functions(tmp_path / name) == 0
