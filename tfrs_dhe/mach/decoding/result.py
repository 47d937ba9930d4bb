"""What decoding answers."""

from typing import NamedTuple

import tensorflow as tf


class TopK(NamedTuple):
    """The k best classes of each query, the best first.

    Of classes with equal scores the one with the smaller number comes first.

    Attributes:
      scores: tf.float32 [Q, k], as `tfrs_dhe.mach.combine` gives them.
      classes: tf.int32 [Q, k], columns of the table of buckets.
      num_scored: tf.int32 [Q], how many classes were scored to find them.
    """

    scores: tf.Tensor
    classes: tf.Tensor
    num_scored: tf.Tensor
