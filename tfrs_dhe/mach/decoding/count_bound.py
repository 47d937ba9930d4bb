"""The bound for aggregations that pick a value: min and median."""

import tensorflow as tf

#: Values that a class needs in the repetitions looked at, where a choice exists:
#: one leaves many classes to score, all of them many buckets to list.
ENOUGH = 3


class CountBound:
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
        """Returns T where few buckets reach it, else inf; or the level in all rows.

        Args:
          score: T, tf.float32; -inf if no score is known yet.
          level: tf.float32, the least that is looked at.

        Returns:
          tf.float32 [R].
        """
        reaching = tf.math.count_nonzero(self.values >= score, axis=1)
        fewest_first = tf.argsort(tf.argsort(reaching))
        spare = self.num_required - min(ENOUGH, self.num_required)
        chosen = fewest_first < self.num_repetitions - spare
        cheapest = tf.where(chosen, score, float("inf"))
        return tf.where(score >= level, cheapest, level)

    def needed(self, score: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
        """Returns how many values must reach T in the repetitions looked at.

        Args:
          score: T, tf.float32.
          thresholds: tf.float32 [R].

        Returns:
          tf.int32; not above 0 if a class may reach T without any of them.
        """
        looked_at = thresholds < float("inf")
        all_seen = tf.reduce_all((thresholds <= score) | ~looked_at)
        not_seen = tf.math.count_nonzero(~looked_at, dtype=tf.int32)
        return tf.where(all_seen, self.num_required - not_seen, 0)
