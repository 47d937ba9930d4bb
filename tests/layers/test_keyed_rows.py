"""Rows found by keys against a dict."""

import copy

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers._keyed_rows import KeyedRows, keys_of

SPECIAL = [0, -1, 1, 2**63 - 1, -(2**63)]


def rows_of(keys: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Returns rows that tell the place of their key."""
    places = np.arange(1, len(keys) + 1)
    if dtype == "float32":
        rows = np.stack([places, -places], axis=1)
        return {"keys": keys, "rows": rows.astype(np.float32)}
    rows = np.tile(np.int8([[1, -1]]), (len(keys), 1))
    scales = places[:, np.newaxis].astype(np.float32)
    return {"keys": keys, "rows": rows, "scales": scales}


def filled(
    keys: np.ndarray, dtype: str = "float32", key_index: str = "hash_table"
) -> KeyedRows:
    rows = KeyedRows(len(keys), 2, dtype, key_index)
    rows.assign(rows_of(keys, dtype))
    return rows


def assert_finds(rows: KeyedRows, keys: np.ndarray) -> None:
    """Asserts that `keys` and no others are found."""
    asked = np.concatenate([keys, keys + 1, SPECIAL]).astype(np.int64)
    found, is_known = rows.look_up(tf.constant(asked), "float32")
    places = {key: place for place, key in enumerate(keys.tolist(), start=1)}
    expected = [places.get(key, 0) for key in asked.tolist()]
    assert found.numpy().tolist() == [[place, -place] for place in expected]
    assert is_known.numpy().tolist() == [place > 0 for place in expected]


BOTH = pytest.mark.parametrize("key_index", ["hash_table", "sorted"])


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("num_keys", [1, 2, 1000])
@pytest.mark.parametrize("first", [[], SPECIAL])
def test_finds_what_a_dict_does(
    num_keys: int, first: list[int], dtype: str, key_index: str
) -> None:
    generator = np.random.default_rng(num_keys)
    some = generator.integers(-(2**63), 2**63 - 1, num_keys)
    keys = np.unique(np.concatenate([first, some]).astype("i8"))
    if key_index == "hash_table":
        keys = generator.permutation(keys)
    rows = filled(keys, dtype, key_index)
    assert_finds(rows, keys)
    for name, array in rows_of(keys, dtype).items():
        np.testing.assert_array_equal(rows.arrays()[name], array, strict=True)


@BOTH
def test_nothing_is_found_before_there_are_rows(key_index: str) -> None:
    rows = KeyedRows(3, 2, "float32", key_index)
    assert_finds(rows, np.array([], np.int64))
    assert rows.arrays()["keys"].shape == (0,)


@BOTH
def test_others_are_forgotten(key_index: str) -> None:
    rows = filled(np.array([1, 2, 3]), key_index=key_index)
    keys = np.array([1, 2, 4])
    rows.assign(rows_of(keys, "float32"))
    assert_finds(rows, keys)


@BOTH
def test_a_copy_has_an_index_of_its_own(key_index: str) -> None:
    keys = np.array([1, 2, 3])
    rows = filled(keys, key_index=key_index)
    copied = copy.deepcopy(rows)
    rows.assign(rows_of(np.array([8, 9, 10]), "float32"))
    assert_finds(copied, keys)


def test_a_sorted_index_takes_keys_that_ascend() -> None:
    for keys in ([2, 1], [1, 1]):
        with pytest.raises(ValueError, match="must ascend"):
            filled(np.array(keys), key_index="sorted")


@BOTH
def test_checkpoints_follow_index_and_rows(tmp_path: str, key_index: str) -> None:
    keys = np.array([5, 7, 9])
    saved = filled(keys, "int8", key_index)
    path = tf.train.Checkpoint(rows=saved).save(f"{tmp_path}/rows")
    rows = filled(np.array([1, 5, 7]), "int8", key_index)
    tf.train.Checkpoint(rows=rows).restore(path).assert_existing_objects_matched()
    assert_finds(rows, keys)


def test_keys_are_the_same_for_ever() -> None:
    strings = tf.constant(["user_1", "ü" * 16, "long " * 20])
    keys = keys_of(strings).numpy()
    # Both hashes of up to 32 bytes are one; the third was taken down once.
    assert keys[:2].tolist() == hashing.cityhash64(strings)[:2].numpy().tolist()
    assert keys[2] == 6448318839173205691
    assert keys_of(tf.constant([2**64 - 1], tf.uint64)).numpy().tolist() == [-1]


def test_nothing_is_gathered_from_the_variable_of_keys() -> None:
    """TensorFlow would copy all keys at every read from then on."""
    rows = filled(np.array([1, 2, 3]), key_index="sorted")
    look_up = tf.function(lambda keys: rows.look_up(keys, "float32"))
    graph = look_up.get_concrete_function(tf.TensorSpec([None], tf.int64)).graph
    gathered = [op for op in graph.get_operations() if op.type == "ResourceGather"]
    assert [op.get_attr("dtype") for op in gathered] == [tf.float32]  # the rows
