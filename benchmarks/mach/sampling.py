"""Negatives for the losses on sampled classes."""

import numpy as np
import tensorflow as tf

from tfrs_dhe import mach

#: Where a class is never drawn, its logarithm has to be finite.
LEAST = 1e-12


class Sampler:
    """Shared negatives, drawn by a power of the classes' frequencies.

    Args:
      counts: Occurrences of the classes in training.
      batch_size: Labels in a batch.
      num_negatives: How many are drawn for a batch.
      power: Of the counts.

    Attributes:
      drawn: Expected number of times that a class is among the negatives.
      expected: The same among the labels of a batch and the negatives.
    """

    def __init__(self, counts, batch_size, num_negatives, power=0.75):
        self.num_negatives = num_negatives
        odds = counts.astype(np.float64) ** power
        self._reach = np.cumsum(odds) / odds.sum()
        drawn = num_negatives * odds / odds.sum()
        expected = batch_size * counts / counts.sum() + drawn
        self.drawn = tf.constant(np.maximum(drawn, LEAST), tf.float32)
        self.expected = tf.constant(np.maximum(expected, LEAST), tf.float32)

    def draw(self, rng):
        """Returns the negatives of a batch."""
        drawn = np.searchsorted(
            self._reach, rng.random(self.num_negatives), side="right"
        )
        return drawn.astype(np.int32)


def in_batch_loss(head, sampler, queries, labels, negatives):
    """The softmax over the labels of a batch and its negatives, with logQ."""
    classes = tf.concat([labels, negatives], axis=0)
    scores = tf.matmul(queries, head.weights(classes), transpose_b=True)
    return mach.in_batch_loss(
        scores + head.biases(classes),
        candidate_keys=classes,
        sampling_probability=tf.gather(sampler.expected, classes),
    )


def sampled_loss(rows, biases, sampler, queries, labels, negatives):
    """TensorFlow's sampled softmax: the own label against the negatives alone."""
    losses = tf.nn.sampled_softmax_loss(
        rows,
        biases,
        tf.cast(labels[:, tf.newaxis], tf.int64),
        queries,
        num_sampled=sampler.num_negatives,
        num_classes=rows.shape[0],
        sampled_values=(
            tf.cast(negatives, tf.int64),
            tf.gather(sampler.drawn, labels)[:, tf.newaxis],
            tf.gather(sampler.drawn, negatives),
        ),
    )
    return tf.reduce_sum(losses)
