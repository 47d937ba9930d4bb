"""A softmax cross-entropy over many classes, cheap enough to train on a CPU.

TensorFlow's own passes over the [batch, classes] logits several times in float32.
Here the three matrix products are in bfloat16, for which CPUs have units, and the
logits are passed over once: they are exponentiated without subtracting their maximum,
but where they may be beyond float32's range.
"""

import tensorflow as tf

#: exp() of less than 88 is finite, of a bound that is rounded as well.
LARGEST = 85.0


@tf.custom_gradient
def softmax_loss(queries, weights, biases, labels):
    """Sum of the cross-entropies `log sum_c exp(q.w_c + b_c) - (q.w_y + b_y)`.

    With `e_c = exp(q.w_c - s)`, where s is 0 or, if larger, q's largest product, and
    `Z = sum_c e_c exp(b_c)`:
    d/dq = sum_c e_c exp(b_c) w_c / Z - w_y, and for class c, summed over queries,
    d/db_c = exp(b_c) sum e_c / Z - [y = c],
    d/dw_c = exp(b_c) sum e_c q / Z - [y = c] q.

    Args:
      queries: float32 [batch, d].
      weights: float32 [classes, d].
      biases: float32 [classes].
      labels: int32 [batch].

    Returns:
      Scalar float32.
    """
    low = tf.bfloat16
    odds = tf.exp(biases)[:, tf.newaxis]
    label_weights = tf.gather(weights, labels)
    label_scores = tf.reduce_sum(queries * label_weights, 1) + tf.gather(biases, labels)
    logits = tf.matmul(tf.cast(queries, low), tf.cast(weights, low), transpose_b=True)
    shift = _shift(queries, weights, biases, logits)
    exponentials = tf.cond(
        tf.reduce_any(shift > 0),
        lambda: tf.exp(logits - shift),
        lambda: tf.exp(logits),
    )
    normalizer = tf.cast(tf.matmul(exponentials, tf.cast(odds, low)), tf.float32)
    log_normalizer = tf.math.log(normalizer) + tf.cast(shift, tf.float32)
    loss = tf.reduce_sum(log_normalizer[:, 0] - label_scores)

    def gradient(upstream):
        expected = tf.matmul(exponentials, tf.cast(odds * weights, low))
        by_query = tf.cast(expected, tf.float32) / normalizer - label_weights
        sources = tf.concat([queries, tf.ones_like(normalizer)], axis=1)
        by_class = odds * tf.cast(
            tf.matmul(
                exponentials, tf.cast(sources / normalizer, low), transpose_a=True
            ),
            tf.float32,
        )
        by_class = tf.tensor_scatter_nd_sub(by_class, labels[:, tf.newaxis], sources)
        return (
            upstream * by_query,
            upstream * by_class[:, :-1],
            upstream * by_class[:, -1],
            None,
        )

    return loss, gradient


def _shift(queries, weights, biases, logits):
    """Returns what is subtracted of each query's logits, bfloat16 [batch, 1]."""
    bound = tf.reduce_max(tf.norm(queries, axis=1)) * tf.reduce_max(
        tf.norm(weights, axis=1)
    )
    num_classes = tf.cast(tf.shape(biases)[0], tf.float32)
    bound += tf.reduce_max(biases) + tf.math.log(num_classes)
    return tf.cond(
        bound > LARGEST,
        lambda: tf.maximum(tf.reduce_max(logits, axis=1, keepdims=True), 0),
        lambda: tf.zeros_like(logits[:, :1]),
    )
