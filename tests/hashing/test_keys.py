"""Keys of strings and integers."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.hashing import cityhash64, int64_keys
from tfrs_dhe.hashing.universal import as_keys

INTEGER_TYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]
SHAPES = [(), (0,), (5,), (2, 3), (2, 0, 3)]


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_integers_keep_their_value_whatever_their_width(dtype):
    limits = np.iinfo(dtype)
    ids = [limits.min, limits.max, 0, 1, 17]
    keys = int64_keys(tf.constant(ids, dtype))
    assert keys.dtype == tf.int64
    assert keys.numpy().tolist() == ids
    unsigned = as_keys(tf.constant(ids, dtype))
    assert unsigned.dtype == tf.uint64
    assert unsigned.numpy().tolist() == [x % 2**64 for x in ids]


def test_uint64_keeps_its_bits():
    ids = [0, 1, 2**63 - 1, 2**63, 2**64 - 1]
    keys = int64_keys(tf.constant(ids, tf.uint64))
    assert keys.dtype == tf.int64
    assert keys.numpy().tolist() == [0, 1, 2**63 - 1, -(2**63), -1]
    assert as_keys(tf.constant(ids, tf.uint64)).numpy().tolist() == ids


def test_strings_are_hashed_by_cityhash64():
    # CityHash64 v1.1 of "a", and of a string that is longer than one op hashes.
    strings = [b"a", bytes(range(65))]
    expected = np.array([0xB3454265B6DF75E3, 0xAC589C990483DD2E], np.uint64)
    keys = int64_keys(tf.constant(strings))
    np.testing.assert_array_equal(keys, expected.astype(np.int64))


def test_python_and_numpy_values():
    assert int64_keys([3, -1]).numpy().tolist() == [3, -1]
    assert int64_keys([2**40]).numpy().tolist() == [2**40]
    assert int64_keys(np.array([7], np.int16)).numpy().tolist() == [7]
    assert int64_keys("a").numpy() == cityhash64(["a"])[0].numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [tf.int32, tf.uint64, tf.string])
@pytest.mark.parametrize("in_graph", [False, True])
def test_shapes(shape, dtype, in_graph):
    ids = tf.fill(shape, tf.constant("7" if dtype == tf.string else 7, dtype))
    keys = (tf.function(int64_keys) if in_graph else int64_keys)(ids)
    assert keys.shape == shape
    assert keys.dtype == tf.int64


@pytest.mark.parametrize("in_graph", [False, True])
def test_ragged(in_graph):
    function = tf.function(int64_keys) if in_graph else int64_keys
    integers = function(tf.ragged.constant([[1, -2], [], [3]], tf.int32))
    assert integers.dtype == tf.int64
    assert integers.to_list() == [[1, -2], [], [3]]
    strings = function(tf.ragged.constant([["a", "b"], [], ["c"]]))
    assert strings.dtype == tf.int64
    np.testing.assert_array_equal(strings.flat_values, cityhash64(["a", "b", "c"]))


@pytest.mark.parametrize(
    ("ids", "received"),
    [
        (tf.constant([1.0]), "float32"),
        (tf.constant([1.0], tf.float64), "float64"),
        (tf.constant([True]), "bool"),
        (tf.ragged.constant([[1.0], [2.0, 3.0]]), "float32"),
        (1.5, "float32"),
        (None, "None"),
    ],
)
def test_other_ids_are_refused(ids, received):
    with pytest.raises(ValueError, match=r"`ids` must be") as raised:
        int64_keys(ids)
    assert received in str(raised.value)
