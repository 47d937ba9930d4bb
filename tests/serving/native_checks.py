"""Compares what an export answers without Python with what it answers in Python.

`check_native(version_path)` is for any export that has samples beside it;
`check_native(version_path, inputs)` for any other.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.serving import _samples, native

BATCH_SIZES = (0, 1, 32, 256)

#: Strings that no training has seen, and that are hard to read or to hold.
HOSTILE_STRINGS = (b"\xff\xfe\xc3(", b"", b"zero\0inside\0", b"unseen")

LONG_STRING = b"x" * 100_000

Inputs = Mapping[str, np.ndarray]

COMPILER = shutil.which("cc") or shutil.which("gcc")

needs_compiler = pytest.mark.skipif(
    not COMPILER,
    reason="the C program needs a C compiler: apt-get install gcc libc6-dev",
)


def check_native(
    version_path: Path | str, sample_inputs: Mapping[str, Inputs] | None = None
) -> None:
    """Fails unless every signature of an export is served as Python serves it.

    Args:
      version_path: The version's directory.
      sample_inputs: By the names of all signatures, arrays [n > 0, ...] by the names
        of the inputs. By default those that are recorded beside the export.
    """
    if sample_inputs is None:
        samples = _samples.read_samples(version_path)
        sample_inputs = {
            s.signature: s.inputs
            for s in samples
            if all(len(array) for array in s.inputs.values())
        }
    with native.Server(version_path) as server, python_session(version_path) as session:
        assert set(sample_inputs) == set(server.signatures)
        for name, inputs in sample_inputs.items():
            for batch_size in BATCH_SIZES:
                batch = of_size(inputs, batch_size)
                check_same(server, session, name, batch)
                check_same(server, session, name, hostile(batch))
            check_refusals(server, name, of_size(inputs, 2))


@contextlib.contextmanager
def python_session(version_path: Path | str) -> Iterator[tf.compat.v1.Session]:
    """Loads an export as TF Serving does, in this process."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(version_path))
        yield session


def of_size(inputs: Inputs, batch_size: int) -> Inputs:
    """Returns as many rows, the same ones again where there are too few."""
    return {
        name: array[np.arange(batch_size) % len(array)]
        for name, array in inputs.items()
    }


def hostile(inputs: Inputs) -> Inputs:
    """Returns the batch with other ids: strings as above, integers at the limits."""
    return {name: _hostile(array) for name, array in inputs.items()}


def _hostile(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "OSU":
        values = np.resize(np.array(HOSTILE_STRINGS, object), array.shape)
        values.flat[:1] = LONG_STRING
        return values
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        return np.resize(np.array([limits.min, limits.max], array.dtype), array.shape)
    return array


def check_same(
    server: native.Server, session: tf.compat.v1.Session, name: str, inputs: Inputs
) -> None:
    """Fails unless both answer alike: the same bits, or both an error."""
    signature = server.signatures[name]
    feeds = {signature.inputs[key]: array for key, array in inputs.items()}
    code = 0
    try:
        expected = session.run(dict(signature.outputs), feeds)
    except tf.errors.OpError as error:
        code = error.error_code
    if code:
        with pytest.raises(native.RequestError) as refused:
            server.predict(name, inputs)
        assert refused.value.code == code
        return
    answer = server.predict(name, inputs)
    assert set(answer) == set(expected)
    for key, array in answer.items():
        assert array.dtype == expected[key].dtype
        # NaN, which stands for "no more", is equal to itself.
        np.testing.assert_array_equal(array, expected[key], err_msg=f"{name}: {key}")


def check_refusals(server: native.Server, name: str, inputs: Inputs) -> None:
    """Fails unless wrong requests are refused and the next one is answered."""
    expected = server.predict(name, inputs)
    for wrong in wrong_requests(inputs):
        with pytest.raises(native.RequestError):
            server.predict(name, wrong)
        answer = server.predict(name, inputs)
        for output, values in expected.items():
            np.testing.assert_array_equal(answer[output], values)


def wrong_requests(inputs: Inputs) -> Iterator[Inputs]:
    """Yields requests with an input left out, of a wrong dtype and of wrong ranks."""
    # One is enough: TensorFlow optimizes the graph anew for each set of inputs.
    yield dict(list(inputs.items())[1:])
    for key, array in inputs.items():
        yield {**inputs, key: array[..., np.newaxis]}
        yield {**inputs, key: array[0]}
        is_text = array.dtype.kind in "OSU"
        yield {**inputs, key: np.full(array.shape, 0.5 if is_text else "text")}
