"""The map of keys against a dict, also where its table is not that of the keys."""

import copy

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers._key_map import KeyMap, keys_of

SPECIAL = [0, -1, 1, 2**63 - 1, -(2**63)]


def filled(keys: np.ndarray) -> KeyMap:
    key_map = KeyMap()
    key_map.fill(tf.constant(keys))
    return key_map


def assert_finds(key_map: KeyMap, keys: np.ndarray, known: np.ndarray) -> None:
    """Asserts that of `keys`, those of `known` and no others are found."""
    asked = np.concatenate([known, keys, keys + 1, SPECIAL]).astype(np.int64)
    rows, is_known = key_map.find(tf.constant(asked), tf.constant(keys))
    expected = {key: row for row, key in enumerate(keys) if key in set(known)}
    assert is_known.numpy().tolist() == [key in expected for key in asked]
    assert np.all((rows.numpy() >= 0) & (rows.numpy() < len(keys)))
    found = zip(asked[is_known], rows[is_known].numpy(), strict=True)
    assert dict(found) == expected


@pytest.mark.parametrize("num_keys", [1, 2, 1000])
@pytest.mark.parametrize("first", [[], SPECIAL])
def test_finds_what_a_dict_does(num_keys: int, first: list[int]) -> None:
    generator = np.random.default_rng(num_keys)
    some = generator.integers(-(2**63), 2**63 - 1, num_keys)
    keys = generator.permutation(np.unique(np.concatenate([first, some]).astype("i8")))
    assert_finds(filled(keys), keys, keys)


def test_a_table_that_is_not_of_the_keys_finds_no_wrong_row() -> None:
    keys = np.array([5, 7, 9], np.int64)
    # The table knows none, others, or the same in another order. Where it knows
    # nothing it says 0, which is right for the key of row 0.
    assert_finds(KeyMap(), keys, keys[:1])
    assert_finds(filled(np.array([1, 2, 3])), keys, keys[:1])
    assert_finds(filled(np.array([9, 7, 5])), keys, keys[1:2])


def test_filling_again_forgets_what_there_was() -> None:
    key_map = filled(np.array([1, 2, 3]))
    keys = np.array([4, 2, 1])
    key_map.fill(tf.constant(keys))
    assert_finds(key_map, keys, keys)


def test_a_copy_has_a_table_of_its_own() -> None:
    keys = np.array([1, 2, 3])
    key_map = filled(keys)
    copied = copy.deepcopy(key_map)
    key_map.fill(tf.constant([8, 9], tf.int64))
    assert_finds(copied, keys, keys)


def test_keys_are_the_same_for_ever() -> None:
    strings = tf.constant(["user_1", "ü" * 16, "long " * 20])
    keys = keys_of(strings).numpy()
    # Both hashes of up to 32 bytes are one; the third was taken down once.
    assert keys[:2].tolist() == hashing.cityhash64(strings)[:2].numpy().tolist()
    assert keys[2] == 6448318839173205691
    assert keys_of(tf.constant([2**64 - 1], tf.uint64)).numpy().tolist() == [-1]
