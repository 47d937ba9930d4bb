import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.datasets import SparseExamples
from tfrs_dhe.datasets.sparse_examples import concatenate

EXAMPLES = SparseExamples(
    feature_splits=np.array([0, 2, 2, 3]),
    feature_ids=np.array([1, 4, 0]),
    feature_values=np.array([0.5, -2.0, 0.0], np.float32),
    label_splits=np.array([0, 1, 3, 3]),
    labels=np.array([6, 5, 2]),
    num_features=5,
    num_labels=7,
)
DENSE = np.array([[0, 0.5, 0, 0, -2], [0] * 5, [0] * 5], np.float32)


def numbered(count):
    """Examples that a label and a value tell apart."""
    return SparseExamples(
        feature_splits=np.arange(count + 1),
        feature_ids=np.arange(count) % 3,
        feature_values=np.arange(count, dtype=np.float32),
        label_splits=np.arange(count + 1),
        labels=np.arange(count),
        num_features=3,
        num_labels=count,
    )


def test_batches():
    first, last = EXAMPLES.batches(2)
    np.testing.assert_array_equal(tf.sparse.to_dense(first["features"]), DENSE[:2])
    np.testing.assert_array_equal(tf.sparse.to_dense(last["features"]), DENSE[2:])
    assert first["features"].values.dtype == tf.float32
    assert first["labels"].to_list() == [[6], [5, 2]]
    assert last["labels"].to_list() == [[]]
    assert last["features"].values.numpy().tolist() == [0]


@pytest.mark.parametrize(("drop", "rows", "count"), [(False, None, 2), (True, 2, 1)])
def test_static_shapes(drop, rows, count):
    dataset = EXAMPLES.batches(2, drop_remainder=drop)
    spec = dataset.element_spec
    assert spec["features"] == tf.SparseTensorSpec([rows, 5], tf.float32)
    assert spec["labels"].dtype == tf.int64
    assert spec["labels"].shape.as_list() == [rows, None]
    assert dataset.cardinality() == len(list(dataset)) == count


def test_every_pass_has_a_complete_order_that_follows_from_the_seed():
    data = numbered(500)

    def passes(seed):
        dataset = data.batches(64, shuffle=True, seed=seed)
        return [
            np.concatenate(
                [batch["labels"].values.numpy() for batch in dataset]
            ).tolist()
            for _ in range(2)
        ]

    first, second = passes(1)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(500))
    assert passes(1) == [first, second]
    assert passes(2)[0] != first
    for batch in data.batches(64, shuffle=True):
        labels = batch["labels"].values.numpy()
        np.testing.assert_array_equal(batch["features"].values, labels)
        np.testing.assert_array_equal(batch["features"].indices[:, 1], labels % 3)


def test_take_and_concatenate():
    taken = EXAMPLES.take([2, 0, 0])
    dense = tf.sparse.to_dense(next(iter(taken.batches(3)))["features"])
    np.testing.assert_array_equal(dense, DENSE[[2, 0, 0]])
    assert np.split(taken.labels, taken.label_splits[1:-1])[1].tolist() == [6]
    assert len(EXAMPLES.take([])) == 0
    joined = concatenate([EXAMPLES, EXAMPLES.take([]), taken])
    dense = tf.sparse.to_dense(next(iter(joined.batches(6)))["features"])
    np.testing.assert_array_equal(dense, DENSE[[0, 1, 2, 2, 0, 0]])
    assert joined.label_splits.tolist() == [0, 1, 3, 3, 3, 4, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_splits": np.array([0, 2, 2, 2])}, "`feature_splits` must.*end at 3"),
        ({"feature_splits": np.array([0, 2, 1, 3])}, "`feature_splits` must.*never"),
        ({"label_splits": np.array([1, 1, 3, 3])}, "`label_splits` must start at 0"),
        (
            {"label_splits": np.array([0, 3])},
            "`label_splits` must have one value a row",
        ),
        ({"feature_values": np.float32([1])}, "`feature_values` must have one value"),
        (
            {"feature_values": np.float32([1, np.nan, 1])},
            "`feature_values` must be fin",
        ),
        (
            {"feature_ids": np.array([1, 5, 0])},
            "`feature_ids` must lie between 0 and 4",
        ),
        ({"feature_ids": np.array([4, 1, 0])}, "`feature_ids` must ascend"),
        ({"feature_ids": np.array([1, 1, 0])}, "`feature_ids` must ascend"),
        ({"labels": np.array([6, 5, 7])}, "`labels` must lie between 0 and 6"),
        ({"labels": np.array([6, -1, 2])}, "`labels` must lie between 0 and 6"),
        ({"labels": np.array([6, 2, 2])}, "`labels` must be distinct"),
    ],
)
def test_bad_examples(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(EXAMPLES, **changes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([True, False, True]), "integers of shape.*dtype bool.*flatnonzero"),
        ([-2], "between 0 and 2. Received values from -2 to -2"),
        ([0, 3], "between 0 and 2. Received values from 0 to 3"),
        ([1.9], "integers of shape.*dtype float64"),
        ([[0, 1]], r"integers of shape.*shape \(1, 2\)"),
        (1, r"integers of shape.*shape \(\)"),
    ],
)
def test_bad_rows(rows, message):
    with pytest.raises(ValueError, match=f"`rows` must .*{message}"):
        EXAMPLES.take(rows)


def test_bad_batch_size():
    with pytest.raises(ValueError, match="`batch_size` must be a positive"):
        EXAMPLES.batches(0)
