"""The map of keys against a dict."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import _key_map


def rows_of(keys: np.ndarray, asked: np.ndarray) -> np.ndarray:
    key_map = _key_map.build(keys)
    assert key_map.starts.shape == key_map.shape.starts
    assert key_map.blocks.shape == key_map.shape.blocks
    found = _key_map.find(
        tf.constant(asked),
        tf.constant(key_map.starts),
        tf.constant(key_map.blocks),
        key_map.shape,
    ).numpy()
    expected = {keys[position]: row for row, position in enumerate(key_map.order)}
    assert len(expected) == len(keys)
    wanted = np.array([expected.get(key, -1) for key in asked.tolist()])
    np.testing.assert_array_equal(np.where(found < len(keys), found, -1), wanted)
    return found


@pytest.mark.parametrize("num_keys", [1, 2, 7, 8, 9, 63, 1000, 20_000])
def test_finds_what_a_dict_does(num_keys: int) -> None:
    generator = np.random.default_rng(num_keys)
    # Key 0 is scrambled to 0, which also fills the places that no key has.
    some = generator.integers(-(2**63), 2**63 - 1, 2 * num_keys)
    for zero in ([0], []):
        keys = np.unique(np.concatenate([zero, some[: num_keys - len(zero)]]))
        keys = keys.astype(np.int64)
        if len(keys):
            asked = np.concatenate([keys, some, [0, -1, 2**63 - 1, -(2**63)]])
            rows_of(keys, generator.permutation(asked.astype(np.int64)))


def test_consecutive_keys_are_spread() -> None:
    keys = np.arange(100_000)
    key_map = _key_map.build(keys)
    rows_of(keys, np.arange(-10, 100_010))
    # Of 2^17 or 2^16 values of the top bits, none has more than 16 keys.
    assert key_map.shape.span <= 3
    assert key_map.shape.num_bytes <= 20 * len(keys)


def test_keys_that_crowd_are_found_all_the_same() -> None:
    candidates = np.arange(400_000)
    scrambled = hashing.mix_keys(tf.constant(candidates.astype(np.uint64))).numpy()
    crowd = candidates[scrambled < 2**53]  # One of 2048 values of the top bits.
    assert len(crowd) > 100
    rows_of(crowd, candidates)


def test_a_map_of_nothing_finds_nothing() -> None:
    shape = _key_map.KeyMapShape(num_keys=3, num_bits=2, span=1)
    found = _key_map.find(
        tf.range(-50, 50, dtype=tf.int64),
        tf.fill(shape.starts, tf.constant(shape.first_free_block, tf.int64)),
        tf.zeros(shape.blocks, tf.int64),
        shape,
    )
    assert np.all(found >= 3)
