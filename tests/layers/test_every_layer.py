"""One list of checks for every layer, in every form, under either Keras."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.cases import CASES, LayerCase
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import MaterializedEmbedding
from tfrs_dhe.serving._resources import resources_of
from tfrs_dhe.serving._walk import walk


def cases(of: Callable[[LayerCase], bool] = lambda case: True) -> Any:
    chosen = [pytest.param(case, id=case.name) for case in CASES if of(case)]
    return pytest.mark.parametrize("case", chosen)


def may_compile(case: LayerCase) -> bool:
    """XLA has no strings, no hash tables and no shares; an identity is no program."""
    return not case.has_strings and not case.name.startswith(
        ("city_hash", "dedicated", "materialized", "vocabulary", "compositional")
    )


def learns_compiled(case: LayerCase) -> bool:
    rows = ("double_hash", "hash_embedding", "mach_head")
    return may_compile(case) and (case.takes_training or case.name.startswith(rows))


#: Parts of names that say of which kind the ids are.
KINDS = {"strings", "integers", "lists", "of", "int32", "uint64", "matrix", "rank3"}


def form(case: LayerCase) -> tuple[str, ...]:
    return tuple(part for part in case.name.split("-") if part not in KINDS)


FIRST_OF_FORM = {form(case): case for case in reversed(CASES)}

every_case = cases()
every_form = cases(lambda case: FIRST_OF_FORM[form(case)] is case)
every_float_case = cases(lambda case: case.output_dtype == "float32")
every_xla_case = cases(may_compile)
every_learning_xla_case = cases(learns_compiled)
every_trainable_case = cases(lambda case: case.takes_training)


def numpy(outputs: Any) -> Any:
    return tf.nest.map_structure(lambda x: np.asarray(x), outputs)


def assert_same(actual: Any, expected: Any) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, numpy(actual), numpy(expected))


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """Asserts that errors are below a share of the largest number of the output.

    Integers, and floats with a tolerance of 0, have to be equal.

    Sums round in proportion to their largest terms. Padding, which is left out of
    batch statistics, can be normalized to large numbers beside small ones.
    """

    def check(a: np.ndarray, b: np.ndarray) -> None:
        if b.dtype.kind in "iu" or tolerance == 0:
            np.testing.assert_array_equal(a, b)  # float64 holds no 64-bit integer
            return
        a, b = a.astype(np.float64), b.astype(np.float64)
        scale = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)

    tf.nest.map_structure(check, numpy(actual), numpy(expected))


def tensors(case: LayerCase) -> dict[str, tf.Tensor]:
    return {name: tf.constant(array) for name, array in case.model_inputs().items()}


def signature(case: LayerCase) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec([None, *x.shape[1:]], x.dtype, name=name)
        for name, x in tensors(case).items()
    }


def train_once(case: LayerCase, layer: Any) -> None:
    """Moves all weights off their initial values, statistics too."""
    case.call(layer, training=True)
    for i, weight in enumerate(layer.trainable_weights):
        weight.assign(weight + 0.01 * (i + 1))


@functools.cache
def trained_model(case: LayerCase) -> Any:
    """The one model of a case that all tests save, and none changes."""
    layer = case.make()
    train_once(case, layer)
    return case.functional_model(layer)


class Subclassed(keras.Model):
    """As users write models: a layer in the constructor, `training` passed on."""

    def __init__(self, case: LayerCase) -> None:
        super().__init__()
        self.case = case
        self.layer = case.make()

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        inputs = dict(inputs)
        side_features = inputs.pop("side", None)
        if not self.case.is_dict:
            inputs = inputs["ids"]
        return self.case.call_on(self.layer, inputs, side_features, training)


def subclassed_model(case: LayerCase) -> Subclassed:
    model = Subclassed(case)
    model(tensors(case))  # Makes the weights.
    return model


@functools.cache
def trained_subclassed_model(case: LayerCase) -> Subclassed:
    """As `trained_model`."""
    model = subclassed_model(case)
    train_once(case, model.layer)
    return model


@every_case
def test_output_has_the_announced_shape_and_dtype(case: LayerCase) -> None:
    layer = case.make()
    outputs = case.call(layer)
    tf.nest.map_structure(lambda x: _assert_dtype(x, case.output_dtype), outputs)
    shapes = (
        {name: tuple(x.shape) for name, x in outputs.items()}
        if case.is_dict
        else tuple(outputs.shape)
    )
    assert shapes == case.output_shape
    input_shape = (
        {name: x.shape for name, x in case.inputs.items()}
        if case.is_dict
        else case.inputs.shape
    )
    announced = layer.compute_output_shape(input_shape)
    if not case.is_dict:
        announced = tuple(announced)
    assert announced == case.output_shape


def _assert_dtype(x: tf.Tensor, dtype: str) -> None:
    assert x.dtype.name == dtype


@every_case
def test_symbolic_output_has_the_shape_and_dtype(case: LayerCase) -> None:
    model = case.functional_model(case.make())
    outputs = model.output if isinstance(model.output, dict) else {"": model.output}
    shapes = case.output_shape if case.is_dict else {"": case.output_shape}
    for name, output in outputs.items():
        assert tuple(output.shape) == (None, *shapes[name][1:])
        assert tf.as_dtype(output.dtype).name == case.output_dtype


@every_case
@pytest.mark.parametrize("training", [False, True])
def test_graph_computes_what_eager_does(case: LayerCase, training: bool) -> None:
    layer = case.make()
    train_once(case, layer)
    start = layer.get_weights()
    eager = case.call(layer, training=training)
    moved = layer.get_weights()
    layer.set_weights(start)
    graph = tf.function(lambda: case.call(layer, training=training))()
    # The same kernels, but grappler reorders sums.
    assert_close(graph, eager, 1e-5)
    for actual, expected in zip(layer.get_weights(), moved, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


@every_xla_case
def test_xla_computes_what_eager_does(case: LayerCase) -> None:
    layer = case.make()
    train_once(case, layer)
    compiled = tf.function(
        lambda inputs, side: case.call_on(layer, inputs, side, False),
        jit_compile=True,
    )
    # Float32 products are summed in another order.
    assert_close(compiled(case.inputs, case.side_features), case.call(layer), 2e-5)


@every_learning_xla_case
def test_xla_takes_the_training_step_of_eager(case: LayerCase) -> None:
    """Gradients of all weights, and the statistics that normalization moves."""
    # Rounding is then far below every difference that matters.
    layer = case.make(dtype="float64")
    train_once(case, layer)
    start = layer.get_weights()

    def step(inputs: Any, side_features: Any) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = case.call_on(layer, inputs, side_features, True)
            loss = tf.add_n([tf.reduce_sum(x * x) for x in tf.nest.flatten(outputs)])
        gradients = tape.gradient(loss, layer.trainable_weights)
        return [tf.convert_to_tensor(gradient) for gradient in gradients]

    expected = step(case.inputs, case.side_features)
    moved = layer.get_weights()
    layer.set_weights(start)
    compiled = tf.function(step, jit_compile=True)
    # Gaussian values are made in float32, by other instructions under XLA.
    tolerance = 2e-5 if "gaussian" in case.name else 1e-9
    assert_close(compiled(case.inputs, case.side_features), expected, tolerance)
    assert_close(layer.get_weights(), moved, tolerance)


@every_case
def test_keras_3_may_compile_what_has_no_strings(case: LayerCase) -> None:
    """Keras 3 turns XLA on by itself if no layer says that it does not support it."""
    layer = case.make()
    case.functional_model(layer)
    parts = [layer, *layer._flatten_layers()]
    supports_jit = all(getattr(part, "supports_jit", True) for part in parts)
    assert supports_jit == may_compile(case)


def copy_state(source: Any, target: Any) -> None:
    """Copies weights, and rows, which are none."""
    target.set_weights(source.get_weights())
    if isinstance(source, MaterializedEmbedding):
        stored: dict[str, np.ndarray] = {}
        source.save_own_variables(stored)
        target.load_own_variables(stored)


@every_case
def test_config_makes_an_equal_layer(case: LayerCase) -> None:
    layer = case.make()
    train_once(case, layer)
    copy = type(layer).from_config(layer.get_config())
    case.call(copy)
    copy_state(layer, copy)
    assert_same(case.call(copy), case.call(layer))


@every_case
def test_keras_file_round_trip(case: LayerCase, tmp_path: Any) -> None:
    model = trained_model(case)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(loaded(tensors(case)), model(tensors(case)))


@every_case
def test_weights_file_round_trip(case: LayerCase, tmp_path: Any) -> None:
    model = trained_model(case)
    model.save_weights(tmp_path / "model.weights.h5")
    other = case.functional_model(case.make())
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same(other(tensors(case)), model(tensors(case)))


@every_case
def test_weights_file_round_trip_of_a_subclassed_model(
    case: LayerCase, tmp_path: Any
) -> None:
    model, other = trained_subclassed_model(case), subclassed_model(case)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same(other(tensors(case)), model(tensors(case)))


@every_case
def test_checkpoint_round_trip(case: LayerCase, tmp_path: Any) -> None:
    model, other = trained_subclassed_model(case), subclassed_model(case)
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    assert_same(other(tensors(case)), model(tensors(case)))


@every_case
def test_exported_model_computes_the_same(case: LayerCase, tmp_path: Any) -> None:
    model = trained_model(case)
    path = str(tmp_path / "export")

    serve = tf.function(
        lambda **inputs: as_dict(model(inputs, training=False)),
    ).get_concrete_function(**signature(case))
    module = tf.Module()
    # Restoring fills raw variables; a Keras 3 model's own would stay unfilled.
    parts = [part for _, part in walk(model)]
    module.resources = resources_of({"serve": serve}, parts)
    tf.saved_model.save(module, path, signatures=serve)

    loaded = tf.saved_model.load(path).signatures["serving_default"]
    expected = as_dict(model(tensors(case), training=False))
    # A network's sums may be taken in another order; hashes are the same bits.
    tolerance = 1e-6 if case.has_network else 0
    assert_close(loaded(**tensors(case)), expected, tolerance)
    assert_close(run_in_session(path, case), expected, tolerance)


if is_legacy:  # Keras 3 has no such formats

    @every_case
    def test_h5_file_round_trip(case: LayerCase, tmp_path: Any) -> None:
        model = trained_model(case)
        model.save_weights(tmp_path / "weights.h5", save_format="h5")
        other = case.functional_model(case.make())
        other.load_weights(tmp_path / "weights.h5")
        for loaded, saved in zip(other.weights, model.weights, strict=True):
            np.testing.assert_array_equal(loaded, saved)

    # Keras takes most of the time; ids of every kind are in the tests of exports above.
    @every_form
    def test_saved_model_of_legacy_keras(case: LayerCase, tmp_path: Any) -> None:
        model = trained_model(case)
        model.save(str(tmp_path / "model"), save_format="tf")
        loaded = keras.models.load_model(str(tmp_path / "model"))
        assert_same(loaded(tensors(case)), model(tensors(case)))


@every_form
def test_keras_own_export(case: LayerCase, tmp_path: Any) -> None:
    model = trained_model(case)
    expected = as_dict(model(tensors(case), training=False))
    model.export(str(tmp_path / "export"))
    serve = tf.saved_model.load(str(tmp_path / "export")).signatures["serving_default"]
    outputs = serve(**tensors(case))
    if set(outputs) != set(expected):
        # Legacy Keras numbers the outputs in the order of their names.
        outputs = dict(zip(sorted(expected), outputs.values(), strict=True))
    assert_close(outputs, expected, 1e-6)


def as_dict(outputs: Any) -> dict[str, tf.Tensor]:
    return outputs if isinstance(outputs, dict) else {"output": outputs}


def run_in_session(path: str, case: LayerCase) -> dict[str, np.ndarray]:
    """Serves an export as TF Serving does: by the loader of TensorFlow 1."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
        serving = meta.signature_def["serving_default"]
        feed = {
            serving.inputs[name].name: array
            for name, array in case.model_inputs().items()
        }
        fetch = {name: info.name for name, info in serving.outputs.items()}
        return session.run(fetch, feed)


