"""The bound for aggregations that pick a value: min and median."""

import tensorflow as tf

from tfrs_dhe.mach.decoding.bound import Bound

#: Values that a class needs in the repetitions looked at, where a choice exists:
#: one leaves many classes to score, all of them many buckets to list.
ENOUGH = 3


class CountBound(Bound):
    """Counts the values of a class that reach T.

    A minimum reaches T if all R values do. A median reaches T only if R / 2 of
    them do, rounded up: for an even R, the mean of the two values in the middle is
    no more than the greater one. These are comparisons, so nothing is rounded but
    that mean, which is at most the greater value also as it is computed.

    If h of R values must reach T, then of any s repetitions at least h - (R - s)
    do. So it is enough to look at the s with the fewest buckets that reach T.

    Args:
      values: tf.float32 [R, B].
      aggregation: `"min"` or `"median"`.
    """

    def __init__(self, values: tf.Tensor, aggregation: str) -> None:
        self.values = values
        self.num_repetitions = values.shape[0]
        self.num_required = (
            self.num_repetitions if aggregation == "min" else -(-values.shape[0] // 2)
        )

    def thresholds(self, score: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        """Returns T where few buckets reach it, else inf; or the level in all rows."""
        reaching = tf.math.count_nonzero(self.values >= score, axis=1)
        fewest_first = tf.argsort(tf.argsort(reaching))
        spare = self.num_required - min(ENOUGH, self.num_required)
        chosen = fewest_first < self.num_repetitions - spare
        cheapest = tf.where(chosen, score, float("inf"))
        return tf.where(score >= level, cheapest, level)

    def weights(self, values: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
        """Returns ones: the sum of weights is a count."""
        return tf.ones_like(values, tf.float64)

    def needed(self, score: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
        """Returns how many values must reach T in the repetitions looked at."""
        looked_at = thresholds < float("inf")
        all_seen = tf.reduce_all((thresholds <= score) | ~looked_at)
        not_seen = tf.math.count_nonzero(~looked_at)
        needed = self.num_required - tf.cast(not_seen, tf.float64)
        return tf.where(all_seen, needed, 0.0)

    def promise(
        self, sums: tf.Tensor, counts: tf.Tensor, thresholds: tf.Tensor
    ) -> tf.Tensor:
        """Returns the counts."""
        return sums
