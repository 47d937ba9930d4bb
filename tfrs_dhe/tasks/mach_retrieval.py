"""The retrieval task of TFRS, for a head over hash buckets."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras, require_tfrs
from tfrs_dhe.layers.mach_head import MACHHead
from tfrs_dhe.mach import losses
from tfrs_dhe.tasks import _objectives
from tfrs_dhe.tasks._factorized_metrics import as_list, check_factorized_metrics

tfrs: Any = require_tfrs("tfrs_dhe.tasks.MACHRetrieval")


class MACHRetrieval(keras.layers.Layer, tfrs.tasks.Task):
    """`tfrs.tasks.Retrieval` without candidate tower and table: candidates are ids.

    Instead of embeddings of candidates it takes their ids; a `MACHHead` hashes each
    into R of R * B buckets, and what is learned are weights of buckets.

    ```python
    class MovieModel(tfrs.Model):
        def __init__(self, user_model, head, index):
            super().__init__()
            self.user_model = user_model
            self.task = MACHRetrieval(  # was: tfrs.tasks.Retrieval(
                head, metrics=tfrs.metrics.FactorizedTopK(index)
            )

        def compute_loss(self, features, training=False):
            return self.task(
                self.user_model(features["user_id"]),
                # was: self.movie_model(features["movie_title"]),
                candidate_ids=features["movie_title"],
                compute_metrics=not training,
            )
    ```

    There are three objectives, all summed over the batch as TFRS does. z are the
    logits [batch, R, B] of the head and h_r(c) is the bucket of class c:

    - `"softmax"`, the paper's: an example has one class, and each repetition is a
      softmax over its buckets, `- sum_r log softmax(z[r])[h_r(c)]`.
    - `"multilabel"`, the paper's for several classes to an example: their buckets
      are merged, and each bucket is a sigmoid with binary cross-entropy.
    - `"in_batch"`: a class has one score, `s(c) = sum_r z[r][h_r(c)]`, that is
      trained against the other classes of the batch. It is the loss of
      `tfrs.tasks.Retrieval` with `head.class_embeddings(candidate_ids)` for
      candidates and a bias beside, all its options included. Its index has to rank
      by the same score, with `aggregation="mean_logit"`.

    Metrics in `metrics` compare the top k of an index with the true id. The index,
    `tfrs_dhe.layers.factorized_top_k.MACH`, reads the weights of the head whenever
    it is asked, so it is made once and stays up to date in training. With several
    labels (`activation="sigmoid"` in the index) each pair of an example and a label
    counts as an example.

    `loss` and `batch_metrics` are given labels and scores of two dimensions:

    ```
    objective     labels                      scores          a row for
    softmax       one-hot [batch * R, B]      logits          example, repetition
    multilabel    multi-hot [batch * R, B]    logits          example, repetition
    in_batch      one-hot [batch, n]          class scores    example
    ```

    Rows of an example's repetitions follow one another and have its weight. So
    `CategoricalAccuracy` is, for `"softmax"`, the mean accuracy over repetitions at
    telling the true bucket. In the last line n is the number of candidates, or
    1 + `num_hard_negatives`; scores are corrected and masked as in the loss.

    Example:
    >>> head = MACHHead(num_buckets=4, num_repetitions=2, kernel_initializer="zeros")
    >>> task = MACHRetrieval(head)
    >>> loss = task(tf.ones([3, 8]), candidate_ids=tf.constant(["a", "b", "a"]))
    >>> f"{loss:.3f}"  # 3 * 2 * log(4)
    '8.318'

    Args:
      head: Layer that scores buckets; its weights are trained with the task.
      loss: Loss to use instead, a Keras loss or `loss(y_true=, y_pred=,
        sample_weight=)`, that returns a scalar.
      metrics: `tfrs.metrics.FactorizedTopK` over an index with the same head, or
        several.
      batch_metrics: Keras metrics of labels and scores.
      loss_metrics: Keras metrics of the loss.
      temperature: Positive; logits (`"softmax"`) or scores (`"in_batch"`) are
        divided by it in training. An index knows nothing of it, which matters for
        aggregations that are not `"mean_logit"`.
      num_hard_negatives: Only for `"in_batch"`: how many of the highest-scored
        negatives count.
      remove_accidental_hits: Only for `"in_batch"`: whether negatives with the id
        of the true candidate are left out.
      name: Of the layer.
      objective: `"softmax"`, `"multilabel"` or `"in_batch"`.
      label_smoothing: In [0, 1): how much of the label is spread evenly over
        buckets or candidates, or (`"multilabel"`) drawn towards one half.
      mask_value: Only for `"multilabel"`: the id that pads lists of labels.
      **kwargs: Those of a Keras layer.

    Raises:
      ValueError: If an argument is out of range or has no meaning for the
        objective.

    References:
      Medini et al., "Extreme Classification in Log Memory using Count-Min
      Sketch: A Case Study of Amazon Search with 50M Products", NeurIPS 2019.
    """

    def __init__(
        self,
        head: MACHHead,
        loss: Any = None,
        metrics: Any = None,
        batch_metrics: Sequence[Any] | None = None,
        loss_metrics: Sequence[Any] | None = None,
        temperature: float | None = None,
        num_hard_negatives: int | None = None,
        remove_accidental_hits: bool = False,
        name: str | None = None,
        *,
        objective: str = "softmax",
        label_smoothing: float = 0.0,
        mask_value: str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        _check_arguments(head, loss, temperature, num_hard_negatives, label_smoothing)
        if objective not in _objectives.OBJECTIVES:
            raise ValueError(
                f"`objective` must be one of {tuple(_objectives.OBJECTIVES)}. "
                f"Received: {objective!r}."
            )
        _objectives.check_meaning(
            objective,
            temperature=temperature,
            num_hard_negatives=num_hard_negatives,
            remove_accidental_hits=remove_accidental_hits,
            mask_value=mask_value,
        )
        self.head = head
        self.objective = objective
        self.factorized_metrics = metrics
        self._loss = loss
        self._batch_metrics = as_list(batch_metrics)
        self._loss_metrics = as_list(loss_metrics)
        self._options = _objectives.Options(
            temperature=temperature,
            num_hard_negatives=num_hard_negatives,
            remove_accidental_hits=remove_accidental_hits,
            label_smoothing=label_smoothing,
            mask_value=mask_value,
        )

    @property
    def factorized_metrics(self) -> list[Any]:
        """The metrics over the whole catalogue; one or several may be assigned.

        A model that has been fitted or evaluated has to be compiled again.
        """
        return self._factorized_metrics

    @factorized_metrics.setter
    def factorized_metrics(self, value: Any) -> None:
        metrics = as_list(value)
        check_factorized_metrics(metrics, self.head, self.objective)
        self._factorized_metrics = metrics

    def build(self, input_shape: Any) -> None:
        """Creates the weights of the head for queries [batch, d]."""
        if not self.head.built:
            with tf.name_scope(self.head.name):
                self.head.build(input_shape)
        super().build(input_shape)

    def call(
        self,
        query_embeddings: tf.Tensor,
        candidate_embeddings: None = None,
        sample_weight: tf.Tensor | None = None,
        candidate_sampling_probability: tf.Tensor | None = None,
        candidate_ids: tf.Tensor | tf.RaggedTensor | None = None,
        compute_metrics: bool = True,
        compute_batch_metrics: bool = True,
        score_mask: tf.Tensor | None = None,
        candidate_mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the loss and updates the metrics.

        Args:
          query_embeddings: [batch, d].
          candidate_embeddings: None. It holds the place of the argument of
            `tfrs.tasks.Retrieval`; here candidates have no embeddings but the
            head's.
          sample_weight: [batch].
          candidate_sampling_probability: Only for `"in_batch"`: [num_candidates],
            positive, how likely each candidate is to be in a batch (the logQ
            correction). They are taken as they are; TFRS clips them to [1e-6, 1].
          candidate_ids: The true classes, strings or integers: [batch]; for
            `"multilabel"` [batch, labels] or ragged; for `"in_batch"`
            [num_candidates], the true class of each example and then any number of
            extra negatives for all of them.
          compute_metrics: Whether to update `metrics`; False in training saves
            time.
          compute_batch_metrics: Whether to update `batch_metrics`.
          score_mask: Only for `"in_batch"`: booleans [batch, num_candidates], False
            for what does not count. The true class always does.
          candidate_mask: Only for `"multilabel"`: booleans [batch, labels], False
            where the list of labels is padded.

        Returns:
          Scalar, tf.float32 unless `loss` returns another dtype.

        Raises:
          ValueError: If an argument has the wrong shape, is missing, or has no
            meaning for MACH or for the objective. In a graph that does not know the
            size of its batch, another number of ids than of queries is a
            tf.errors.InvalidArgumentError when it is run.
        """
        if candidate_embeddings is not None:
            raise ValueError(
                "`candidate_embeddings` has no meaning for MACH, where candidates are "
                "ids. Write task(query_embeddings, candidate_ids=ids), without a "
                f"candidate tower. Received: {candidate_embeddings!r}."
            )
        if candidate_ids is None:
            raise ValueError(
                "`candidate_ids` must be given: the ids of the true candidates. "
                "Received None."
            )
        if isinstance(candidate_ids, tf.SparseTensor):
            raise ValueError(
                "`candidate_ids` must be dense or ragged. Received a SparseTensor; "
                "`tf.RaggedTensor.from_sparse` makes it ragged."
            )
        if query_embeddings.shape.rank != 2:
            raise ValueError(
                "`query_embeddings` must have the shape [batch, d]. Received shape "
                f"{query_embeddings.shape}."
            )
        _objectives.check_meaning(
            self.objective,
            candidate_sampling_probability=candidate_sampling_probability,
            score_mask=score_mask,
            candidate_mask=candidate_mask,
        )
        if not isinstance(candidate_ids, tf.RaggedTensor):
            candidate_ids = tf.convert_to_tensor(candidate_ids)
        if sample_weight is not None:
            # A loss or metrics of the user's would spread a single weight.
            sample_weight = losses.example_weights(sample_weight, query_embeddings)
        batch = _objectives.Batch(
            queries=query_embeddings,
            candidate_ids=candidate_ids,
            sample_weight=sample_weight,
            candidate_sampling_probability=candidate_sampling_probability,
            score_mask=score_mask,
            candidate_mask=candidate_mask,
        )
        objective = _objectives.OBJECTIVES[self.objective](
            self.head, self._options, batch
        )
        loss = objective.loss() if self._loss is None else self._custom_loss(objective)
        for metric in self._loss_metrics:
            metric.update_state(loss)
        if compute_metrics and self._factorized_metrics:
            self._update_factorized_metrics(objective)
        if compute_batch_metrics and self._batch_metrics:
            labels, scores, weight = objective.labels_and_scores()
            for metric in self._batch_metrics:
                metric.update_state(labels, scores, sample_weight=weight)
        return loss

    def _custom_loss(self, objective: _objectives.Objective) -> tf.Tensor:
        labels, scores, weight = objective.labels_and_scores()
        loss = self._loss(y_true=labels, y_pred=scores, sample_weight=weight)
        if loss.shape.rank != 0:
            raise ValueError(
                "`loss` must return a scalar; a Keras loss does with reduction='sum'. "
                f"Received shape {loss.shape}."
            )
        return loss

    def _update_factorized_metrics(self, objective: _objectives.Objective) -> None:
        queries, true_ids, weight = objective.true_candidates()
        for metric in self._factorized_metrics:
            metric.update_state(
                queries,
                # It multiplies queries with something of their shape, for a score
                # that counts only where ids are not given.
                queries,
                true_candidate_ids=true_ids,
                sample_weight=weight,
            )


def _check_arguments(
    head: Any,
    loss: Any,
    temperature: Any,
    num_hard_negatives: Any,
    label_smoothing: float,
) -> None:
    """Raises a ValueError that names the first argument that is out of range."""
    if not isinstance(head, MACHHead):
        raise ValueError(f"`head` must be a layers.MACHHead. Received: {head!r}.")
    if loss is not None and not callable(loss):
        raise ValueError(
            "`loss` must be a Keras loss or a function. The task's own losses are "
            f"chosen by `objective`. Received: {loss!r}."
        )
    if loss is not None and label_smoothing:
        raise ValueError(
            "`label_smoothing` is for the task's own losses; with `loss`, give it to "
            f"that one. Received: label_smoothing={label_smoothing!r}."
        )
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"`label_smoothing` must be in [0, 1). Received: {label_smoothing!r}."
        )
    if temperature is not None and not temperature > 0:
        raise ValueError(f"`temperature` must be positive. Received: {temperature!r}.")
    if num_hard_negatives is not None and num_hard_negatives < 1:
        raise ValueError(
            "`num_hard_negatives` must be at least 1, or None for all negatives. "
            f"Received: {num_hard_negatives!r}."
        )
