"""The classes of every bucket against a list comprehension."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.mach.decoding import build_inverse_lists, partner_buckets


@pytest.mark.parametrize("dtype", [tf.uint8, tf.uint16, tf.int32, tf.int64])
@pytest.mark.parametrize("num_classes", [0, 1, 7, 500])
@pytest.mark.parametrize("num_buckets", [2, 31, 200])
def test_lists_every_class_of_every_bucket(
    dtype: tf.DType, num_classes: int, num_buckets: int
) -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(0, num_buckets, (3, num_classes))
    buckets = tf.constant(table, dtype)
    lists = build_inverse_lists(buckets, num_buckets)
    members, offsets = lists
    assert members.dtype == offsets.dtype == tf.int32
    assert members.shape == (3, num_classes)
    assert offsets.shape == (3, num_buckets + 1)
    # Of three repetitions the first two are a pair, and the last one is alone.
    others = table[[1, 0, 2]]
    for row, other, of_row, cuts in zip(
        table, others, members.numpy(), offsets.numpy(), strict=True
    ):
        assert cuts[0] == 0
        assert cuts[-1] == num_classes
        for bucket in range(num_buckets):
            expected = [c for c in range(num_classes) if row[c] == bucket]
            expected.sort(key=lambda c: other[c])
            assert of_row[cuts[bucket] : cuts[bucket + 1]].tolist() == expected
    of_partners = partner_buckets(buckets, lists)
    assert of_partners.dtype == dtype
    expected = np.take_along_axis(others, members.numpy(), axis=1)
    np.testing.assert_array_equal(of_partners, expected)


def test_in_a_graph_from_a_variable() -> None:
    table = np.random.default_rng(1).integers(0, 9, (2, 50)).astype(np.uint8)
    variable = tf.Variable(table, shape=[2, None])
    in_graph = tf.function(lambda: build_inverse_lists(variable, 9))()
    for part, expected in zip(in_graph, build_inverse_lists(table, 9), strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("bucket", [-1, 5])
def test_a_bucket_out_of_range_is_refused(bucket: int) -> None:
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"`buckets` must be numbers from 0 to.*4"
    ):
        build_inverse_lists(tf.constant([[0, 1], [2, bucket]]), 5)


@pytest.mark.parametrize("buckets", [[0, 1], [[0.0, 1.0]], [[[0]]]])
def test_what_is_no_table_is_refused(buckets: list) -> None:
    with pytest.raises(ValueError, match=r"`buckets` must be integers of shape"):
        build_inverse_lists(tf.constant(buckets), 5)
