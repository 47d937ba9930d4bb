"""Weights start from the same numbers in every run, so a failure can be repeated."""

import gc
from unittest import mock

import pytest
from tensorflow.python.eager import context

from tfrs_dhe._keras import keras

SEED = 0
keras.utils.set_random_seed(SEED)
SEEDED = context.context()._rng.getstate()

# What the imports have made stays; the garbage collector need not look there each time.
gc.freeze()


@pytest.fixture(autouse=True)
def seed() -> None:
    """Seeds Python, NumPy and Keras, and TensorFlow if anything has drawn from it.

    To seed TensorFlow is to throw away all its kernels. Functions that were called
    before, such as CityHash, would be optimized anew in each test, for most of which it
    is in vain: Keras has seeds of its own. An op that is given a seed draws nothing,
    and goes on with its numbers in the next test.
    """
    if context.context()._rng.getstate() == SEEDED:
        with mock.patch.object(context, "set_global_seed"):
            keras.utils.set_random_seed(SEED)
    else:
        keras.utils.set_random_seed(SEED)
