"""What rounding may do to scores, and to bounds for them."""

import tensorflow as tf

#: Greatest relative error of one operation in float32 and in float64.
UNIT_32 = 2.0**-24
UNIT_64 = 2.0**-53
#: TensorFlow takes numbers of float32 below 2^-126 for zero. Some of these errors.
TINY = 2.0**-120


def sum_of_mean(score: tf.Tensor, num_repetitions: int, num_buckets: int) -> tf.Tensor:
    """Returns the sum of probabilities that makes an unbiased mean, in float64."""
    share = 1 / num_buckets
    return (tf.cast(score, tf.float64) * (1 - share) + share) * num_repetitions
