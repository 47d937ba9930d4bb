"""Mean and variance of rows that count by weight."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.layers._replicas import sum_over_replicas


class RowStatistics(NamedTuple):
    """Mean [units] and variance [units], and how many rows they are of."""

    mean: tf.Tensor
    variance: tf.Tensor
    total: tf.Tensor


def row_statistics(inputs: tf.Tensor, row_weights: tf.Tensor | None) -> RowStatistics:
    """Returns the statistics of the rows of all replicas; 0 where there are none.

    Args:
      inputs: [rows, units].
      row_weights: [rows], how often each row counts; None counts each once.
    """
    if row_weights is None:
        count = tf.cast(tf.shape(inputs)[0], inputs.dtype)

        def weighted(rows: tf.Tensor) -> tf.Tensor:
            return rows

    else:
        weights = tf.cast(row_weights, inputs.dtype)[:, tf.newaxis]
        count = tf.reduce_sum(weights)

        def weighted(rows: tf.Tensor) -> tf.Tensor:
            return weights * rows

    sums = tf.reduce_sum(weighted(inputs), axis=0)
    total, sums = sum_over_replicas([count, sums])
    mean = tf.math.divide_no_nan(sums, total)
    # Around the mean of all replicas, a second sum over them: the mean of squares
    # less the square of the mean needs one, and loses digits.
    squares = tf.math.squared_difference(inputs, mean)
    (sums,) = sum_over_replicas([tf.reduce_sum(weighted(squares), axis=0)])
    return RowStatistics(mean, tf.math.divide_no_nan(sums, total), total)
