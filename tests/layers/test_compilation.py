"""The sizes that are compiled."""

import numpy as np
import tensorflow as tf

from tfrs_dhe.layers import _compilation


def test_sizes_are_few_and_hardly_too_large() -> None:
    sizes = tf.range(512, 1025)
    padded = tf.map_fn(_compilation.padded_size, sizes).numpy()
    assert len(set(padded)) <= 10
    assert np.all(padded >= sizes)
    assert np.all(padded <= 1.125 * sizes.numpy())


def test_small_sizes_are_their_own() -> None:
    for size in range(9):
        assert int(_compilation.padded_size(tf.constant(size))) == size
