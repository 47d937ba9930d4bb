"""Quantized heads against the heads they are made of."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.layers import MACHHead, QuantizedMACHHead
from tfrs_dhe.layers.factorized_top_k import MACH

IDS = np.array([f"item-{i}" for i in range(200)], dtype=object)
GENERATOR = np.random.default_rng(3)
QUERIES = GENERATOR.normal(size=(50, 24)).astype(np.float32)


def make(**options: Any) -> MACHHead:
    head = MACHHead(32, 6, embedding_dim=24, seed=5, **options)
    generator = np.random.default_rng(4)
    for weight in head.trainable_weights:
        weight.assign(generator.normal(size=weight.shape))
    # Rows of very different lengths, one of them of nothing.
    lengths = np.logspace(-6, 2, len(head.kernel.numpy()))
    lengths[7] = 0
    head.kernel.assign(head.kernel.numpy() * lengths[:, np.newaxis])
    return head


def reference(head: MACHHead) -> np.ndarray:
    """Returns the head's logits of the queries in float64."""
    logits = QUERIES.astype(np.float64) @ head.kernel.numpy().astype(np.float64).T
    return (logits + head.bias.numpy()).reshape(-1, 6, 32)


def rounding(head: MACHHead) -> np.ndarray:
    """Returns what a sum of 24 float32 products and a bias may be off by."""
    terms = np.abs(QUERIES) @ np.abs(head.kernel.numpy()).T + np.abs(head.bias.numpy())
    return (28 * 2.0**-24 * terms).reshape(-1, 6, 32)


def half_steps(head: MACHHead) -> np.ndarray:
    """Returns the bound of the logits' errors, from the rows of the plain head."""
    steps = np.abs(head.kernel.numpy()).max(axis=1) / 127
    lengths = np.abs(QUERIES).sum(axis=1, keepdims=True)
    return (lengths * steps / 2).reshape(-1, 6, 32)


def test_logits_are_within_half_a_step() -> None:
    head = make()
    served = head.quantized()
    bound = half_steps(head)
    for call in (served, tf.function(served)):
        error = np.abs(call(QUERIES) - reference(head))
        assert np.all(error <= bound + 2 * rounding(head))
    np.testing.assert_allclose(served.logit_error(QUERIES), bound, rtol=1e-5)
    # It is no copy in float32, either.
    assert np.any(np.abs(served(QUERIES) - reference(head)) > bound / 20)


def test_rows_take_a_quarter() -> None:
    head = make()
    served = head.quantized()
    assert isinstance(served, QuantizedMACHHead)
    dtypes = {
        tf.as_dtype(weight.dtype): tuple(weight.shape)
        for weight in (served.kernel, served.scales)
    }
    assert dtypes == {tf.int8: (192, 24), tf.float32: (192,)}
    assert len(served.weights) == 3  # And the biases.
    assert not served.trainable_weights


@pytest.mark.parametrize("balanced", [False, True])
def test_classes_are_in_the_same_buckets(balanced: bool) -> None:
    head = make(balanced=balanced, repetitions=[4, 1, 0, 2, 3, 5])
    if balanced:
        head.balance(IDS)
    served = head.quantized()
    np.testing.assert_array_equal(served.bucket_ids(IDS), head.bucket_ids(IDS))
    np.testing.assert_array_equal(served.bucket_table(IDS), head.bucket_table(IDS))


def test_scores_of_an_index_are_within_the_mean_of_half_steps() -> None:
    head = make()
    served = head.quantized()
    index, plain = (
        MACH(each, k=len(IDS), aggregation="mean_logit").index(IDS)
        for each in (served, head)
    )
    actual, expected = by_id(index(QUERIES)), by_id(plain(QUERIES))
    table = head.bucket_table(IDS)
    bound = half_steps(head) + 2 * rounding(head)
    of_classes = np.mean([bound[:, r, table[r]] for r in range(6)], axis=0)
    # Scores are sums of six logits once more.
    of_classes += 8 * 2.0**-24 * np.abs(reference(head)).max()
    assert np.all(np.abs(actual - expected) <= of_classes)


def by_id(results: Any) -> np.ndarray:
    """Returns the scores [num_queries, num_classes] in the order of the ids."""
    scores, identifiers = (np.asarray(x) for x in results)
    numbers = np.vectorize(lambda id_: int(id_.decode()[5:]))(identifiers)
    return np.take_along_axis(scores, np.argsort(numbers, axis=1), axis=1)


def test_class_embeddings_and_scores_are_those_of_the_rounded_rows() -> None:
    served = make().quantized()
    rows = served.kernel.numpy() * served.scales.numpy()[:, np.newaxis]
    numbers = served.bucket_ids(IDS).numpy() + 32 * np.arange(6)
    expected = rows[numbers].sum(axis=1)
    scale = np.abs(rows).max()
    np.testing.assert_allclose(
        served.class_embeddings(IDS), expected, rtol=0, atol=1e-6 * scale
    )
    biases = served.bias.numpy()[numbers].sum(axis=1)
    np.testing.assert_allclose(
        served.class_scores(QUERIES, IDS),
        QUERIES @ expected.T + biases,
        rtol=0,
        atol=1e-4 * scale,
    )


def test_is_a_copy() -> None:
    head = make()
    served = head.quantized()
    before = served(QUERIES).numpy()
    head.kernel.assign(head.kernel.numpy() + 1)
    np.testing.assert_array_equal(served(QUERIES), before)


def test_what_goes_before_training_is_an_error() -> None:
    served = make(balanced=True).quantized()
    with pytest.raises(ValueError, match="`balance` goes before training"):
        served.balance(IDS)
    with pytest.raises(ValueError, match="`initialize_bias` goes before training"):
        served.initialize_bias(IDS, np.ones(len(IDS)))


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="`bits` must be 8"):
        make().quantized(bits=4)
    with pytest.raises(ValueError, match="`quantized` rounds the weights of a head"):
        MACHHead(5, 2).quantized()
