"""Repetitions trained once, for all tests that need some."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.processes import check_python
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.models import _repetition_training

#: The Keras of this process, and as many threads as the launcher is told to give.
ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1" if is_legacy else "0",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


def read_weights(directory: Path, repetition: int) -> dict[str, np.ndarray]:
    """Returns the trained weights of a repetition as they are in its files."""
    path = directory / f"repetition-{repetition:04d}" / "weights"
    reader = tf.train.load_checkpoint(str(path))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith("variables/")
    }


def assert_same_weights(first: Path, second: Path, repetition: int) -> None:
    """Compares the weights of a repetition in two places bit by bit."""
    one, other = (read_weights(path, repetition) for path in (first, second))
    assert one.keys() == other.keys()
    assert len(one) >= 8
    for name, weight in one.items():
        np.testing.assert_array_equal(weight, other[name], err_msg=name)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four repetitions of `tiny_run`, trained by one process, in any order."""
    directory = tmp_path_factory.mktemp("trained")
    check_python(
        f"""
        from tests.models import tiny_run
        from tfrs_dhe.models import _repetition_training

        for repetition in (3, 0, 2, 1):
            _repetition_training.train(tiny_run.make, {str(directory)!r}, [repetition])
        """,
        **ENVIRONMENT,
    )
    return directory


@pytest.fixture
def train():
    """Trains in this process, and leaves its settings as they were."""

    def train_here(*arguments, **options):
        _repetition_training.train(*arguments, deterministic=False, **options)

    yield train_here
    if is_legacy:
        keras.backend.experimental.disable_tf_random_generator()
