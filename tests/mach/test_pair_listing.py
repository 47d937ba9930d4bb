"""Classes found by pairs of buckets against a search of all classes."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.mach.decoding import build_inverse_lists, partner_buckets
from tfrs_dhe.mach.decoding.high_values import group_maxima, high_values, level
from tfrs_dhe.mach.decoding.pair_listing import find, plan
from tfrs_dhe.mach.decoding.pair_search import two_that_reach
from tfrs_dhe.mach.decoding.partners import Partners

NUM_CLASSES, NUM_BUCKETS, NUM_REPETITIONS = 30_000, 50, 5
PARTNERS = [1, 0, 3, 2, 4]


def make_table(rng: np.random.Generator, power: int) -> np.ndarray:
    """Buckets [R, K], the less even the higher the power."""
    shares = rng.random((NUM_REPETITIONS, NUM_CLASSES)) ** power
    return (NUM_BUCKETS * shares).astype(np.uint16)


@pytest.mark.parametrize("power", [1, 4])
@pytest.mark.parametrize("num_high", [0, 12])
@pytest.mark.parametrize("keeps_partners", [False, True])
def test_finds_the_classes_whose_two_values_reach_their_thresholds(
    power: int, num_high: int, keeps_partners: bool
) -> None:
    rng = np.random.default_rng(power)
    table = make_table(rng, power)
    values = rng.normal(size=(NUM_REPETITIONS, NUM_BUCKETS)).astype(np.float32)
    buckets = tf.constant(table)
    lists = build_inverse_lists(buckets, NUM_BUCKETS)
    of_members = partner_buckets(buckets, lists) if keeps_partners else None
    partners = Partners(buckets, lists.members, of_members)
    thresholds = rng.uniform(1.0, 1.3, NUM_REPETITIONS)

    wanted = two_that_reach(tf.constant(values), tf.constant(thresholds))
    floors = np.sort(values)[:, -num_high] if num_high else np.full(5, np.inf)
    high = high_values(tf.constant(values), tf.constant(floors, tf.float32), num_high)
    reading = plan(wanted, lists, high)
    # Some lists are read, and with enough of the partners known some pairs looked up.
    assert not reading.looked_up.numpy().all()
    assert (len(reading.pairs) > 0) == (num_high > 0)
    found = find(wanted, reading, tf.constant(True), values, lists, partners, high)

    expected = set()
    for r, other in enumerate(PARTNERS):
        of_classes = values[r, table[r]].astype(np.float64)
        of_partners = values[other, table[other]].astype(np.float64)
        both = of_classes + of_partners >= thresholds[r] + thresholds[other]
        expected |= set(np.where((of_classes >= thresholds[r]) & both)[0])
    assert set(found.numpy().tolist()) == expected
    found = find(wanted, reading, tf.constant(False), values, lists, partners, high)
    assert len(found) == 0


@pytest.mark.parametrize("number", [1, 3, 50, 70])
def test_at_least_so_many_values_reach_the_level(number: int) -> None:
    values = np.random.default_rng(number).normal(size=(3, 500)).astype(np.float32)
    maxima = group_maxima(tf.constant(values), number)
    reaching = (values >= level(maxima, 3 * number).numpy()).sum()
    assert 3 * number <= reaching <= 2 * 3 * number
    assert level(maxima, 1501).numpy() == -np.inf


@pytest.mark.parametrize("value", [0.0, -np.inf])
def test_nothing_is_called_complete_of_values_that_are_all_alike(value: float) -> None:
    values = tf.fill([2, 40], value)
    high = high_values(values, tf.fill([2], value), 3)
    assert high.values.shape == (2, 6)
    np.testing.assert_array_equal(high.floors, [np.inf, np.inf])
