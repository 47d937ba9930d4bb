"""Calibration of heads whose probabilities are known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.pictures import assert_picture
from tfrs_dhe.analysis import bucket_calibration
from tfrs_dhe.layers import MACHHead

QUERIES = np.zeros([1, 2], np.float32)


def make_head(logits: Any) -> Any:
    """Returns a head that gives every query the same logits [R, B]."""
    logits = np.asarray(logits)
    head = MACHHead(
        logits.shape[1], len(logits), embedding_dim=2, kernel_initializer="zeros"
    )
    head.bias.assign(logits.reshape(-1))
    return head


def batch(ids: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(QUERIES, len(ids), axis=0), np.asarray(ids)


def test_error_by_hand() -> None:
    # Bucket 1 of 4 has .7; the others .1 each.
    head = make_head(np.log([[0.1, 0.7, 0.1, 0.1]]))
    ids = np.arange(1000)
    inside = ids[head.bucket_ids(ids).numpy()[:, 0] == 1]
    outside = ids[head.bucket_ids(ids).numpy()[:, 0] != 1]
    chosen = np.concatenate([inside[:40], outside[:60]])
    calibration = bucket_calibration(head, [batch(chosen[:30]), batch(chosen[30:])])
    assert calibration.num_examples == 100
    assert calibration.counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 100, 0, 0] or (
        calibration.counts.tolist() == [0, 0, 0, 0, 0, 0, 100, 0, 0, 0]
    )
    assert calibration.error == pytest.approx(0.3, abs=1e-6)
    assert calibration.gap == pytest.approx(0.3, abs=1e-6)
    assert calibration.by_repetition == pytest.approx((0.3,), abs=1e-6)
    assert calibration.expected_error == pytest.approx(
        math.sqrt(2 * 0.7 * 0.3 / (math.pi * 100)), rel=1e-5
    )
    assert "too sure by 0.3" in str(calibration)


def test_cases_without_a_probability_leave_no_error(tmp_path: Path) -> None:
    finite = bucket_calibration(make_head(np.log([[0.6, 0.4]] * 2)), [batch([7, 8])])
    head = make_head([*np.log([[0.6, 0.4]]), [np.nan, 0]])
    found = bucket_calibration(head, [batch([7, 8])])
    assert (found.num_examples, found.num_undefined, found.counts.sum()) == (2, 2, 2)
    assert np.isnan([found.error, found.gap, found.excess_error]).all()
    first, second = found.by_repetition
    assert first == finite.by_repetition[0]
    assert math.isnan(second)
    assert "2 of 4 cases have logits that are not finite" in str(found)
    none = bucket_calibration(make_head([[np.nan, 0]]), [batch([7, 8])])
    assert none.counts.sum() == 0
    assert_picture(none.plot(tmp_path / "a"), "error not measured")


def test_repetitions_are_told_apart() -> None:
    head = make_head(np.log([[0.6, 0.4], [0.9, 0.1]]))
    ids = np.arange(4000)
    buckets = head.bucket_ids(ids).numpy()
    calibration = bucket_calibration(head, [batch(ids)])
    right = (buckets == 0).mean(axis=0)
    assert calibration.by_repetition == pytest.approx(
        (abs(0.6 - right[0]), abs(0.9 - right[1])), abs=1e-6
    )
    assert calibration.counts.sum() == 8000


def test_a_calibrated_head_has_the_expected_error() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(12, 0.5))
    head = make_head(np.log(shares)[np.newaxis])
    by_bucket = {b: i for i, (b,) in enumerate(head.bucket_ids(np.arange(500)).numpy())}
    errors, expected = [], []
    for _ in range(60):
        drawn = rng.choice(12, size=200, p=shares)
        ids = np.array([by_bucket[b] for b in drawn])
        calibration = bucket_calibration(head, [batch(ids)])
        errors.append(calibration.error)
        expected.append(calibration.expected_error)
    # Absolute values of normals have a standard deviation of .756 of their mean.
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=4 * 0.76 / 60**0.5)


def test_several_labels() -> None:
    head = make_head([[5.0, -5.0, -5.0]])
    ids = np.arange(300)
    bucket = head.bucket_ids(ids).numpy()[:, 0]
    inside, outside = ids[bucket == 0], ids[bucket != 0]
    labels = tf.ragged.constant(
        [[outside[0], inside[0]], [outside[1]], [inside[1]], [outside[2], outside[3]]],
        dtype=tf.int64,
    )
    queries = np.repeat(QUERIES, 4, axis=0)
    calibration = bucket_calibration(head, [(queries, labels)], activation="sigmoid")
    assert calibration.accuracy[9] == 0.5
    assert calibration.confidence[9] == pytest.approx(1 / (1 + math.exp(-5)))
    dense = np.array([[outside[0], inside[0]], [outside[1], outside[2]]])
    calibration = bucket_calibration(head, [(queries[:2], dense)], activation="sigmoid")
    assert calibration.accuracy[9] == 0.5


def test_a_query_model_and_a_data_set() -> None:
    head = make_head(np.zeros([2, 4]))
    examples = tf.data.Dataset.from_tensor_slices((tf.range(10), tf.range(10))).batch(4)
    calibration = bucket_calibration(
        head,
        examples,
        query_model=lambda x: tf.one_hot(x % 2, 2),
        num_bins=4,
    )
    assert calibration.num_examples == 10
    assert calibration.confidence[1] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": []}, "`examples` must have at least one"),
        ({"examples": [(np.ones([4, 2]), [7])]}, r"`examples`.*\[4\].*shape \(1,\)"),
        ({"examples": [(np.ones([4, 2]), 7)]}, r"`examples`.*\[4\].*shape \(\)"),
        ({"examples": [(np.ones([4, 2]), [[7, 8]])]}, r"\[4, labels\].*\(1, 2\)"),
        (
            {"examples": [(np.ones([4, 2]), tf.ragged.constant([[7, 8], [9]]))]},
            r"\[4, labels\].*\(2, None\)",
        ),
        ({"examples": [(np.ones([1, 2]), [7, 8])]}, r"`examples`.*\[1\].*shape \(2,\)"),
        ({"num_bins": 0}, "`num_bins` must be a positive integer"),
        ({"activation": "tanh"}, "`activation` must be one of"),
    ],
)
def test_errors_name_the_argument(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bucket_calibration(
            make_head(np.zeros([2, 4])), **{"examples": [batch([1])], **arguments}
        )


def test_picture(tmp_path: Path) -> None:
    calibration = bucket_calibration(make_head(np.eye(4)), [batch(range(50))])
    assert_picture(calibration.plot(tmp_path / "a"), "probability of the likeliest")
