"""Which pairs of buckets a class needs one of, where scores are sums of logarithms."""

import numpy as np
import tensorflow as tf

from tfrs_dhe.mach.decoding.rounding import TINY, UNIT_32, UNIT_64


class PairBound:
    """A level that two values of each class in the top k reach on average.

    Repetitions are taken two by two, and the last one by itself if R is odd. With v_r
    the values of a class, S_g the sum of the values of the n_g repetitions of group g,
    and M_g the greatest sum that two buckets of it have: if S_g < n_g t for all g, then

    ```
    sum_r v_r = sum_g S_g <= sum_g min(n_g t, M_g),
    ```

    and if that is less than the sum for a score of T, the class has no such score.
    So of every other class some S_g is at least n_g t, and so one value of the group at
    least t.

    Rounding, with u = 2^-24: the score's R - 1 additions in float32 are off by at
    most (R - 1) u sum |v_r|, to first order. A class whose values sum to s_T has
    sum |v_r| <= 2 P + |s_T|, where P = sum_r max(M_r, 0) with M_r the greatest value
    of a repetition. From there to the score is a product with a rounded constant; in
    terms of s, off by at most 8 u |s|. It keeps the order of what it is applied to, or
    makes it equal. The level and what follows from it are computed in
    float64 from numbers of at most A = |s_T| + sum_r |M_r|, with fewer than 8 R
    operations. Twice the sum of it all,

    ```
    2 (R + 8) (u (2 P + |s_T|) + 2^-53 8 A),
    ```

    is what a class is granted, and a bit more for numbers so small that they count
    as zero. That stays a tiny part of T, so it costs nothing.

    Args:
      values: tf.float32 [R, B].
      aggregation: `"mean_log_probability"` or `"mean_logit"`.
    """

    def __init__(self, values: tf.Tensor, aggregation: str) -> None:
        self.values = values
        self.aggregation = aggregation
        self.num_repetitions = values.shape[0]
        # Finite, so that the rest can be calculated where nothing is proven anyway.
        maxima = tf.maximum(tf.reduce_max(values, axis=1), tf.float32.min)
        self.maxima = tf.cast(maxima, tf.float64)
        # Logits of a repetition may all be shifted, which says nothing.
        self.shifts = (
            self.maxima if aggregation == "mean_logit" else tf.zeros_like(self.maxima)
        )

    def thresholds(self, score: tf.Tensor) -> tf.Tensor:
        """Returns the highest level for T as a number for each repetition, shifted.

        `sum_g min(n_g t, M_g)` is the least of `M_(1) + ... + M_(j) + n t`, with the
        groups in ascending order of M_g / n_g, and n the repetitions of the groups
        after the first j. So t may be as high as any of these allows.

        Args:
          score: T, tf.float32, greater than -inf.

        Returns:
          tf.float64 [R].
        """
        numbers = np.arange(self.num_repetitions) // 2
        sizes = tf.constant(np.bincount(numbers), tf.float64)
        maxima = tf.math.segment_sum(self.maxima - self.shifts, numbers)
        order = tf.argsort(maxima / sizes)
        maxima, sizes = tf.gather(maxima, order), tf.gather(sizes, order)
        below = tf.cumsum(maxima, exclusive=True)
        rest = tf.cumsum(sizes, reverse=True)
        wanted = tf.cast(score, tf.float64) * self.num_repetitions
        room = wanted - self._grant(wanted) - tf.reduce_sum(self.shifts)
        return tf.reduce_max((room - below) / rest) + self.shifts

    def comparable(self) -> tf.Tensor:
        """Returns the values [R, B], less their shifts."""
        if self.aggregation == "mean_logit":
            return self.values - tf.cast(self.shifts, tf.float32)[:, tf.newaxis]
        return self.values

    def _grant(self, wanted: tf.Tensor) -> tf.Tensor:
        """Returns what rounding may take from a sum of s_T."""
        positive = tf.reduce_sum(tf.maximum(self.maxima, 0.0))
        size = tf.abs(wanted)
        error_32 = UNIT_32 * (2 * positive + size)
        error_64 = UNIT_64 * 8 * (size + tf.reduce_sum(tf.abs(self.maxima)))
        return 2 * (self.num_repetitions + 8) * (error_32 + error_64 + TINY)
