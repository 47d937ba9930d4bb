"""`tf.data` datasets of dicts, gathered from in-memory columns a batch at a time."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# Rows gathered at once where the caller asked for single examples.
_CHUNK = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One field of a table: its values, and which of them each row has.

    Attributes:
      values: Array, or `tf.RaggedTensor`, of shape [num_values, ...].
      index: Integers of shape [num_rows] into `values`, or None where row i has
        value i. A rating points at its user and its movie this way, so that
        what is known of a user is held once.
    """

    values: Any
    index: npt.NDArray[np.integer[Any]] | None = None


Columns = Mapping[str, Column]


def batched_dataset(
    columns: Columns,
    num_rows: int,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    drop_remainder: bool = False,
    fields: Iterable[str] | None = None,
) -> tf.data.Dataset:
    """Makes a dataset of batches, each gathered from the columns in one go.

    Row numbers, not rows, are shuffled and batched, through a buffer of all of
    them: the shuffle is complete, and costs some 200 bytes a row in `tf.data`.

    Args:
      columns: The fields.
      num_rows: Number of rows that the columns have.
      batch_size: Rows in a batch.
      shuffle: Whether every pass takes the rows in a new random order.
      seed: Seed of that order. The same seed gives the same sequence of passes;
        as everywhere in TensorFlow, `tf.random.set_seed` changes it too.
      drop_remainder: Whether a last batch of fewer rows is left out, so that
        the batch size is static.
      fields: Names of the fields wanted; None gives all.

    Returns:
      A `tf.data.Dataset` of dicts with tensors of shape [batch_size, ...].

    Raises:
      ValueError: If `batch_size` is not positive or a field does not exist.
    """
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be a positive integer. Received: {batch_size=}."
        )
    columns = _select(columns, fields)
    # On the CPU, where tf.data runs: a copy held by a GPU would be fetched back
    # for every batch.
    with tf.device("CPU:0"):
        values = {name: _tensor(column.values) for name, column in columns.items()}
        indices = {
            id(column.index): tf.constant(column.index)
            for column in columns.values()
            if column.index is not None
        }
    index_of = {name: id(column.index) for name, column in columns.items()}

    def gather(rows: tf.Tensor) -> dict[str, Any]:
        at = {key: tf.gather(index, rows) for key, index in indices.items()}
        return {
            name: tf.gather(value, at.get(index_of[name], rows))
            for name, value in values.items()
        }

    rows = tf.data.Dataset.range(num_rows)
    if shuffle and num_rows:
        rows = rows.shuffle(num_rows, seed=seed)
    return (
        rows.batch(batch_size, drop_remainder=drop_remainder)
        .map(gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def example_dataset(
    columns: Columns, num_rows: int, *, fields: Iterable[str] | None = None
) -> tf.data.Dataset:
    """Makes a dataset of single examples, in order, as `tfds.load` gives them.

    Args:
      columns: The fields.
      num_rows: Number of rows that the columns have.
      fields: Names of the fields wanted; None gives all.

    Returns:
      A `tf.data.Dataset` of dicts, of known cardinality. Ragged fields batch to
      `tf.RaggedTensor`s.
    """
    dataset = batched_dataset(columns, num_rows, _CHUNK, fields=fields).unbatch()
    return dataset.apply(tf.data.experimental.assert_cardinality(num_rows))


def _select(columns: Columns, fields: Iterable[str] | None) -> Columns:
    if fields is None:
        return columns
    wanted = list(fields)
    unknown = sorted(set(wanted) - set(columns))
    if unknown:
        raise ValueError(
            f"`fields` names {unknown}, which this data does not have. Choose "
            f"among {sorted(columns)}."
        )
    return {name: columns[name] for name in wanted}


def _tensor(values: Any) -> Any:
    return values if isinstance(values, tf.RaggedTensor) else tf.constant(values)
