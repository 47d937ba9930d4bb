"""What a MACH head can be trained on, each with its loss, labels and scores.

An objective is made for one batch. Labels and scores are two-dimensional, as Keras
losses and metrics take them and as `tfrs.tasks.Retrieval` gives them.
"""

import abc
import dataclasses
from typing import Any

import tensorflow as tf

from tfrs_dhe import hashing, mach
from tfrs_dhe.layers.mach_head import MACHHead
from tfrs_dhe.mach import losses

#: Arguments of the task that mean something for some objectives only.
_MEANINGFUL_FOR = {
    "temperature": ("softmax", "in_batch"),
    "num_hard_negatives": ("in_batch",),
    "remove_accidental_hits": ("in_batch",),
    "candidate_sampling_probability": ("in_batch",),
    "score_mask": ("in_batch",),
    "mask_value": ("multilabel",),
    "candidate_mask": ("multilabel",),
}


def check_meaning(objective: str, **arguments: Any) -> None:
    """Raises a ValueError if an argument is set that the objective has no use for.

    Args:
      objective: One of `OBJECTIVES`.
      **arguments: Arguments of the task; None and False are not set.
    """
    for name, value in arguments.items():
        objectives = _MEANINGFUL_FOR[name]
        is_set = value is not None and value is not False
        if is_set and objective not in objectives:
            raise ValueError(
                f"`{name}` has no meaning for objective={objective!r}, only for "
                f"{' and '.join(map(repr, objectives))}. Received: {name}={value!r}. "
                "Leave it out, or choose another objective."
            )


@dataclasses.dataclass(frozen=True)
class Options:
    """Arguments of the task's constructor that objectives use."""

    temperature: float | None
    num_hard_negatives: int | None
    remove_accidental_hits: bool
    label_smoothing: float
    mask_value: str | int | None


@dataclasses.dataclass(frozen=True)
class Batch:
    """Arguments of the task's call that objectives use."""

    queries: tf.Tensor
    candidate_ids: tf.Tensor | tf.RaggedTensor
    sample_weight: tf.Tensor | None
    candidate_sampling_probability: tf.Tensor | None
    score_mask: tf.Tensor | None
    candidate_mask: tf.Tensor | None


