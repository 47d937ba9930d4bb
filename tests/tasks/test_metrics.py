"""Values of metrics worked by hand, and how a model shows them."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from tests.tasks.indexes import EveryClass
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead
from tfrs_dhe.layers.factorized_top_k import MACH
from tfrs_dhe.tasks import MACHRetrieval

CATALOGUE = ["a", "b", "c", "d"]


def perfect_head() -> MACHHead:
    """Returns a head whose class i has the score of the query's i-th number.

    One repetition, in which the four classes have buckets of their own.
    """
    for seed in range(100):
        head = MACHHead(8, 1, seed=seed, embedding_dim=4)
        buckets = head.bucket_ids(tf.constant(CATALOGUE)).numpy()[:, 0]
        if len(set(buckets)) == 4:
            break
    kernel = np.full((8, 4), -1.0)
    kernel[buckets] = np.eye(4)
    head.kernel.assign(kernel)
    return head


# Ranks of a, b, c, d: 1 2 3 4; 4 3 2 1; 2 1 4 3.
QUERIES = tf.constant([[9.0, 7, 5, 3], [1, 2, 3, 4], [3, 4, 1, 2]])


def top_k(head: MACHHead, **options: Any) -> Any:
    return tfrs.metrics.FactorizedTopK(EveryClass(head, CATALOGUE), **options)


def results(metric: Any) -> list[float]:
    return [float(value) for value in metric.result()]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("assigned", [False, True])
def test_top_k_accuracy(several: bool, assigned: bool) -> None:
    head = perfect_head()
    metric = top_k(head, ks=(1, 2, 3, 100))
    value = [metric] if several else metric
    task = MACHRetrieval(head, metrics=None if assigned else value)
    if assigned:
        task.factorized_metrics = value
    assert list(task.factorized_metrics) == [metric]
    # Ranks of the true classes: 1, 3 and 2.
    task(QUERIES, candidate_ids=tf.constant(["a", "b", "a"]))
    np.testing.assert_allclose(results(metric), [1 / 3, 2 / 3, 1, 1])
    # One more, of rank 4 and weight 3; others have weight 1.
    task(
        QUERIES[:2],
        candidate_ids=tf.constant(["d", "d"]),
        sample_weight=tf.constant([3.0, 0.0]),
    )
    np.testing.assert_allclose(results(metric), [1 / 6, 2 / 6, 3 / 6, 1])
    task.factorized_metrics = None
    assert not task.factorized_metrics


def test_compute_metrics_is_obeyed() -> None:
    head = perfect_head()
    batch_metric, loss_metric = keras.metrics.MeanSquaredError(), keras.metrics.Mean()
    metric = top_k(head, ks=(3,))
    task = MACHRetrieval(head, None, metric, [batch_metric], [loss_metric])
    arguments = {"candidate_ids": tf.constant(["a", "b", "c"])}
    loss = task(
        QUERIES, **arguments, compute_metrics=False, compute_batch_metrics=False
    )
    assert results(metric) == [0]
    assert float(batch_metric.result()) == 0
    assert float(loss_metric.result()) == float(loss) > 0
    task(QUERIES, **arguments, compute_batch_metrics=False)
    np.testing.assert_allclose(results(metric), [2 / 3])
    assert float(batch_metric.result()) == 0
    task(QUERIES, **arguments, compute_metrics=False)
    assert float(metric.metrics[0].count) == 3
    assert float(batch_metric.result()) > 0


def test_bucket_accuracy() -> None:
    """Two repetitions of four buckets; the scores are the biases for all queries."""
    head = MACHHead(4, 2, embedding_dim=4, kernel_initializer="zeros")
    ids = tf.constant(["a", "b", "c"])
    buckets = head.bucket_ids(ids).numpy()
    bias = np.zeros((2, 4))
    bias[0, buckets[0, 0]] = 1
    bias[1, buckets[2, 1]] = 1
    head.bias.assign(bias.ravel())
    accuracy = keras.metrics.CategoricalAccuracy()
    weights = np.array([1.0, 2.0, 4.0])
    MACHRetrieval(head, batch_metrics=[accuracy])(
        QUERIES, candidate_ids=ids, sample_weight=weights
    )
    hits = np.stack([buckets[:, 0] == buckets[0, 0], buckets[:, 1] == buckets[2, 1]])
    expected = (hits.mean(axis=0) * weights).sum() / weights.sum()
    np.testing.assert_allclose(accuracy.result(), expected, rtol=1e-6)


@pytest.mark.parametrize("form", ["padded", "ragged", "all"])
def test_multilabel_counts_pairs(form: str) -> None:
    head = perfect_head()
    metric = top_k(head, ks=(1, 2, 3))
    task = MACHRetrieval(
        head,
        metrics=metric,
        objective="multilabel",
        mask_value="" if form == "padded" else None,
    )
    ids = {
        "padded": tf.constant([["a", "c"], ["", ""], ["", "a"]]),
        "ragged": tf.ragged.constant([["a", "c"], [], ["a"]]),
        "all": tf.constant([["a", "c"], ["d", "c"], ["b", "b"]]),
    }[form]
    task(QUERIES, candidate_ids=ids, sample_weight=tf.constant([1.0, 5.0, 2.0]))
    # Ranks and weights: a 1, c 3 (weight 1); d 1, c 2 (5); a 2 or b 1 twice (2).
    expected = {
        "padded": [1 / 4, 3 / 4, 1],
        "ragged": [1 / 4, 3 / 4, 1],
        "all": [10 / 16, 15 / 16, 1],
    }[form]
    np.testing.assert_allclose(results(metric), expected)


def test_extra_negatives_are_no_true_candidates() -> None:
    head = perfect_head()
    metric = top_k(head, ks=(1, 2))
    task = MACHRetrieval(head, metrics=metric, objective="in_batch")
    task(QUERIES, candidate_ids=tf.constant(["a", "d", "a", "b", "c"]))
    np.testing.assert_allclose(results(metric), [2 / 3, 1])


@pytest.mark.parametrize(
    ("objective", "options", "remedy"),
    [
        ("softmax", {}, None),
        ("softmax", {"activation": "sigmoid"}, "activation='softmax'"),
        ("softmax", {"aggregation": "mean_logit", "activation": "sigmoid"}, None),
        ("multilabel", {}, "activation='sigmoid'"),
        ("multilabel", {"activation": "sigmoid"}, None),
        ("in_batch", {}, None),
        ("in_batch", {"aggregation": "unbiased_mean"}, "aggregation='mean_logit'"),
        ("in_batch", {"aggregation": "mean_logit"}, None),
    ],
)
def test_an_index_that_ranks_otherwise_is_refused(
    objective: str, options: dict[str, Any], remedy: str | None
) -> None:
    head = MACHHead(40, 3)
    metric = tfrs.metrics.FactorizedTopK(MACH(head, **options).index(CATALOGUE))
    task = MACHRetrieval(head, objective=objective)
    if remedy is None:
        task.factorized_metrics = metric
        return
    for assign in (
        lambda: MACHRetrieval(head, metrics=metric, objective=objective),
        lambda: setattr(task, "factorized_metrics", [metric]),
    ):
        with pytest.raises(ValueError, match=f"make the index with {remedy}"):
            assign()


def test_an_index_of_another_head_is_refused() -> None:
    other = MACHHead(40, 3, name="other")
    metric = tfrs.metrics.FactorizedTopK(MACH(other).index(CATALOGUE))
    with pytest.raises(ValueError, match=r"must search with the head.*'other'"):
        MACHRetrieval(MACHHead(40, 3), metrics=metric)


def test_an_index_with_a_query_model_is_refused() -> None:
    head = MACHHead(40, 3)
    index = MACH(head, keras.layers.Dense(3)).index(CATALOGUE)
    with pytest.raises(ValueError, match="an index of the head alone"):
        MACHRetrieval(head, metrics=tfrs.metrics.FactorizedTopK(index))


def test_score_based_evaluation_is_never_asked_for() -> None:
    """An index that is not exact refuses it, and so no test above took it."""
    metric = top_k(perfect_head())
    with pytest.raises(ValueError, match="true_candidate_ids"):
        metric.update_state(QUERIES, QUERIES)


class Model(tfrs.Model):
    def __init__(self, task: Any) -> None:
        super().__init__()
        self.query_model = keras.layers.Lambda(lambda x: x)
        self.task = task

    def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
        return self.task(
            self.query_model(features["query"]), candidate_ids=features["id"]
        )


def test_model_shows_every_metric_once_and_resets_it_each_epoch() -> None:
    head = perfect_head()
    task = MACHRetrieval(
        head,
        metrics=top_k(head, ks=(1, 3)),
        batch_metrics=[keras.metrics.CategoricalAccuracy(name="bucket_accuracy")],
        loss_metrics=[keras.metrics.Mean(name="mean_loss")],
    )
    model = Model(task)
    model.compile(keras.optimizers.SGD(0.0))
    data = tf.data.Dataset.from_tensor_slices(
        {"query": QUERIES, "id": tf.constant(["a", "b", "a"])}
    ).batch(2)
    history = model.fit(data, epochs=3, verbose=0).history
    names = [
        "factorized_top_k/top_1_categorical_accuracy",
        "factorized_top_k/top_3_categorical_accuracy",
        "bucket_accuracy",
        "mean_loss",
    ]
    shown = [metric.name for metric in model.metrics]
    assert sorted(shown) == sorted(names)
    for name, value in zip(names, [1 / 3, 1, 1 / 3], strict=False):
        np.testing.assert_allclose(history[name], [value] * 3, rtol=1e-6)
    # Each epoch is the same: nothing of the one before is left.
    assert history["mean_loss"][0] == history["mean_loss"][2] > 0
    logs = model.evaluate(data, return_dict=True, verbose=0)
    np.testing.assert_allclose(logs["bucket_accuracy"], 1 / 3, rtol=1e-6)


def test_metrics_assigned_after_training() -> None:
    """As TFRS's users do who do not want them in training."""
    head = perfect_head()
    model = Model(MACHRetrieval(head))
    model.compile(keras.optimizers.SGD(0.0))
    data = tf.data.Dataset.from_tensor_slices(
        {"query": QUERIES, "id": tf.constant(["a", "b", "a"])}
    ).batch(2)
    assert "factorized_top_k/top_1" not in str(model.fit(data, verbose=0).history)
    model.task.factorized_metrics = top_k(head, ks=(1,))
    model.compile()
    logs = model.evaluate(data, return_dict=True, verbose=0)
    np.testing.assert_allclose(
        logs["factorized_top_k/top_1_categorical_accuracy"], 1 / 3, rtol=1e-6
    )
    assert len(model.metrics) == 1
