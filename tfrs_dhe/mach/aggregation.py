"""From the scores of buckets to the scores of classes."""

from collections.abc import Sequence

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph

AGGREGATIONS = (
    "unbiased_mean",
    "min",
    "median",
    "mean_log_probability",
    "mean_logit",
)
ACTIVATIONS = ("softmax", "sigmoid")


def check_aggregation(aggregation: str, activation: str = "softmax") -> None:
    """Raises a ValueError that names the first argument that is unknown."""
    if aggregation not in AGGREGATIONS:
        raise ValueError(
            f"`aggregation` must be one of {AGGREGATIONS}. Received: {aggregation!r}."
        )
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {ACTIVATIONS}. Received: {activation!r}."
        )


@no_autograph
def bucket_values(
    logits: tf.Tensor, aggregation: str, activation: str = "softmax"
) -> tf.Tensor:
    """Returns what an aggregation combines: probabilities, their logs, or logits.

    Example:
    >>> bucket_values(tf.zeros([1, 2, 4]), "min").numpy().tolist()
    [[[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]]]

    Args:
      logits: [..., R, B] of any float dtype; computed in float32 from here on.
      aggregation: One of `AGGREGATIONS`.
      activation: `"softmax"` where an example has one class, `"sigmoid"` where it
        may have several: what turns logits into the probabilities of buckets.

    Returns:
      tf.float32 [..., R, B].

    Raises:
      ValueError: If `aggregation` or `activation` is unknown.
    """
    check_aggregation(aggregation, activation)
    logits = tf.cast(logits, tf.float32)
    if aggregation == "mean_logit":
        return logits
    if aggregation == "mean_log_probability":
        if activation == "softmax":
            return tf.nn.log_softmax(logits)
        return tf.math.log_sigmoid(logits)
    return tf.nn.softmax(logits) if activation == "softmax" else tf.sigmoid(logits)


@no_autograph
def combine(
    values: tf.Tensor | Sequence[tf.Tensor], aggregation: str, num_buckets: int
) -> tf.Tensor:
    """Returns the scores of classes from the values of their R buckets.

    ```
    unbiased_mean         B / (B - 1) (mean_r P_r - 1 / B)
    min                   min_r P_r
    median                median_r P_r, for even R the mean of the two in the middle
    mean_log_probability  mean_r log P_r
    mean_logit            mean_r z_r
    ```

    The unbiased mean estimates a class's probability where each example has one
    class: a bucket holds the probability of its own class and, on average, the
    B-th part of all others'. It can be negative. Its variance over the hash
    functions is `sum_{k != i} p_k^2 / (R (B - 1))`. With several classes to an
    example nothing is known about its bias.

    Sums are taken one addition after the other. So a class has the same score, bit
    by bit, however many others are scored along with it.

    Example:
    >>> combine(tf.constant([[0.5], [0.7]]), "unbiased_mean", num_buckets=2).numpy()
    array([0.20000005], dtype=float32)

    Args:
      values: [R, ...], from `bucket_values` at the buckets of each class.
      aggregation: One of `AGGREGATIONS`.
      num_buckets: B.

    Returns:
      Scores [...]; a larger one is a likelier class.

    Raises:
      ValueError: If `aggregation` is unknown.

    References:
      Medini et al., NeurIPS 2019, section 3.2, equations 2 to 4.
    """
    check_aggregation(aggregation)
    rows = tf.unstack(values) if tf.is_tensor(values) else list(values)
    if aggregation == "min":
        smallest = rows[0]
        for row in rows[1:]:
            smallest = tf.minimum(smallest, row)
        return smallest
    if aggregation == "median":
        ascending = _ascending(rows)
        upper = ascending[len(rows) // 2]
        if len(rows) % 2:
            return upper
        return (ascending[len(rows) // 2 - 1] + upper) * 0.5
    # TensorFlow's graph optimizer turns chains of additions into sums in an order of
    # its own, and divisions by constants into products. Subtractions stay as they
    # are, and rounding knows no sign.
    total = rows[-1]
    if len(rows) > 1:
        negative = -rows[0]
        for row in rows[1:-1]:
            negative = negative - row
        total = total - negative
    mean = total * (1 / len(rows))
    if aggregation == "unbiased_mean":
        return (mean - 1 / num_buckets) * (num_buckets / (num_buckets - 1))
    return mean


def _ascending(rows: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns rows of equal shape, sorted element by element.

    Batcher's merge exchange: whole rows are compared, which is several times faster
    than `tf.sort` over a short axis.

    References:
      Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2M.
    """
    rows = list(rows)
    highest = distance = 1 << (len(rows) - 1).bit_length() >> 1
    while distance:
        step, offset, bit = highest, distance, 0
        while True:
            for i in range(len(rows) - offset):
                if i & distance == bit:
                    low, high = rows[i], rows[i + offset]
                    rows[i], rows[i + offset] = (
                        tf.minimum(low, high),
                        tf.maximum(low, high),
                    )
            if step == distance:
                break
            offset, step, bit = step - distance, step // 2, distance
        distance //= 2
    return rows


@no_autograph
def class_scores(values: tf.Tensor, buckets: tf.Tensor, aggregation: str) -> tf.Tensor:
    """Returns the scores of given classes for every query.

    Example:
    >>> values = tf.constant([[[0.2, 0.8], [0.5, 0.5]]])
    >>> class_scores(values, tf.constant([[1, 0], [0, 1]]), "min").numpy().tolist()
    [[0.5, 0.20000000298023224]]

    Args:
      values: [num_queries, R, B], from `bucket_values`.
      buckets: Buckets of the classes: [num_classes, R], the same for every query,
        or [num_queries, num_classes, R].
      aggregation: One of `AGGREGATIONS`.

    Returns:
      Scores [num_queries, num_classes].

    Raises:
      ValueError: If `aggregation` is unknown or a shape does not fit.
    """
    values = tf.convert_to_tensor(values)
    buckets = tf.cast(buckets, tf.int32)
    rank = buckets.shape.rank
    if rank not in (2, 3):
        raise ValueError(
            "`buckets` must have the shape [num_classes, R] or [num_queries, "
            f"num_classes, R]. Received shape {buckets.shape}."
        )
    num_repetitions, num_buckets = values.shape[-2:]
    if num_repetitions is None or num_buckets is None:
        raise ValueError(
            "`values` must have known numbers of repetitions and buckets, "
            f"[num_queries, R, B]. Received shape {values.shape}."
        )
    if buckets.shape[-1] != num_repetitions:
        raise ValueError(
            f"`buckets` must end in the {num_repetitions} repetitions of `values`. "
            f"Received shape {buckets.shape}."
        )
    of_classes = [
        tf.gather(values[:, r], buckets[..., r], axis=1, batch_dims=rank - 2)
        for r in range(num_repetitions)
    ]
    return combine(of_classes, aggregation, num_buckets)