@every_float_case
@pytest.mark.parametrize(
    # Rounding to 8 and 11 bits, a few times over in a network of three layers.
    ("policy", "dtype", "tolerance"),
    [
        ("mixed_bfloat16", "bfloat16", 2**-4),
        ("mixed_float16", "float16", 2**-7),
    ],
)
def test_mixed_precision(
    case: LayerCase, policy: str, dtype: str, tolerance: float
) -> None:
    reference, layer = case.make(), case.make(dtype=policy)
    expected, outputs = case.call(reference), case.call(layer)
    copy_state(reference, layer)
    outputs = case.call(layer)
    tf.nest.map_structure(lambda x: _assert_dtype(x, dtype), outputs)
    for weight, of_reference in zip(layer.weights, reference.weights, strict=True):
        assert tf.as_dtype(weight.dtype) == tf.as_dtype(of_reference.dtype)
    assert_close(outputs, expected, tolerance)


@every_case
def test_empty_batch(case: LayerCase) -> None:
    layer = case.make()
    train_once(case, layer)
    before = layer.get_weights()
    inputs = tf.nest.map_structure(lambda x: x[:0], case.inputs)
    side = None if case.side_features is None else case.side_features[:0]
    for training in (False, True):
        outputs = case.call_on(layer, inputs, side, training)
        tf.nest.map_structure(lambda x: _assert_empty(x), outputs)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def _assert_empty(x: tf.Tensor) -> None:
    assert x.shape[0] == 0


@every_trainable_case
def test_fits_in_a_training_loop(case: LayerCase) -> None:
    """Gradients reach every trainable weight and are finite."""
    layer = case.make()
    case.call(layer)
    with tf.GradientTape() as tape:
        outputs = case.call(layer, training=True)
        loss = tf.add_n([tf.reduce_sum(x * x * x) for x in tf.nest.flatten(outputs)])
    for gradient in tape.gradient(loss, layer.trainable_weights):
        values = tf.convert_to_tensor(gradient).numpy()  # of a table, they are slices
        assert np.isfinite(values).all()
        assert np.abs(values).max() > 0
