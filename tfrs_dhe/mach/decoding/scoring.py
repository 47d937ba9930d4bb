"""Scores of some classes of one query, and the best of them."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach import aggregation as aggregations
from tfrs_dhe.mach.decoding.sizes import Size


class Answer(NamedTuple):
    """The top k of one query, if it is proven.

    Attributes:
      scores: tf.float32 [k].
      classes: tf.int32 [k].
      num_scored: tf.int32.
      proven: tf.bool; if False, scores and classes mean nothing.
    """

    scores: tf.Tensor
    classes: tf.Tensor
    num_scored: tf.Tensor
    proven: tf.Tensor


def score_classes(
    values: tf.Tensor, buckets: tf.Tensor, classes: tf.Tensor, aggregation: str
) -> tf.Tensor:
    """Returns the scores [n] of given classes for one query [R, B]."""
    num_repetitions, num_buckets = values.shape
    rows = tf.cast(tf.gather(buckets, classes, axis=1), tf.int32)
    of_classes = tf.gather(values, rows, batch_dims=1)
    return aggregations.combine(
        tf.unstack(of_classes, num_repetitions), aggregation, num_buckets
    )


def first_k(
    scores: tf.Tensor, classes: tf.Tensor, k: Size
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the best k of n scored classes, filled up with -inf if n < k."""
    scores = tf.concat([scores, tf.fill([k], float("-inf"))], axis=0)
    classes = tf.concat([classes, tf.zeros([k], tf.int32)], axis=0)
    scores, places = tf.math.top_k(scores, k)
    return scores, tf.gather(classes, places)
