"""The bound for aggregations that are sums: the means of values."""

import tensorflow as tf

from tfrs_dhe.mach.decoding.bound import Bound

#: Greatest relative error of one operation in float32 and in float64.
UNIT_32 = 2.0**-24
UNIT_64 = 2.0**-53
#: TensorFlow takes numbers of float32 below 2^-126 for zero. Some of these errors.
TINY = 2.0**-120

#: How far the thresholds lie below the highest ones that prove anything. The lower
#: they are, the more buckets are listed and the fewer classes remain to be scored.
#: Measured as shares of the probability, and of the room above it in log values.
LOWER_PROBABILITY = 0.45
LOWER_LOG = 0.13
LOWER_LOG_AT_MOST = 0.3


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
      aggregation: `"unbiased_mean"`, `"mean_log_probability"` or `"mean_logit"`.
    """

    def __init__(self, values: tf.Tensor, aggregation: str) -> None:
        self.values = values
        self.aggregation = aggregation
        self.num_repetitions, self.num_buckets = values.shape
        self.maxima = tf.reduce_max(values, axis=1)
        # Logits of a repetition may all be shifted, which says nothing.
        self.shifts = (
            tf.maximum(self.maxima, tf.float32.min)
            if aggregation == "mean_logit"
            else tf.zeros_like(self.maxima)
        )

    def comparable(self) -> tf.Tensor:
        """Returns the values, less their repetition's greatest if they are logits."""
        if self.aggregation == "mean_logit":
            return self.values - self.shifts[:, tf.newaxis]
        return self.values

    def thresholds(self, score: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        """Returns one threshold for all, shifted as the values are."""
        highest = self._highest_threshold(score)
        threshold = tf.maximum(
            tf.cast(self._lowered(highest, score), level.dtype), level
        )
        threshold = tf.where(score > float("-inf"), threshold, level)
        # Values of -inf never reach a threshold, so weights are numbers.
        return tf.maximum(threshold + self.shifts, tf.float32.min)

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

    def _sum_for(self, score: tf.Tensor) -> tf.Tensor:
        """Returns s_T, the sum of values that makes a score."""
        score = tf.cast(score, tf.float64)
        if self.aggregation == "unbiased_mean":
            rest = 1 / self.num_buckets
            score = score * (1 - rest) + rest
        return score * self.num_repetitions

    def _highest_threshold(self, score: tf.Tensor) -> tf.Tensor:
        """Returns the greatest t with sum_r min(t, M_r) <= s_T, of shifted values.

        `sum_r min(t, M_r)` is the least of `M_(1) + ... + M_(j) + (R - j) t`, with
        the maxima in ascending order. So t may be as high as any of these allows.
        """
        maxima = tf.sort(tf.cast(self.maxima - self.shifts, tf.float64))
        below = tf.cumsum(maxima, exclusive=True)
        rest = tf.range(self.num_repetitions, 0, -1, dtype=tf.float64)
        room = self._sum_for(score) - tf.reduce_sum(tf.cast(self.shifts, tf.float64))
        return tf.reduce_max((room - below) / rest)

    def _lowered(self, threshold: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
        """Returns a threshold lowered to where listing and scoring cost the least."""
        if self.aggregation == "unbiased_mean":
            return threshold - LOWER_PROBABILITY * tf.abs(threshold)
        highest = tf.reduce_sum(tf.cast(self.maxima, tf.float64))
        room = (highest - self._sum_for(score)) / self.num_repetitions
        return threshold - tf.clip_by_value(LOWER_LOG * room, 0.0, LOWER_LOG_AT_MOST)
