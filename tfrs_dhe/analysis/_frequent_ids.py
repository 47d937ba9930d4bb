"""The most frequent ids of a stream, and how many of them stay so by chance."""

import math

import numpy as np
import tensorflow as tf

from tfrs_dhe.analysis.id_sketch import IdSketch


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

    Counts of a sample vary by chance as well, with a variance that is their mean
    (Poisson). They are drawn towards their mean by as much, so that what is left of
    equally frequent ids is equal, and two samples are made of it. A flat rest below a
    few heads keeps its noise, as the heads' variance hides it: where most of the k ids
    are of the rest, the average is too large, by some 0.1 for samples of equal size.

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
    """
    mean = np.average(counts, weights=weights)
    variance = np.average((counts - mean) ** 2, weights=weights)
    kept = math.sqrt(max(1 - mean / variance, 0.0)) if variance else 0.0
    means = mean + kept * (counts - mean)
    first, second = (_chosen(means * f, weights, size) for f in (1.0, factor))
    return float(weights @ (first * second) / size)


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
