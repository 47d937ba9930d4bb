"""Weights start from the same numbers in every run, so a failure can be repeated."""

import pytest

from tfrs_dhe._keras import keras


@pytest.fixture(autouse=True)
def seed() -> None:
    keras.utils.set_random_seed(0)
