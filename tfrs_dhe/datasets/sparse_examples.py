"""`SparseExamples`: sparse feature vectors with several labels each, in memory."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfrs_dhe.datasets.batching import Column, batched_dataset
from tfrs_dhe.datasets.checks import check_length

_Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class SparseExamples:
    """Examples with a sparse vector of D features and a set of L labels each.

    Rows are laid out one after the other: the features of example i are
    `feature_ids[feature_splits[i]:feature_splits[i + 1]]`, with their values
    beside them, and its labels are found in the same way.

    Example:
    >>> examples = SparseExamples(
    ...     feature_splits=np.array([0, 2, 3]),
    ...     feature_ids=np.array([1, 4, 0]),
    ...     feature_values=np.array([0.5, 2.0, 1.0], np.float32),
    ...     label_splits=np.array([0, 1, 3]),
    ...     labels=np.array([6, 0, 2]),
    ...     num_features=5,
    ...     num_labels=7,
    ... )
    >>> batch = next(iter(examples.batches(2)))
    >>> tf.sparse.to_dense(batch["features"]).numpy().tolist()
    [[0.0, 0.5, 0.0, 0.0, 2.0], [1.0, 0.0, 0.0, 0.0, 0.0]]
    >>> batch["labels"].to_list()
    [[6], [0, 2]]

    Attributes:
      feature_splits: int64 of shape [num_examples + 1], from 0 upwards.
      feature_ids: int64 of shape [num_values], from 0 to D - 1, ascending within
        an example.
      feature_values: float32 of shape [num_values].
      label_splits: int64 of shape [num_examples + 1].
      labels: int64 of shape [num_pairs], from 0 to L - 1, distinct within an
        example.
      num_features: D.
      num_labels: L.
    """

    feature_splits: _Ints
    feature_ids: _Ints
    feature_values: npt.NDArray[np.float32]
    label_splits: _Ints
    labels: _Ints
    num_features: int
    num_labels: int

    def __post_init__(self) -> None:
        _check_splits("feature_splits", self.feature_splits, self.feature_ids)
        _check_splits("label_splits", self.label_splits, self.labels)
        check_length("label_splits", self.label_splits, len(self.feature_splits))
        check_length("feature_values", self.feature_values, len(self.feature_ids))
        for name, ids, size in (
            ("feature_ids", self.feature_ids, self.num_features),
            ("labels", self.labels, self.num_labels),
        ):
            if ids.size and not 0 <= ids.min() <= ids.max() < size:
                raise ValueError(
                    f"`{name}` must lie between 0 and {size - 1}. Received values "
                    f"from {ids.min()} to {ids.max()}."
                )
        if not np.isfinite(self.feature_values).all():
            raise ValueError("`feature_values` must be finite. Received NaN or inf.")
        if first_not_ascending(self.feature_splits, self.feature_ids) is not None:
            raise ValueError(
                "`feature_ids` must ascend within an example, without repetition. "
                "Sort each example's features, and add up what is repeated."
            )
        if first_repeated(self.label_splits, self.labels) is not None:
            raise ValueError(
                "`labels` must be distinct within an example. Received a label twice."
            )

    def __len__(self) -> int:
        return len(self.feature_splits) - 1

    def take(self, rows: npt.ArrayLike) -> "SparseExamples":
        """Returns the examples of the given numbers, in that order.

        Args:
          rows: Integers of shape [n], from 0 to num_examples - 1.

        Returns:
          n examples.

        Raises:
          ValueError: If `rows` are something else, such as a mask.
        """
        rows = _checked_rows(rows, len(self))
        feature_splits, at = _spans(self.feature_splits, rows)
        label_splits, labels_at = _spans(self.label_splits, rows)
        return dataclasses.replace(
            self,
            feature_splits=feature_splits,
            feature_ids=self.feature_ids[at],
            feature_values=self.feature_values[at],
            label_splits=label_splits,
            labels=self.labels[labels_at],
        )

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_remainder: bool = False,
    ) -> tf.data.Dataset:
        """Makes a dataset of batches.

        Args:
          batch_size: Examples in a batch.
          shuffle: Whether every pass takes the examples in a new random order.
          seed: Seed of that order. The same seed gives the same sequence of
            passes; `tf.random.set_seed` changes it too.
          drop_remainder: Whether a last batch of fewer examples is left out.

        Returns:
          A dataset of dicts: `features`, a tf.SparseTensor of float32 [batch, D],
          and `labels`, a tf.RaggedTensor of int64 [batch, None].

        Raises:
          ValueError: If `batch_size` is not positive.
        """

        def ragged(values: Any, splits: _Ints) -> Column:
            with tf.device("CPU:0"):
                return Column(tf.RaggedTensor.from_row_splits(values, splits))

        columns = {
            "feature_ids": ragged(self.feature_ids, self.feature_splits),
            "feature_values": ragged(self.feature_values, self.feature_splits),
            "labels": ragged(self.labels, self.label_splits),
        }
        dataset = batched_dataset(
            columns,
            len(self),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
        )

        def assemble(batch: dict[str, Any]) -> dict[str, Any]:
            ids, labels = batch["feature_ids"], batch["labels"]
            return sparse_batch(
                rows=ids.value_rowids(),
                ids=ids.values,
                values=batch["feature_values"].values,
                labels=labels.values,
                label_splits=labels.row_splits,
                num_features=self.num_features,
                batch_size=batch_size if drop_remainder else None,
            )

        return dataset.map(assemble, num_parallel_calls=tf.data.AUTOTUNE)


def sparse_batch(
    rows: tf.Tensor,
    ids: tf.Tensor,
    values: tf.Tensor,
    labels: tf.Tensor,
    label_splits: tf.Tensor,
    *,
    num_features: int,
    batch_size: int | None,
) -> dict[str, Any]:
    """Returns a batch whose number of features is known in a graph.

    Args:
      rows: tf.int64 [num_values], ascending.
      ids: tf.int64 [num_values], ascending within a row.
      values: tf.float32 [num_values].
      labels: tf.int64 [num_pairs].
      label_splits: tf.int64 [batch + 1].
      num_features: D.
      batch_size: Number of rows where it is known, else None.

    Returns:
      A dict of `features`, a tf.SparseTensor [batch, D], and `labels`, a
      tf.RaggedTensor [batch, None].
    """
    if batch_size is not None:
        label_splits = tf.ensure_shape(label_splits, [batch_size + 1])
    ragged = tf.RaggedTensor.from_row_splits(labels, label_splits, validate=False)
    num_rows = ragged.nrows() if batch_size is None else batch_size
    shape = tf.stack([tf.cast(num_rows, tf.int64), tf.constant(num_features, tf.int64)])
    features = tf.SparseTensor(tf.stack([rows, ids], axis=1), values, shape)
    return {"features": features, "labels": ragged}


def concatenate(blocks: Sequence[SparseExamples]) -> SparseExamples:
    """Joins examples with the same features and labels.

    Args:
      blocks: At least one.

    Returns:
      All examples, in order.
    """

    def splits(name: str) -> _Ints:
        sizes = [np.diff(getattr(block, name)) for block in blocks]
        return np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)

    def values(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(block, name) for block in blocks])

    return dataclasses.replace(
        blocks[0],
        feature_splits=splits("feature_splits"),
        feature_ids=values("feature_ids"),
        feature_values=values("feature_values"),
        label_splits=splits("label_splits"),
        labels=values("labels"),
    )


def row_numbers(splits: _Ints) -> _Ints:
    """Returns the row of every value."""
    return np.repeat(np.arange(len(splits) - 1), np.diff(splits))


def first_not_ascending(splits: _Ints, values: _Ints) -> int | None:
    """Returns a row in which values do not ascend, None if all do."""
    rows = row_numbers(splits)
    bad = (np.diff(values) <= 0) & (np.diff(rows) == 0)
    return int(rows[bad.argmax()]) if bad.any() else None


def first_repeated(splits: _Ints, values: _Ints) -> int | None:
    """Returns a row that holds a value twice, None if there is none."""
    order = np.lexsort((values, row_numbers(splits)))
    return first_not_ascending(splits, values[order])


def _checked_rows(rows: npt.ArrayLike, num_examples: int) -> _Ints:
    """Returns row numbers, none of which counts from the end."""
    array = np.asarray(rows)
    if array.size == 0 and array.ndim == 1 and array.dtype.kind == "f":
        array = array.astype(np.int64)  # of an empty list
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            "`rows` must be integers of shape [n]. Received dtype "
            f"{array.dtype} and shape {array.shape}; `np.flatnonzero` gives the "
            "numbers of a mask."
        )
    if array.size and not 0 <= array.min() <= array.max() < num_examples:
        raise ValueError(
            f"`rows` must lie between 0 and {num_examples - 1}. Received values from "
            f"{array.min()} to {array.max()}."
        )
    return array.astype(np.int64)


def _spans(splits: _Ints, rows: _Ints) -> tuple[_Ints, _Ints]:
    """Returns the splits of chosen rows, and where their values are."""
    lengths = np.diff(splits)[rows]
    chosen = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    shift = np.repeat(splits[rows] - chosen[:-1], lengths)
    return chosen, np.arange(chosen[-1]) + shift


def _check_splits(name: str, splits: _Ints, values: _Ints) -> None:
    fits = splits.ndim == 1 and len(splits) > 0 and splits[0] == 0
    if not fits or (np.diff(splits) < 0).any() or splits[-1] != len(values):
        raise ValueError(
            f"`{name}` must start at 0, never fall and end at {len(values)}, the "
            f"number of values. Received: {splits!r}."
        )
