"""The paper's objectives against the formulas in NumPy."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead
from tfrs_dhe.tasks import MACHRetrieval

NUM_BUCKETS, REPETITIONS = 5, (2, 0, 3)
QUERIES = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
WEIGHTS = np.array([1.0, 0.0, 2.5, 0.5], np.float32)
IDS = ["red", "blue", "red", "green"]
PADDED = [["red", "", "blue"], ["", "", ""], ["red", "red", ""], ["a", "b", "c"]]


@pytest.fixture
def head() -> MACHHead:
    return MACHHead(
        num_buckets=NUM_BUCKETS,
        num_repetitions=4,
        repetitions=REPETITIONS,
        embedding_dim=3,
        bias_initializer="random_normal",
    )


def logits(head: MACHHead, temperature: float | None = None) -> np.ndarray:
    kernel = head.kernel.numpy().reshape(len(REPETITIONS), NUM_BUCKETS, 3)
    bias = head.bias.numpy().reshape(len(REPETITIONS), NUM_BUCKETS)
    values = np.einsum("rbd,id->irb", kernel.astype(np.float64), QUERIES) + bias
    return values / (temperature or 1)


def log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


def one_hot(head: MACHHead) -> np.ndarray:
    return np.eye(NUM_BUCKETS)[head.bucket_ids(tf.constant(IDS)).numpy()]


def merged(head: MACHHead) -> np.ndarray:
    labels = np.zeros((4, len(REPETITIONS), NUM_BUCKETS))
    for i, names in enumerate(PADDED):
        for name in filter(None, names):
            buckets = head.bucket_ids(tf.constant(name)).numpy()
            labels[i, np.arange(len(REPETITIONS)), buckets] = 1
    return labels


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("temperature", [None, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_softmax(
    head: MACHHead,
    weights: np.ndarray | None,
    temperature: float | None,
    smoothing: float,
) -> None:
    task = MACHRetrieval(head, temperature=temperature, label_smoothing=smoothing)
    actual = task(QUERIES, candidate_ids=tf.constant(IDS), sample_weight=weights)
    labels = one_hot(head) * (1 - smoothing) + smoothing / NUM_BUCKETS
    entropy = -(labels * log_softmax(logits(head, temperature))).sum(axis=(1, 2))
    expected = np.sum(entropy if weights is None else entropy * weights)
    np.testing.assert_allclose(actual, expected, rtol=2e-6)


def ragged_ids() -> tf.RaggedTensor:
    return tf.ragged.constant([list(filter(None, names)) for names in PADDED])


@pytest.mark.parametrize("form", ["mask_value", "candidate_mask", "both", "ragged"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_multilabel(
    head: MACHHead, form: str, weights: np.ndarray | None, smoothing: float
) -> None:
    ids, options, arguments = tf.constant(PADDED), {}, {}
    if form in ("mask_value", "both"):
        options = {"mask_value": ""}
    if form == "candidate_mask":
        arguments = {"candidate_mask": tf.not_equal(ids, "")}
    if form == "both":  # The mask hides a label that is not padding.
        ids = tf.concat([ids, [["hidden"]] * 4], axis=1)
        arguments = {"candidate_mask": tf.not_equal(ids, "hidden")}
    if form == "ragged":
        ids = ragged_ids()
    task = MACHRetrieval(
        head, objective="multilabel", label_smoothing=smoothing, **options
    )
    actual = task(QUERIES, candidate_ids=ids, sample_weight=weights, **arguments)
    labels = merged(head) * (1 - smoothing) + smoothing / 2
    probability = 1 / (1 + np.exp(-logits(head)))
    entropy = labels * np.log(probability) + (1 - labels) * np.log(1 - probability)
    losses = -entropy.sum(axis=(1, 2))
    expected = np.sum(losses if weights is None else losses * weights)
    np.testing.assert_allclose(actual, expected, rtol=2e-6)


class Spy(keras.metrics.Metric):
    """Notes what it is given."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen = y_true, y_pred, sample_weight

    def result(self) -> float:
        return 0.0


@pytest.mark.parametrize("objective", ["softmax", "multilabel"])
def test_labels_and_scores_have_a_row_for_each_repetition(
    head: MACHHead, objective: str
) -> None:
    seen = []

    def loss(y_true: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:
        seen.append((y_true, y_pred, sample_weight))
        return tf.reduce_sum(y_pred)

    spy = Spy()
    task = MACHRetrieval(head, loss=loss, batch_metrics=[spy], objective=objective)
    ids = tf.constant(IDS) if objective == "softmax" else ragged_ids()
    result = task(QUERIES, candidate_ids=ids, sample_weight=WEIGHTS)
    labels = one_hot(head) if objective == "softmax" else merged(head)
    for y_true, y_pred, sample_weight in [*seen, spy.seen]:
        np.testing.assert_array_equal(y_true, labels.reshape(12, NUM_BUCKETS))
        np.testing.assert_allclose(
            y_pred, logits(head).reshape(12, NUM_BUCKETS), rtol=0, atol=1e-6
        )
        np.testing.assert_array_equal(sample_weight, np.repeat(WEIGHTS, 3))
    np.testing.assert_allclose(result, logits(head).sum(), rtol=1e-5)


def test_keras_loss_is_the_default_written_out(head: MACHHead) -> None:
    for objective, ids, loss in (
        ("softmax", tf.constant(IDS), keras.losses.CategoricalCrossentropy),
        ("multilabel", ragged_ids(), keras.losses.BinaryCrossentropy),
    ):
        custom = MACHRetrieval(
            head, loss(from_logits=True, reduction="sum"), objective=objective
        )
        default = MACHRetrieval(head, objective=objective)
        losses = [
            float(task(QUERIES, candidate_ids=ids, sample_weight=WEIGHTS))
            for task in (custom, default)
        ]
        # Keras takes the mean over the buckets of a binary cross-entropy.
        scale = NUM_BUCKETS if objective == "multilabel" else 1
        np.testing.assert_allclose(losses[0] * scale, losses[1], rtol=2e-6)


def test_repetitions_held_apart_sum_to_the_whole() -> None:
    """Training them elsewhere, one by one, is training the same loss."""
    initializer = keras.initializers.Constant(0.1)
    held = [(0, 1, 2, 3), (0,), (1, 2), (3,)]
    losses = [
        float(
            MACHRetrieval(
                MACHHead(5, 4, repetitions=r, kernel_initializer=initializer)
            )(QUERIES, candidate_ids=tf.constant(IDS))
        )
        for r in held
    ]
    np.testing.assert_allclose(losses[0], sum(losses[1:]), rtol=1e-6)
