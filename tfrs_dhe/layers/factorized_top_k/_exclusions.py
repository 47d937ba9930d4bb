"""Found classes without those that a query excludes."""

import numpy as np
import tensorflow as tf


def without(
    scores: tf.Tensor, identifiers: tf.Tensor, exclusions: tf.Tensor, k: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first k of the classes that are not excluded.

    Args:
      scores: Floats [num_queries, n] in descending order.
      identifiers: [num_queries, n].
      exclusions: Identifiers [num_queries, num_exclusions]; those that were not
        found exclude nothing.
      k: How many to return, at most n.

    Returns:
      Scores and identifiers [num_queries, k]. Where fewer are left, scores end in
      NaN, and identifiers in "" or 0.
    """
    same_rows = tf.debugging.assert_equal(
        tf.shape(exclusions)[0],
        tf.shape(scores)[0],
        "`exclusions` must have one row for each query.",
    )
    with tf.control_dependencies([same_rows] if same_rows is not None else []):
        is_excluded = tf.reduce_any(
            identifiers[:, :, tf.newaxis] == exclusions[:, tf.newaxis, :], axis=2
        )
    # Those that are left move to the front, in the order they are in.
    order = tf.argsort(tf.cast(is_excluded, tf.int32), axis=1, stable=True)
    order = order[:, :k]
    is_excluded = tf.gather(is_excluded, order, batch_dims=1)
    scores = tf.gather(scores, order, batch_dims=1)
    identifiers = tf.gather(identifiers, order, batch_dims=1)
    return (
        tf.where(is_excluded, scores.dtype.as_numpy_dtype(np.nan), scores),
        tf.where(is_excluded, tf.zeros([], identifiers.dtype), identifiers),
    )
