"""The most frequent ids of a stream, and how many of them stay so by chance."""

import math

import numpy as np
import tensorflow as tf

from tfrs_dhe.analysis.id_sketch import IdSketch

#: Between the roots of the means that ids may have: a quarter of what they vary by.
_GRID_STEP = 0.125
#: Means below 1, which is the least count.
_RARE_MEANS = (0.25, 0.5)
#: Of expectation and maximization. With more, figures change by less than .01.
_NUM_ROUNDS = 500


def occurrences(sketch: IdSketch, keys: np.ndarray) -> np.ndarray:
    """Returns how often keys occur: exactly if all ids are held, else at most."""
    sample = sketch.sample
    if sample.level or not len(sample.keys):
        return sketch.counts.estimate(keys)
    at = np.searchsorted(sample.keys, keys).clip(max=len(sample.keys) - 1)
    return np.where(sample.keys[at] == keys, sample.counts[at], 0)


def most_frequent(sketch: IdSketch, size: int) -> np.ndarray:
    """Returns keys by falling counts: those that no other id is ahead of for certain.

    Args:
      sketch: Of the stream.
      size: How many at most.

    Returns:
      int64 [n]. Where not all ids were held, an id belongs there if it occurs more
      often than one that was dropped may: in a flat stream none does.
    """
    if not sketch.sample.level:
        keys, counts = sketch.sample.keys, sketch.sample.counts
    else:
        keys = sketch.heavy.keys
        counts = occurrences(sketch, keys)
        certain = counts > sketch.heavy.error
        keys, counts = keys[certain], counts[certain]
    # Of equal counts the smaller key is first.
    chosen: np.ndarray = keys[np.lexsort((keys, -counts))[:size]]
    return chosen


def expected_overlap(
    counts: np.ndarray, weights: np.ndarray, factor: float, size: int
) -> float:
    """Returns which share of the most frequent ids two samples have in common.

    The first sample says how frequent ids are, but its counts vary by chance as well
    (Poisson), and equally frequent ids have different ones. So the means are looked for
    that make such counts likeliest, and two samples of these are compared. Of ids that
    are nearly equally frequent, something of the first sample's chance is taken for a
    difference: the average is too large then, by some .03.

    Example:
    >>> flat, skewed, weights = np.full(1000, 50.0), 1e6 / np.r_[1:1001], np.ones(1000)
    >>> round(expected_overlap(flat, weights, factor=0.1, size=100), 2)
    0.1
    >>> expected_overlap(skewed, weights, factor=0.1, size=100) > 0.95
    True

    Args:
      counts: Of ids in the first sample, the reference [v].
      weights: How many ids have each [v].
      factor: Size of the second sample over that of the first.
      size: k, how many of the most frequent ids of each are compared.

    Returns:
      The average of the share.

    References:
      Laird, "Nonparametric Maximum Likelihood Estimation of a Mixing Distribution",
      Journal of the American Statistical Association 73, 1978.
    """
    means, numbers = _means(counts, weights)
    first, second = (_chosen(means * f, numbers, size) for f in (1.0, factor))
    return float(numbers @ (first * second) / size)


def _means(counts: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means [m] of Poisson counts, and how many ids have each.

    Any number of ids may have any mean of a grid. Their numbers are those of the
    greatest likelihood, by expectation and maximization. Ids that did not occur are not
    among the counts, so each count is one of those that are not 0; the ids that were
    missed are added.

    Args:
      counts: At least 1 [v].
      weights: How many ids have each [v].
    """
    counts, weights = np.asarray(counts, float), np.asarray(weights, float)
    # Roots of counts have the same deviation everywhere, 1 / 2.
    _, group = np.unique(np.rint(np.sqrt(counts) / _GRID_STEP), return_inverse=True)
    numbers = np.bincount(group, weights)
    means = np.bincount(group, weights * counts) / numbers
    # Ids that occurred once may be far rarer than that.
    means = np.append(_RARE_MEANS, means)
    numbers = np.append(np.full(len(_RARE_MEANS), weights.sum() / len(means)), numbers)
    observed = -np.expm1(-means)
    logarithms = counts[:, np.newaxis] * np.log(means) - means - np.log(observed)
    # Factors that all of a row have change nothing.
    chances = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    for _ in range(_NUM_ROUNDS):
        numbers = numbers * ((weights / (chances @ numbers)) @ chances)
    return means, numbers / observed


def _chosen(means: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Returns the probabilities [v] that ids are among the `size` most frequent."""

    def reach(count: int) -> np.ndarray:
        chances: np.ndarray = tf.math.igamma(
            tf.constant(count, tf.float64), tf.constant(means, tf.float64)
        ).numpy()
        return chances

    # The largest count that more ids reach than are chosen. Who does not occur is not
    # chosen, even if there is room.
    low, high = 1, int(means.max() + 10 * math.sqrt(means.max()) + 10)
    while high - low > 1:
        middle = (low + high) // 2
        if weights @ reach(middle) > size:
            low = middle
        else:
            high = middle
    at_least, more = reach(low), reach(low + 1)
    # Chance chooses among those of this very count.
    equal = at_least - more
    room, wanted = size - float(weights @ more), float(weights @ equal)
    return more + equal * (room / wanted if wanted > room else 1.0)
