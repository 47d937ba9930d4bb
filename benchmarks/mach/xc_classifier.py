"""A hidden layer over sparse features, and a head."""

import numpy as np
import tensorflow as tf
from heads import HashedHead, TableHead, num_parameters, quantised
from sampling import in_batch_loss, sampled_loss
from softmax import softmax_loss

from tfrs_dhe import mach
from tfrs_dhe._keras import keras

BITS = (8, 4)
TOPS = (1, 3, 5)


class Classifier(tf.Module):
    """Scores the labels of an example.

    Args:
      method: A `Method` of `xc_methods`.
      data: Its `Set`.
      examples: Those to train on, for their sizes and the labels' first biases.
      dropout: Share of the hidden values that is dropped in training.
      seed: Of the hash functions and of a head's first rows, where it has buckets.

    Attributes:
      is_frequent: [num_labels], 1 for the tenth with most training examples, else 0.
    """

    def __init__(self, method, data, examples, dropout, seed):
        super().__init__()
        self._method, self._data, self._dropout = method, data, dropout
        counts = np.bincount(examples.labels, minlength=examples.num_labels)
        dim = data.hidden_dim
        self.hidden = keras.layers.Dense(dim, activation="relu")
        self.hidden.build((None, examples.num_features))
        # Where labels are independent, a bias stands for odds, not for a share.
        odds = (counts + 1) / (len(examples) - np.minimum(counts, len(examples) - 2))
        if method.shape is None:
            self.head = TableHead(counts, dim, method.row_dim)
        else:
            num_repetitions, num_buckets = method.shape
            self.head = HashedHead(
                counts,
                dim,
                num_buckets,
                num_repetitions,
                bias="bucket" if method.loss == "buckets" else "class",
                seed=seed,
                balanced=method.balanced,
            )
        self.classes = tf.range(examples.num_labels)
        if not data.single and method.loss == "all":
            self.head.bias.assign(np.log(odds).astype(np.float32))
        if not data.single and method.loss == "buckets":
            self.head.head.initialize_bias(
                self.classes, counts + 1, num_examples=len(examples) + 1
            )

        rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
        frequent = rank < examples.num_labels // 10
        self.is_frequent = tf.constant(frequent, tf.float32)

    @property
    def variables_to_train(self):
        """Every trainable weight once."""
        found = [*self.trainable_variables, *self.hidden.trainable_weights]
        if isinstance(self.head, HashedHead):
            found += self.head.head.trainable_weights
        return list({id(v): v for v in found}.values())

    @property
    def head_parameters(self):
        """Numbers that the head holds."""
        return num_parameters(self.head)

    def queries(self, features, training=False):
        """Returns the hidden values [batch, hidden_dim] of a tf.SparseTensor."""
        hidden = tf.sparse.sparse_dense_matmul(features, self.hidden.kernel)
        hidden = tf.nn.relu(hidden + self.hidden.bias)
        if training and self._dropout:
            hidden = tf.nn.dropout(hidden, self._dropout)
        return hidden

    def loss(self, queries, labels, sampler, negatives):
        """Returns the mean loss of a batch.

        Args:
          queries: [batch, hidden_dim].
          labels: Ragged integers [batch, (labels)].
          sampler: A `Sampler`.
          negatives: Its draw for this batch.
        """
        method, head = self._method, self.head
        count = tf.cast(tf.shape(queries)[0], tf.float32)
        if method.loss == "buckets" and not self._data.single:
            merged = mach.merge_labels(
                head.head.bucket_ids(labels), head.head.num_buckets
            )
            return mach.multilabel_loss(head.head(queries), merged) / count
        if method.loss == "all" and not self._data.single:
            logits = self._logits(queries)
            own = tf.gather_nd(logits, _places(labels))
            # Sigmoids' cross-entropies: softplus(z) - z y.
            return (tf.reduce_sum(tf.nn.softplus(logits)) - tf.reduce_sum(own)) / count
        rows, drawn = drawn_labels(labels)
        queries = head.project(tf.gather(queries, rows))
        if method.loss == "all":
            weights, biases = self._rows()
            loss = softmax_loss(queries, weights, biases, drawn)
        elif method.loss == "buckets":
            buckets = head.head.bucket_ids(drawn)
            loss = tf.add_n(
                [
                    softmax_loss(queries, *head.bucket_weights(r), buckets[:, r])
                    for r in range(method.shape[0])
                ]
            )
        elif method.loss == "in_batch":
            loss = in_batch_loss(head, sampler, queries, drawn, negatives)
        else:
            loss = sampled_loss(
                head.rows, head.bias, sampler, queries, drawn, negatives
            )
        return loss / count

    def scores(self, queries, all_forms=True):
        """Returns the scores of all labels in every form that the head has."""
        if self._method.loss == "buckets":
            logits = self.head.head(queries)
            activation = "softmax" if self._data.single else "sigmoid"
            buckets = self.head.head.bucket_ids(self.classes)
            return {
                name: mach.class_scores(
                    mach.bucket_values(logits, name, activation), buckets, name
                )
                for name in mach.AGGREGATIONS
            }
        found = {"float32": self._logits(queries)}
        if self._method.name == "full" and all_forms:
            biases = self.head.biases(self.classes)
            for bits in BITS:
                rows = quantised(self.head.rows, bits)
                found[f"int{bits}"] = (
                    tf.matmul(queries, rows, transpose_b=True) + biases
                )
        return found

    @tf.function(reduce_retracing=True)
    def hits(self, features, labels, all_forms):
        """Returns how many of the first labels are right, for every form of scores.

        Args:
          features: tf.SparseTensor [batch, D].
          labels: Ragged integers [batch, (labels)].
          all_forms: Whether rounded rows are among the forms.

        Returns:
          [5] for every form: right among the first 1, 3 and 5; among the first 5 the
          frequent ones, and the others.
        """
        relevant = relevance(labels, len(self.is_frequent))
        found = {}
        for name, scores in self.scores(self.queries(features), all_forms).items():
            best = tf.math.top_k(scores, max(TOPS)).indices
            right = tf.gather(relevant, best, batch_dims=1)
            frequent = right * tf.gather(self.is_frequent, best)
            found[name] = tf.stack(
                [tf.reduce_sum(right[:, :top]) for top in TOPS]
                + [tf.reduce_sum(frequent), tf.reduce_sum(right - frequent)]
            )
        return found

    def _rows(self):
        return self.head.weights(self.classes), self.head.biases(self.classes)

    def _logits(self, queries):
        weights, biases = self._rows()
        return tf.matmul(self.head.project(queries), weights, transpose_b=True) + biases


def drawn_labels(labels):
    """Returns the rows that have labels, and one of each row's, drawn evenly."""
    lengths = labels.row_lengths()
    rows = tf.where(lengths > 0)[:, 0]
    lengths = tf.gather(lengths, rows)
    share = tf.random.uniform(tf.shape(lengths), dtype=tf.float64)
    place = tf.cast(share * tf.cast(lengths, tf.float64), tf.int64)
    drawn = tf.gather(labels.values, tf.gather(labels.row_starts(), rows) + place)
    return rows, tf.cast(drawn, tf.int32)


def relevance(labels, num_labels):
    """Returns which labels an example has, [batch, num_labels] of zeros and ones."""
    places = _places(labels)
    shape = tf.stack([labels.nrows(), num_labels])
    return tf.scatter_nd(places, tf.ones(tf.shape(places)[:1]), shape)


def _places(labels):
    rows = labels.value_rowids()
    return tf.stack([rows, tf.cast(labels.values, rows.dtype)], axis=1)
