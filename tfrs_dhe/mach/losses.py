"""What a head over buckets is trained on."""

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph

#: Score of a column that does not count. Finite, since 0 * inf is NaN, and far
#: below any score, so that its exponential is zero.
NEGLIGIBLE = tf.float32.min / 4


@no_autograph
def multiclass_loss(
    logits: tf.Tensor,
    buckets: tf.Tensor,
    sample_weight: tf.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Softmax cross-entropy of every repetition, where an example has one class.

    `- sum_i w_i sum_r log softmax(z_ir)[h_r(c_i)]`, summed over examples as TFRS
    does and over repetitions. No repetition's part depends on another one, so each
    gets the gradient that it would get if it were trained alone.

    Example:
    >>> loss = multiclass_loss(tf.zeros([3, 2, 4]), tf.zeros([3, 2], tf.int32))
    >>> f"{loss:.3f}"  # 3 * 2 * log(4)
    '8.318'

    Args:
      logits: [batch, R, B] of any float dtype; the loss is computed in float32.
      buckets: Integers [batch, R], the buckets of each example's class.
      sample_weight: [batch].
      label_smoothing: Share of the label that is spread evenly over all buckets,
        in [0, 1).

    Returns:
      Scalar tf.float32.

    Raises:
      ValueError: If `label_smoothing` is out of range or a shape does not fit.

    References:
      Medini et al., NeurIPS 2019, section 3.1, algorithm 1.
    """
    logits = _float32_logits(logits)
    _check_label_smoothing(label_smoothing)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.cast(buckets, tf.int32), logits=logits
    )
    if label_smoothing:
        # The cross-entropy against the even distribution over buckets.
        even = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * even
    return _weighted_sum(tf.reduce_sum(losses, axis=-1), sample_weight)


@no_autograph
def merge_labels(
    buckets: tf.Tensor | tf.RaggedTensor,
    num_buckets: int,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the buckets that any of an example's classes falls into (their OR).

    Example:
    >>> merge_labels(tf.constant([[[0], [2], [2]]]), num_buckets=4).numpy().tolist()
    [[[1.0, 0.0, 1.0, 0.0]]]

    Args:
      buckets: Integers, the buckets of each example's classes: [batch, labels, R],
        or ragged [batch, (labels), R].
      num_buckets: B.
      mask: Booleans [batch, labels], False where a padded list has no label.
        Ragged lists need none.

    Returns:
      tf.float32 [batch, R, B] of zeros and ones.

    Raises:
      ValueError: If a shape does not fit.

    References:
      Medini et al., NeurIPS 2019, section 3.3.
    """
    if isinstance(buckets, tf.RaggedTensor):
        if mask is not None:
            raise ValueError("`mask` is for padded labels; ragged ones need none.")
        if buckets.ragged_rank != 1 or buckets.shape.rank != 3:
            raise ValueError(
                "Ragged `buckets` must have the shape [batch, (labels), R]. "
                f"Received shape {buckets.shape}, ragged rank {buckets.ragged_rank}."
            )
        num_examples, rows = buckets.nrows(), buckets.value_rowids()
        flat, updates = buckets.flat_values, None
    else:
        buckets = tf.convert_to_tensor(buckets)
        if buckets.shape.rank != 3:
            raise ValueError(
                "`buckets` must have the shape [batch, labels, R]. "
                f"Received shape {buckets.shape}."
            )
        shape = tf.shape(buckets)
        num_examples = shape[0]
        rows = tf.repeat(tf.range(num_examples), shape[1])
        flat = tf.reshape(buckets, [-1, buckets.shape[2]])
        updates = None
        if mask is not None:
            mask = of_shape("mask", mask, shape[:2], buckets.shape[:2])
            updates = tf.reshape(mask, [-1])
    num_repetitions = flat.shape[-1]
    # A scatter adds; classes that share a bucket count once.
    counts = tf.scatter_nd(
        _label_positions(tf.cast(rows, tf.int32), tf.cast(flat, tf.int32)),
        _label_updates(flat, updates),
        tf.stack([tf.cast(num_examples, tf.int32), num_repetitions, num_buckets]),
    )
    return tf.ensure_shape(
        tf.minimum(counts, 1.0), [buckets.shape[0], num_repetitions, num_buckets]
    )


def _label_positions(rows: tf.Tensor, flat: tf.Tensor) -> tf.Tensor:
    """Returns (example, repetition, bucket) of every label: [labels, R, 3]."""
    shape = tf.shape(flat)
    return tf.stack(
        [
            tf.broadcast_to(rows[:, tf.newaxis], shape),
            tf.broadcast_to(tf.range(shape[1]), shape),
            flat,
        ],
        axis=-1,
    )


def _label_updates(flat: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Returns 1 for every label and repetition, 0 where there is no label."""
    if mask is None:
        return tf.ones(tf.shape(flat))
    mask = tf.cast(tf.cast(mask, tf.bool), tf.float32)
    return tf.broadcast_to(mask[:, tf.newaxis], tf.shape(flat))


@no_autograph
def multilabel_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    sample_weight: tf.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Binary cross-entropy of every bucket, where examples have several classes.

    `- sum_i w_i sum_r sum_b y_irb log s(z_irb) + (1 - y_irb) log (1 - s(z_irb))`,
    with s the sigmoid and y the merged labels: a sum over examples, repetitions and
    buckets.

    Example:
    >>> loss = multilabel_loss(tf.zeros([3, 2, 4]), tf.ones([3, 2, 4]))
    >>> f"{loss:.3f}"  # 3 * 2 * 4 * log(2)
    '16.636'

    Args:
      logits: [batch, R, B] of any float dtype; the loss is computed in float32.
      labels: [batch, R, B], from `merge_labels`.
      sample_weight: [batch].
      label_smoothing: How far labels are drawn towards one half, in [0, 1).

    Returns:
      Scalar tf.float32.

    Raises:
      ValueError: If `label_smoothing` is out of range or a shape does not fit.

    References:
      Medini et al., NeurIPS 2019, section 3.3.
    """
    logits = _float32_logits(logits)
    _check_label_smoothing(label_smoothing)
    labels = of_shape("labels", labels, tf.shape(logits), logits.shape)
    labels = tf.cast(labels, tf.float32)
    if label_smoothing:
        labels = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return _weighted_sum(tf.reduce_sum(losses, axis=[-2, -1]), sample_weight)


@no_autograph
def in_batch_loss(
    scores: tf.Tensor,
    sample_weight: tf.Tensor | None = None,
    label_smoothing: float = 0.0,
    *,
    candidate_keys: tf.Tensor | None = None,
    sampling_probability: tf.Tensor | None = None,
    temperature: float | None = None,
    num_hard_negatives: int | None = None,
    score_mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Softmax cross-entropy over the classes of the batch, one score a class.

    Example i has class i; the other columns are its negatives: the classes of the
    other examples, then any number of extra ones that all examples share. In this
    order it is the loss of `tfrs.tasks.Retrieval`: scores are divided by the
    temperature, lowered by log q where a class is sampled with probability q,
    masked, stripped of accidental hits, and cut to the hardest negatives.

    Example:
    >>> scores = tf.constant([[0.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
    >>> loss = in_batch_loss(scores, candidate_keys=tf.constant([7, 8, 8]))
    >>> f"{loss:.3f}"  # log(3) + log(2): example 1 is not its own negative
    '1.792'

    Args:
      scores: [batch, num_candidates] of any float dtype, num_candidates >= batch.
        The loss is computed in float32.
      sample_weight: [batch].
      label_smoothing: Share of the label spread evenly over all columns, in
        [0, 1).
      candidate_keys: Integers [num_candidates] that tell classes apart, such as
        `hashing.int64_keys(ids)`. If given, a negative that is the example's own
        class (an accidental hit) does not count.
      sampling_probability: [num_candidates], positive: how likely each candidate
        is to be among the candidates (the logQ correction).
      temperature: Positive; scores are divided by it.
      num_hard_negatives: How many of the highest-scored negatives count.
      score_mask: Booleans [batch, num_candidates], False for what does not count.
        The example's own class always counts.

    Returns:
      Scalar tf.float32.

    Raises:
      ValueError: If an argument is out of range or a shape does not fit.
      InvalidArgumentError: When run, if a sampling probability is not positive or
        there are fewer candidates than examples.

    References:
      Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
      Recommendations", RecSys 2019, section 4.
    """
    labels, logits = in_batch_columns(
        scores,
        candidate_keys=candidate_keys,
        sampling_probability=sampling_probability,
        temperature=temperature,
        num_hard_negatives=num_hard_negatives,
        score_mask=score_mask,
    )
    return columns_loss(labels, logits, sample_weight, label_smoothing)


def in_batch_columns(
    scores: tf.Tensor,
    *,
    candidate_keys: tf.Tensor | None = None,
    sampling_probability: tf.Tensor | None = None,
    temperature: float | None = None,
    num_hard_negatives: int | None = None,
    score_mask: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns labels and logits of the softmax of `in_batch_loss`.

    Args:
      scores: See `in_batch_loss`, as all arguments.
      candidate_keys: See `in_batch_loss`.
      sampling_probability: See `in_batch_loss`.
      temperature: See `in_batch_loss`.
      num_hard_negatives: See `in_batch_loss`.
      score_mask: See `in_batch_loss`.

    Returns:
      Labels, one-hot, and logits, both tf.float32 [batch, num_candidates]. With
      `num_hard_negatives`, [batch, 1 + num_hard_negatives] and the example's own
      class first. Logits of what does not count are `NEGLIGIBLE`.

    Raises:
      ValueError: If an argument is out of range or a shape does not fit.
    """
    if num_hard_negatives is not None and num_hard_negatives < 1:
        raise ValueError(
            f"`num_hard_negatives` must be positive. Received: {num_hard_negatives}."
        )
    scores = _corrected(scores, sampling_probability, temperature)
    num_examples, num_candidates = tf.unstack(tf.shape(scores))
    tf.debugging.assert_less_equal(
        num_examples,
        num_candidates,
        "`scores` needs a column for each example's own class.",
    )
    is_own = tf.eye(num_examples, num_candidates, dtype=tf.bool)
    counts = tf.ones_like(is_own)
    if score_mask is not None:
        counts &= of_shape("score_mask", score_mask, tf.shape(scores), scores.shape)
    if candidate_keys is not None:
        candidate_keys = _of_candidates("candidate_keys", candidate_keys, scores)
        counts &= candidate_keys[:num_examples, tf.newaxis] != candidate_keys
    if num_hard_negatives is None:
        logits = tf.where(counts | is_own, scores, NEGLIGIBLE)
        return tf.cast(is_own, tf.float32), logits
    negatives = tf.math.top_k(
        tf.where(counts & ~is_own, scores, NEGLIGIBLE),
        tf.clip_by_value(num_candidates - 1, 0, num_hard_negatives),
        sorted=False,
    ).values
    own = tf.linalg.diag_part(scores)[:, tf.newaxis]
    return (
        tf.concat([tf.ones_like(own), tf.zeros_like(negatives)], axis=1),
        tf.concat([own, negatives], axis=1),
    )


def columns_loss(
    labels: tf.Tensor,
    logits: tf.Tensor,
    sample_weight: tf.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Returns the loss of labels and logits from `in_batch_columns`.

    Args:
      labels: One-hot floats [batch, num_columns].
      logits: [batch, num_columns], tf.float32.
      sample_weight: [batch].
      label_smoothing: Share of the label spread evenly over the columns that
        count, in [0, 1).

    Returns:
      Scalar tf.float32.

    Raises:
      ValueError: If `label_smoothing` is out of range or a shape does not fit.
    """
    _check_label_smoothing(label_smoothing)
    own = tf.reduce_sum(labels * logits, axis=1)
    log_normalizer = tf.reduce_logsumexp(logits, axis=1)
    losses = log_normalizer - own
    if label_smoothing:
        counts = tf.cast(logits > NEGLIGIBLE, tf.float32)
        mean = tf.math.divide(
            tf.reduce_sum(counts * logits, axis=1), tf.reduce_sum(counts, axis=1)
        )
        even = log_normalizer - mean
        losses = (1.0 - label_smoothing) * losses + label_smoothing * even
    return _weighted_sum(losses, sample_weight)


def _corrected(
    scores: tf.Tensor,
    sampling_probability: tf.Tensor | None,
    temperature: float | None,
) -> tf.Tensor:
    """Returns scores in float32, divided by the temperature, lowered by log q."""
    scores = tf.cast(scores, tf.float32)
    if scores.shape.rank != 2:
        raise ValueError(
            "`scores` must have the shape [batch, num_candidates]. "
            f"Received shape {scores.shape}."
        )
    if temperature is not None:
        if not temperature > 0:
            raise ValueError(f"`temperature` must be positive. Received: {temperature}")
        scores = scores / temperature
    if sampling_probability is None:
        return scores
    sampling_probability = tf.cast(
        _of_candidates("sampling_probability", sampling_probability, scores),
        tf.float32,
    )
    tf.debugging.assert_positive(
        sampling_probability, "`sampling_probability` must be positive."
    )
    return scores - tf.math.log(sampling_probability)


def _of_candidates(name: str, values: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """Returns values [num_candidates] of the columns of scores."""
    return of_shape(name, values, tf.shape(scores)[1:], scores.shape[1:])


def of_shape(
    name: str, values: tf.Tensor, shape: tf.Tensor, static_shape: tf.TensorShape
) -> tf.Tensor:
    """Returns an argument as a tensor if it has a shape, to which none is broadcast.

    Raises:
      ValueError: If it has another one. In a graph where that is not known before it is
        run it is a tf.errors.InvalidArgumentError.
    """
    values = tf.convert_to_tensor(values)
    if not values.shape.is_compatible_with(static_shape):
        raise ValueError(
            f"`{name}` must have the shape {static_shape}. Received shape "
            f"{values.shape}."
        )
    # Shapes are broadcast, and [5, 5] would be equal to [5]: first their lengths. In a
    # graph nothing else would have what follows wait for either.
    same_rank = tf.debugging.assert_equal(
        tf.rank(values), tf.size(shape), f"`{name}` (x) must have another rank (y)."
    )
    with tf.control_dependencies([same_rank]):
        same_shape = tf.debugging.assert_equal(
            tf.shape(values),
            shape,
            f"The shape of `{name}` (x) must be another one (y).",
        )
    with tf.control_dependencies([same_shape]):
        return tf.identity(values)


def _float32_logits(logits: tf.Tensor) -> tf.Tensor:
    logits = tf.cast(logits, tf.float32)
    if logits.shape.rank != 3:
        raise ValueError(
            "`logits` must have the shape [batch, num_repetitions, num_buckets]. "
            f"Received shape {logits.shape}."
        )
    return logits


def _check_label_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"`label_smoothing` must be in [0, 1). Received: {label_smoothing!r}."
        )


def _weighted_sum(losses: tf.Tensor, sample_weight: tf.Tensor | None) -> tf.Tensor:
    """Returns the sum of the examples' losses [batch], weighted."""
    if sample_weight is None:
        return tf.reduce_sum(losses)
    return tf.reduce_sum(losses * example_weights(sample_weight, losses))


def example_weights(sample_weight: tf.Tensor, examples: tf.Tensor) -> tf.Tensor:
    """Returns the weights [batch] of examples [batch, ...] in float32.

    Raises:
      ValueError: If their shape is another one: a single weight would be taken for
        all examples, and a column be spread over a matrix of losses. In a graph
        whose batch size is not known it is a tf.errors.InvalidArgumentError.
    """
    weights = tf.cast(sample_weight, tf.float32)
    return of_shape(
        "sample_weight", weights, tf.shape(examples)[:1], examples.shape[:1]
    )
