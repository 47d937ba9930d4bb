"""The query tower of the session benchmark: a session so far to one vector."""

import tensorflow as tf

_FAR_BELOW = -1e9


class SessionTower(tf.Module):
    """Attends from every item of a session to it and those before.

    The item's embedding and the attended mean of the items so far, with a learned
    bias by distance, go through one hidden layer and past it:

    `q = W2 gelu(W1 [e, c]) + s1 e + s2 c`.

    Args:
      embed: Turns items [batch, length] into embeddings [batch, length, d].
      dim: d.
      hidden_dim: Width of the hidden layer.
      max_length: Number of distances with a bias of their own.
      dropout: Share of the embeddings' and of the hidden layer's values that is
        dropped in training.
    """

    def __init__(self, embed, dim, hidden_dim=256, max_length=20, dropout=0.2):
        super().__init__()
        self._embed = embed
        self._dropout = dropout
        self._max_length = max_length
        self._width = dim
        self.query = _glorot(dim, dim)
        self.key = _glorot(dim, dim)
        self.value = tf.Variable(tf.eye(dim))
        self.distance_bias = tf.Variable(-0.3 * tf.range(max_length, dtype=tf.float32))
        self.hidden = _glorot(2 * dim, hidden_dim)
        self.hidden_bias = tf.Variable(tf.zeros([hidden_dim]))
        self.output = _glorot(hidden_dim, dim)
        self.output.assign(0.5 * self.output)
        self.output_bias = tf.Variable(tf.zeros([dim]))
        self.item_scale = tf.Variable(tf.fill([dim], 0.5))
        self.context_scale = tf.Variable(tf.fill([dim], 0.5))

    def __call__(self, items, places, training):
        """Returns the vectors [num_places, d] after given places of sessions.

        Args:
          items: int32 [batch, length], 0 after the end of a session.
          places: int32 [num_places, 2], each a row and a column of `items`.
          training: Whether to drop out.
        """
        embedded = self._drop(self._embed(items), training)
        place = tf.range(tf.shape(items)[1])
        distance = place[:, tf.newaxis] - place
        weights = tf.matmul(
            embedded @ self.query, embedded @ self.key, transpose_b=True
        )
        weights /= self._width**0.5
        weights += tf.gather(
            self.distance_bias, tf.clip_by_value(distance, 0, self._max_length - 1)
        )
        seen = (distance >= 0) & (items > 0)[:, tf.newaxis]
        weights = tf.nn.softmax(tf.where(seen, weights, _FAR_BELOW))
        context = weights @ (embedded @ self.value)
        both = tf.gather_nd(tf.concat([embedded, context], axis=-1), places)
        item, context = tf.split(both, 2, axis=-1)
        hidden = tf.nn.gelu(both @ self.hidden + self.hidden_bias, approximate=True)
        hidden = self._drop(hidden, training)
        output = hidden @ self.output + self.output_bias
        return output + self.item_scale * item + self.context_scale * context

    def _drop(self, values, training):
        if training and self._dropout:
            return tf.nn.dropout(values, self._dropout)
        return values


def _glorot(rows, columns):
    scale = (2 / (rows + columns)) ** 0.5
    return tf.Variable(scale * tf.random.normal([rows, columns]))
