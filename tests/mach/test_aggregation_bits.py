"""Scores have the same bits wherever they are computed; the decoders rely on it."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import mach
from tfrs_dhe.mach.aggregation import AGGREGATIONS

# From 10 on, TensorFlow's graph optimizer would add in an order of its own, and with
# most of these it would divide by multiplying.
NUM_REPETITIONS = (1, 2, 3, 7, 10, 16, 33)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_graphs_and_eager_mode_give_the_same_bits(aggregation: str) -> None:
    rng = np.random.default_rng(0)
    for num_repetitions in NUM_REPETITIONS:
        values = tf.constant(rng.random((num_repetitions, 5000), np.float32) ** 4)
        in_graph = tf.function(mach.combine, autograph=False)
        np.testing.assert_array_equal(
            in_graph(values, aggregation, 100), mach.combine(values, aggregation, 100)
        )


def test_means_are_sums_in_order() -> None:
    rng = np.random.default_rng(1)
    for num_repetitions in NUM_REPETITIONS:
        values = rng.random((num_repetitions, 5000), np.float32) ** 4
        total = values[0]
        for row in values[1:]:
            total = total + row
        np.testing.assert_array_equal(
            mach.combine(tf.constant(values), "mean_logit", 100),
            total * np.float32(1 / num_repetitions),
        )


@pytest.mark.parametrize("num_repetitions", range(1, 13))
def test_medians_of_all_rows_of_zeros_and_ones(num_repetitions: int) -> None:
    """A sorting network that sorts these sorts everything (Knuth 5.3.4, theorem Z)."""
    numbers = np.arange(2**num_repetitions)
    rows = (numbers >> np.arange(num_repetitions)[:, np.newaxis] & 1).astype(np.float32)
    np.testing.assert_array_equal(
        mach.combine(tf.constant(rows), "median", 2), np.median(rows, axis=0)
    )


@pytest.mark.parametrize("num_repetitions", [16, 31, 32, 64])
def test_medians_of_many_repetitions(num_repetitions: int) -> None:
    rows = np.random.default_rng(2).normal(size=(num_repetitions, 3000))
    rows = rows.astype(np.float32)
    middle = np.sort(rows, axis=0)[
        (num_repetitions - 1) // 2 : num_repetitions // 2 + 1
    ]
    expected = middle[0] if num_repetitions % 2 else (middle[0] + middle[1]) / 2
    np.testing.assert_array_equal(
        mach.combine(tf.constant(rows), "median", 2), expected
    )