class Objective(abc.ABC):
    """What the task needs to know of a batch."""

    def __init__(self, head: MACHHead, options: Options, batch: Batch) -> None:
        self._head = head
        self._options = options
        self._batch = batch

    @abc.abstractmethod
    def loss(self) -> tf.Tensor:
        """Returns the loss, summed over examples and repetitions."""

    @abc.abstractmethod
    def labels_and_scores(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns labels and scores [n, m] in float32, and weights [n] or None."""

    @abc.abstractmethod
    def true_candidates(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns pairs of queries [n, d] and true ids [n], and weights or None."""

    def _check_ids(self, rank: int, shape: str) -> None:
        ids = self._batch.candidate_ids
        if ids.shape.rank != rank:
            raise ValueError(
                f"`candidate_ids` must have the shape {shape} for this objective. "
                f"Received shape {ids.shape}."
            )

    def _check_one_row_each(self) -> None:
        ids, queries = self._batch.candidate_ids, self._batch.queries
        message = "`candidate_ids` needs one row for each query."
        if not ids.shape[:1].is_compatible_with(queries.shape[:1]):
            raise _another_number(message, ids, queries)
        tf.debugging.assert_equal(_num_rows(ids), _num_rows(queries), message)


def _num_rows(values: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    if isinstance(values, tf.RaggedTensor):
        return values.nrows(out_type=tf.int64)
    return tf.shape(values, out_type=tf.int64)[0]


def _another_number(
    message: str, ids: tf.Tensor | tf.RaggedTensor, queries: tf.Tensor
) -> ValueError:
    return ValueError(
        f"{message} Received ids of shape {ids.shape} and queries of shape "
        f"{queries.shape}."
    )


class _OverBuckets(Objective):
    """The paper's objectives: R problems of B buckets each."""

    def __init__(self, head: MACHHead, options: Options, batch: Batch) -> None:
        super().__init__(head, options, batch)
        self._logits = tf.cast(head(batch.queries), tf.float32)
        if options.temperature is not None:
            self._logits /= options.temperature

    def _flat(self, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns labels, scores and weights with a row for each repetition."""
        shape = [-1, self._head.num_buckets]
        weight = self._batch.sample_weight
        if weight is not None:
            weight = tf.repeat(weight, len(self._head.repetitions))
        return tf.reshape(labels, shape), tf.reshape(self._logits, shape), weight


class Softmax(_OverBuckets):
    """One class to an example: a softmax over the buckets of each repetition."""

    def __init__(self, head: MACHHead, options: Options, batch: Batch) -> None:
        super().__init__(head, options, batch)
        self._check_ids(1, "[batch]")
        self._check_one_row_each()
        self._buckets = head.bucket_ids(batch.candidate_ids)

    def loss(self) -> tf.Tensor:
        """Returns `mach.multiclass_loss`."""
        return mach.multiclass_loss(
            self._logits,
            self._buckets,
            self._batch.sample_weight,
            self._options.label_smoothing,
        )

    def labels_and_scores(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns one-hot labels, logits and weights, a row for each repetition."""
        return self._flat(tf.one_hot(self._buckets, self._head.num_buckets))

    def true_candidates(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns the batch."""
        return self._batch.queries, self._batch.candidate_ids, self._batch.sample_weight


class Multilabel(_OverBuckets):
    """Several classes to an example: sigmoids, and the OR of the classes' buckets."""

    def __init__(self, head: MACHHead, options: Options, batch: Batch) -> None:
        super().__init__(head, options, batch)
        self._check_ids(2, "[batch, labels], dense or ragged,")
        self._mask = self._label_mask()
        ids = batch.candidate_ids
        self._check_one_row_each()
        self._labels = mach.merge_labels(
            head.bucket_ids(ids), head.num_buckets, self._mask
        )

    def loss(self) -> tf.Tensor:
        """Returns `mach.multilabel_loss`."""
        return mach.multilabel_loss(
            self._logits,
            self._labels,
            self._batch.sample_weight,
            self._options.label_smoothing,
        )

    def labels_and_scores(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns multi-hot labels, logits and weights, a row for each repetition."""
        return self._flat(self._labels)

    def true_candidates(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns every pair of an example and one of its labels."""
        ids, weight = self._batch.candidate_ids, self._batch.sample_weight
        if isinstance(ids, tf.RaggedTensor):
            rows, true_ids = ids.value_rowids(), ids.flat_values
        else:
            is_label = (
                tf.fill(tf.shape(ids), True) if self._mask is None else self._mask
            )
            rows = tf.where(is_label)[:, 0]
            true_ids = tf.boolean_mask(ids, is_label)
        return (
            tf.gather(self._batch.queries, rows),
            true_ids,
            None if weight is None else tf.gather(weight, rows),
        )

    def _label_mask(self) -> tf.Tensor | None:
        """Returns booleans [batch, labels], or None if all are labels."""
        ids, mask = self._batch.candidate_ids, self._batch.candidate_mask
        value = self._options.mask_value
        if isinstance(ids, tf.RaggedTensor):
            if mask is not None or value is not None:
                raise ValueError(
                    "Ragged `candidate_ids` have no padding: leave out "
                    "`candidate_mask` and `mask_value`."
                )
            return None
        if mask is not None:
            mask = losses.of_shape("candidate_mask", mask, tf.shape(ids), ids.shape)
            mask = tf.cast(mask, tf.bool)
        if value is None:
            return mask
        if (ids.dtype == tf.string) != isinstance(value, str):
            raise ValueError(
                "`mask_value` must be of the type of the ids. Received: mask_value="
                f"{value!r} and candidate_ids of dtype {ids.dtype.name}."
            )
        is_label = tf.not_equal(ids, tf.constant(value, ids.dtype))
        return is_label if mask is None else is_label & mask


class InBatch(Objective):
    """One score a class, against the other classes of the batch."""

    def __init__(self, head: MACHHead, options: Options, batch: Batch) -> None:
        super().__init__(head, options, batch)
        self._check_ids(1, "[num_candidates]")
        self._check_one_candidate_each()
        probability = batch.candidate_sampling_probability
        if probability is not None and probability.shape.rank != 1:
            # A column would be subtracted from rows.
            raise ValueError(
                "`candidate_sampling_probability` must have the shape "
                f"[num_candidates]. Received shape {probability.shape}."
            )
        keys = None
        if options.remove_accidental_hits:
            keys = hashing.int64_keys(batch.candidate_ids)
        self._labels, self._scores = losses.in_batch_columns(
            head.class_scores(batch.queries, batch.candidate_ids),
            candidate_keys=keys,
            sampling_probability=probability,
            temperature=options.temperature,
            num_hard_negatives=options.num_hard_negatives,
            score_mask=batch.score_mask,
        )

    def _check_one_candidate_each(self) -> None:
        ids, queries = self._batch.candidate_ids, self._batch.queries
        message = "`candidate_ids` needs the class of each query, then any extra ones."
        num_ids, num_queries = ids.shape[0], queries.shape[0]
        if None not in (num_ids, num_queries) and num_ids < num_queries:
            raise _another_number(message, ids, queries)
        tf.debugging.assert_less_equal(_num_rows(queries), _num_rows(ids), message)

    def loss(self) -> tf.Tensor:
        """Returns `mach.in_batch_loss`."""
        return losses.columns_loss(
            self._labels,
            self._scores,
            self._batch.sample_weight,
            self._options.label_smoothing,
        )

    def labels_and_scores(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns one-hot labels and scores, a column for each candidate."""
        return self._labels, self._scores, self._batch.sample_weight

    def true_candidates(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns the batch, without the extra negatives."""
        queries = self._batch.queries
        ids = self._batch.candidate_ids[: tf.shape(queries)[0]]
        return queries, ids, self._batch.sample_weight


OBJECTIVES: dict[str, type[Objective]] = {
    "softmax": Softmax,
    "multilabel": Multilabel,
    "in_batch": InBatch,
}
