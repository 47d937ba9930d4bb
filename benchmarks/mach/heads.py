"""The heads that the session benchmark compares.

A head scores class c for a query q as `project(q) . w_c + b_c`. It says what `w_c`
and `b_c` of given classes are, and how many numbers it holds for that.
"""

import numpy as np
import tensorflow as tf

from tfrs_dhe import mach
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead

ROW_SCALE = 0.05


class TableHead(tf.Module):
    """A row of weights and a bias for every class: the softmax's own head.

    Args:
      counts: Occurrences of items 0..K in training, for the first biases.
      dim: Width of the queries.
      row_dim: Width of the rows; where smaller, a matrix projects the queries.
      items: Returns rows of the tower's table, if they are the classes' rows. Then
        the head holds nothing but biases.
    """

    def __init__(self, counts, dim, row_dim=None, items=None):
        super().__init__()
        self._items = items
        self.bias = tf.Variable(log_shares(counts))
        self.rows = self.projection = None
        if items is None:
            shape = [len(counts), row_dim or dim]
            self.rows = tf.Variable(ROW_SCALE * tf.random.normal(shape))
        if row_dim and row_dim != dim:
            self.projection = tf.Variable(
                tf.random.normal([dim, row_dim]) * (8 / (dim + row_dim)) ** 0.5
            )

    def project(self, queries):
        """Returns queries of the rows' width."""
        return queries if self.projection is None else queries @ self.projection

    def weights(self, classes):
        """Returns the rows of classes."""
        if self.rows is None:
            return self._items(classes)
        return tf.gather(self.rows, classes)

    def biases(self, classes):
        """Returns the biases of classes."""
        return tf.gather(self.bias, classes)


class HashedHead(tf.Module):
    """Classes' rows as sums of R hashed ones, of a `MACHHead`.

    Args:
      counts: Occurrences of items 0..K in training.
      dim: Width of the queries.
      num_buckets: B.
      num_repetitions: R.
      row_dim: Width of the rows; where smaller, a matrix projects the queries.
      bias: "bucket", the head's own biases, or "class", one for every class, which
        are K numbers more.
      items: Returns rows of the tower's table, if the hashed rows are added to
        them.
      num_own: The number of most frequent classes with a row of their own.
      seed: Of the hash functions and of the first rows.
      balanced: Whether buckets hold equally many classes.
    """

    def __init__(
        self,
        counts,
        dim,
        num_buckets,
        num_repetitions,
        row_dim=None,
        bias="class",
        items=None,
        num_own=0,
        seed=0,
        balanced=False,
    ):
        super().__init__()
        row_dim = row_dim or dim
        self._items = items
        scale = ROW_SCALE / num_repetitions**0.5 if items is None else 1e-3
        self.head = MACHHead(
            num_buckets,
            num_repetitions,
            seed=seed,
            balanced=balanced,
            embedding_dim=row_dim,
            use_bias=bias == "bucket",
            kernel_initializer=keras.initializers.RandomNormal(stddev=scale, seed=seed),
        )
        classes = np.arange(len(counts))
        if balanced:
            self.head.balance(classes)
        if bias == "bucket":
            self.head.initialize_bias(classes, counts)
        self.bias = tf.Variable(log_shares(counts)) if bias == "class" else None
        self.projection = self.own = None
        if row_dim != dim:
            self.projection = tf.Variable(
                tf.random.normal([dim, row_dim]) * (8 / (dim + row_dim)) ** 0.5
            )
        if num_own:
            place = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
            self._place = tf.constant(np.minimum(place, num_own), tf.int32)
            self.own = tf.Variable(1e-3 * tf.random.normal([num_own, row_dim]))
        # Hashed once for all steps.
        first = np.arange(num_repetitions) * num_buckets
        self._buckets = tf.constant(self.head.bucket_table(classes).T + first, tf.int32)

    def project(self, queries):
        """Returns queries of the rows' width."""
        return queries if self.projection is None else queries @ self.projection

    def weights(self, classes):
        """Returns the rows of classes."""
        kernel = tf.convert_to_tensor(self.head.kernel)
        rows = tf.gather(self._buckets, classes)
        weights = tf.reduce_sum(tf.gather(kernel, rows), axis=-2)
        if self._items is not None:
            weights += self._items(classes)
        if self.own is not None:
            own = tf.concat([self.own, tf.zeros_like(self.own[:1])], axis=0)
            weights += tf.gather(own, tf.gather(self._place, classes))
        return weights

    def biases(self, classes):
        """Returns the biases of classes."""
        if self.bias is not None:
            return tf.gather(self.bias, classes)
        rows = tf.gather(self._buckets, classes)
        return tf.reduce_sum(tf.gather(tf.convert_to_tensor(self.head.bias), rows), -1)

    def bucket_weights(self, repetition):
        """Rows [B, d] and biases [B] of one repetition."""
        size = self.head.num_buckets
        rows = slice(repetition * size, (repetition + 1) * size)
        return self.head.kernel[rows], self.head.bias[rows]

    def unbiased_mean_scores(self, queries):
        """The paper's estimate of every class's probability, [batch, K + 1]."""
        logits = self.head(self.project(queries))
        values = mach.bucket_values(logits, "unbiased_mean")
        buckets = self._buckets - tf.range(len(self.head.repetitions)) * (
            self.head.num_buckets
        )
        parts = [
            tf.gather(values[:, r], buckets[:, r], axis=1)
            for r in range(len(self.head.repetitions))
        ]
        return mach.combine(parts, "unbiased_mean", self.head.num_buckets)


def quantised(rows, bits):
    """Rows rounded to `bits` bits, with a scale of their own."""
    largest = tf.reduce_max(tf.abs(rows), axis=1, keepdims=True)
    scale = tf.maximum(largest, 1e-9) / (2 ** (bits - 1) - 1)
    return tf.round(rows / scale) * scale


def log_shares(counts):
    """Logarithms of the classes' shares of the examples, one added to each."""
    return np.log((counts + 1) / (counts + 1).sum()).astype(np.float32)


def num_parameters(head):
    """Numbers that a head holds beyond those of the tower."""
    variables = list(head.trainable_variables)
    if isinstance(head, HashedHead):
        variables += [
            v for v in head.head.trainable_weights if not _is_in(v, variables)
        ]
    return int(sum(np.prod(v.shape) for v in variables))


def _is_in(variable, variables):
    return any(variable is other for other in variables)
