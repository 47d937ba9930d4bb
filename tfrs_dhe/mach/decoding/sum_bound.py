"""The bound for means of probabilities."""

import tensorflow as tf

from tfrs_dhe.mach.decoding.bound import Bound
from tfrs_dhe.mach.decoding.rounding import TINY, UNIT_32, UNIT_64, sum_of_mean

#: How far the threshold lies below the highest one that proves anything, as a share
#: of it. The lower it is, the more buckets are listed and the fewer classes remain to
#: be scored.
LOWER = 0.45
#: Stands for infinity where that would hide the rest of a sum.
MUCH = 1e9


class SumBound(Bound):
    """Adds up how far the values of a class exceed the thresholds.

    With M_r the greatest value of repetition r, and v_r the values of a class,

    ```
    sum_r v_r <= sum_r min(t_r, M_r) + sum_{r: v_r >= t_r} (v_r - t_r),
    ```

    as v_r is either at least t_r, or at most t_r and M_r. The second sum is that of
    the class's weights.

    Rounding, with u = 2^-24: the score's R - 1 additions in float32 are off by at
    most (R - 1) u sum |v_r|, to first order. A class whose values sum to s_T has
    sum |v_r| <= 2 P + |s_T|, where P = sum_r max(M_r, 0). From there to the score
    are products with rounded constants and for the unbiased mean a subtraction,
    `(s / R - 1 / B) B / (B - 1)`; in terms of s, off by at most 8 u (|s| + R / B).
    Each of these steps keeps the order of what it is applied to, or makes it equal.
    The bound itself is computed in float64; its terms are at most P and
    A = sum_r |min(t_r, M_r)|. Twice the sum of it all,

    ```
    2 (R + 8) (u (2 P + |s_T| + R / B) + 2^-53 (P + 2 A)),
    ```

    is what a class is granted, and a bit more for numbers so small that they count
    as zero. That stays a tiny part of T, so it costs nothing.

    Args:
      values: tf.float32 [R, B].
    """

    def __init__(self, values: tf.Tensor) -> None:
        self.values = values
        self.num_repetitions, self.num_buckets = values.shape
        self.maxima = tf.reduce_max(values, axis=1)
        self.average = tf.cast(tf.reduce_mean(values), tf.float64)

    def thresholds(self, score: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        """Returns one threshold for all."""
        highest = self._highest_threshold(score)
        lowered = tf.cast(highest - LOWER * tf.abs(highest), level.dtype)
        threshold = tf.maximum(lowered, level)
        threshold = tf.where(score > float("-inf"), threshold, level)
        # Values of -inf never reach a threshold, so weights are numbers.
        threshold = tf.maximum(threshold, tf.float32.min)
        return tf.fill([self.num_repetitions], threshold)

    def weights(self, values: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
        """Returns how far values exceed the thresholds."""
        return tf.cast(values, tf.float64) - tf.cast(thresholds, tf.float64)

    def needed(self, score: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
        """Returns how far the sum for T exceeds that of a class without weights."""
        maxima = tf.cast(self.maxima, tf.float64)
        unseen = tf.minimum(tf.cast(thresholds, tf.float64), maxima)
        wanted = self._sum_for(score)
        positive = tf.reduce_sum(tf.maximum(maxima, 0.0))
        error_32 = UNIT_32 * (
            2 * positive + tf.abs(wanted) + self.num_repetitions / self.num_buckets
        )
        error_64 = UNIT_64 * (positive + 2 * tf.reduce_sum(tf.abs(unseen)))
        grant = 2 * (self.num_repetitions + 8) * (error_32 + error_64 + TINY)
        needed = wanted - tf.reduce_sum(unseen) - grant
        return tf.where(score > float("-inf"), needed, 0.0)

    def promise(
        self, sums: tf.Tensor, counts: tf.Tensor, thresholds: tf.Tensor
    ) -> tf.Tensor:
        """Returns how far the sum for a class exceeds the average, as far as is known.

        Where a class's value does not reach the threshold, the average is expected.
        Its sum of weights alone would prefer classes that share one very likely
        bucket with another class.
        """
        above = tf.cast(tf.reduce_mean(thresholds), tf.float64) - self.average
        return sums + tf.cast(counts, tf.float64) * tf.minimum(above, MUCH)

    def _sum_for(self, score: tf.Tensor) -> tf.Tensor:
        """Returns s_T, the sum of values that makes a score."""
        return sum_of_mean(score, self.num_repetitions, self.num_buckets)

    def _highest_threshold(self, score: tf.Tensor) -> tf.Tensor:
        """Returns the greatest t with sum_r min(t, M_r) <= s_T.

        `sum_r min(t, M_r)` is the least of `M_(1) + ... + M_(j) + (R - j) t`, with
        the maxima in ascending order. So t may be as high as any of these allows.
        """
        maxima = tf.sort(tf.cast(self.maxima, tf.float64))
        below = tf.cumsum(maxima, exclusive=True)
        rest = tf.range(self.num_repetitions, 0, -1, dtype=tf.float64)
        return tf.reduce_max((self._sum_for(score) - below) / rest)
