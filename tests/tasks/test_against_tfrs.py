"""The in-batch objective is `tfrs.tasks.Retrieval` on the head's embeddings."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead
from tfrs_dhe.tasks import MACHRetrieval

BATCH, EXTRA, DIM = 6, 3, 5
# One class twice, one among the extra negatives.
STRINGS = ["a", "b", "c", "a", "d", "e", "b", "f", "g"]


def make_head() -> MACHHead:
    return MACHHead(
        num_buckets=4,
        num_repetitions=3,
        embedding_dim=DIM,
        kernel_initializer="random_normal",
        bias_initializer="random_normal",
    )


def metrics() -> list[Any]:
    return [
        keras.metrics.TopKCategoricalAccuracy(k=2, name="top_2"),
        keras.metrics.CategoricalCrossentropy(from_logits=True, name="entropy"),
    ]


def retrieval(head: MACHHead, queries: tf.Tensor, ids: tf.Tensor, task: Any) -> Any:
    """Calls the task of TFRS with embeddings that have the bias beside."""

    def call(**arguments: Any) -> tf.Tensor:
        rows = head.bucket_ids(ids) + tf.range(3) * 4
        bias = tf.reduce_sum(tf.gather(head.bias, rows), axis=1, keepdims=True)
        return task(
            tf.concat([queries, tf.ones([len(queries), 1])], axis=1),
            tf.concat([head.class_embeddings(ids), bias], axis=1),
            candidate_ids=ids,
            **arguments,
        )

    return call


OPTIONS = list(
    itertools.product(
        [None, 0.3],  # temperature
        [None, 2, 100],  # num_hard_negatives
        [False, True],  # remove_accidental_hits
        [False, True],  # whether logQ, mask and weights are given
        [0, EXTRA],  # extra negatives
    )
)


@pytest.mark.parametrize(
    ("temperature", "hard", "remove", "corrected", "extra"), OPTIONS
)
def test_loss_gradients_and_metrics(
    temperature: float | None,
    hard: int | None,
    remove: bool,
    corrected: bool,
    extra: int,
) -> None:
    generator = np.random.default_rng(1)
    head = make_head()
    names = STRINGS[: BATCH + extra]
    ids = tf.constant(names if extra else [ord(name) for name in names])
    queries = tf.constant(generator.normal(size=(BATCH, DIM)), tf.float32)
    arguments: dict[str, Any] = {}
    if corrected:
        mask = generator.random((BATCH, BATCH + extra)) < 0.7
        mask[np.arange(BATCH), np.arange(BATCH)] = True
        arguments = {
            "candidate_sampling_probability": tf.constant(
                generator.random(BATCH + extra), tf.float32
            ),
            "score_mask": tf.constant(mask),
            "sample_weight": tf.constant(generator.random(BATCH), tf.float32),
        }
    options = {
        "temperature": temperature,
        "num_hard_negatives": hard,
        "remove_accidental_hits": remove,
    }
    expected_metrics, actual_metrics = metrics(), metrics()
    means = keras.metrics.Mean(), keras.metrics.Mean()
    theirs = retrieval(
        head,
        queries,
        ids,
        tfrs.tasks.Retrieval(
            batch_metrics=expected_metrics, loss_metrics=[means[0]], **options
        ),
    )
    ours = MACHRetrieval(
        head,
        batch_metrics=actual_metrics,
        loss_metrics=[means[1]],
        objective="in_batch",
        **options,
    )
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(queries)
        expected = theirs(**arguments)
        actual = ours(queries, candidate_ids=ids, **arguments)
    np.testing.assert_allclose(actual, expected, rtol=2e-6)
    assert float(means[1].result()) == float(actual)
    for variable in (queries, head.kernel, head.bias):
        np.testing.assert_allclose(
            tf.convert_to_tensor(tape.gradient(actual, variable)),
            tf.convert_to_tensor(tape.gradient(expected, variable)),
            rtol=0,
            atol=1e-5,
        )
    for metric, reference in zip(actual_metrics, expected_metrics, strict=True):
        np.testing.assert_allclose(metric.result(), reference.result(), rtol=2e-6)


@pytest.mark.parametrize("hard", [None, 2])
@pytest.mark.parametrize("own", [True, False])
def test_label_smoothing(hard: int | None, own: bool) -> None:
    """By the task's argument, and by that of a Keras loss, as TFRS's users do."""
    head = make_head()
    ids = tf.constant(STRINGS)
    queries = tf.random.normal([BATCH, DIM])
    weight = tf.constant([0.0, 1.0, 2.0, 0.5, 1.0, 3.0])

    def smoothed() -> Any:
        return keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.2, reduction="sum"
        )

    task = tfrs.tasks.Retrieval(loss=smoothed(), num_hard_negatives=hard)
    expected = retrieval(head, queries, ids, task)(sample_weight=weight)
    options = {"label_smoothing": 0.2} if own else {"loss": smoothed()}
    actual = MACHRetrieval(
        head, num_hard_negatives=hard, objective="in_batch", **options
    )(queries, candidate_ids=ids, sample_weight=weight)
    np.testing.assert_allclose(actual, expected, rtol=2e-6)
