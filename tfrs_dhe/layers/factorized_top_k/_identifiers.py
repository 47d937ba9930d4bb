"""Identifiers as users give them: checked, compared, and named in errors."""

from typing import Any

import numpy as np
import tensorflow as tf

#: How many identifiers a message names.
_NUM_NAMED = 5


def check_dtype(name: str, dtype: tf.DType) -> None:
    """Raises a ValueError if a dtype is none of identifiers."""
    if dtype != tf.string and not dtype.is_integer:
        raise ValueError(
            f"`{name}` must be strings or integers. Received dtype {dtype.name}."
        )


def as_tensor(name: str, ids: Any, dtype: tf.DType | None = None) -> tf.Tensor:
    """Returns identifiers as a tensor, with Python's integers as int64.

    Args:
      name: Of the argument, for the message.
      ids: Strings or integers of any shape: a tensor, an array or a list.
      dtype: What they have to be; by default strings or any integers.

    Raises:
      ValueError: If they are something else.
    """
    if isinstance(ids, list | tuple) and not len(ids):
        raise ValueError(f"`{name}` must be at least one id. Received none.")
    if not isinstance(ids, list | tuple | str | bytes | int) and not hasattr(
        ids, "__array__"
    ):
        raise ValueError(
            f"`{name}` must be a tensor, an array or a list of strings or integers. "
            f"Received: {ids!r}. What comes one after the other has to be collected "
            "first, and what is sparse to be made dense."
        )
    if not hasattr(ids, "dtype") and np.asarray(ids).dtype.kind in "iu":
        # TensorFlow would make int32 of small ones and of large ones int64.
        known = dtype.as_numpy_dtype if dtype and dtype.is_integer else None
        ids = np.asarray(ids, known)
    ids = tf.convert_to_tensor(ids)
    check_dtype(name, ids.dtype)
    if dtype is not None and ids.dtype != dtype:
        raise ValueError(
            f"`{name}` must have the dtype of the identifiers in the index, "
            f"{dtype.name}. Received dtype {ids.dtype.name}."
        )
    return ids


def as_list(name: str, ids: Any, dtype: tf.DType | None = None) -> tf.Tensor:
    """Returns identifiers as a tensor of one dimension, distinct and at least one.

    Raises:
      ValueError: If they are not. The message names some that occur twice.
    """
    ids = as_tensor(name, ids, dtype)
    if ids.shape.rank != 1 or not len(ids):
        raise ValueError(
            f"`{name}` must be a list of at least one id, of shape [num_classes]. "
            f"Received shape {ids.shape}."
        )
    if ids.dtype.is_integer and _are_distinct(ids.numpy()):
        return ids
    distinct, _, counts = tf.unique_with_counts(ids)
    repeated = tf.boolean_mask(distinct, counts > 1)
    if len(repeated):
        raise ValueError(
            f"`{name}` must be distinct. Received {len(repeated)} that occur more "
            f"than once: {named(repeated)}."
        )
    return ids


def _are_distinct(ids: np.ndarray) -> bool:
    """Returns whether no integer of [n] is there twice, in the room of a copy.

    A hash table, which tells which ones are, has ten times as much.
    """
    ids = np.sort(ids)
    return not (ids[1:] == ids[:-1]).any()


def positions(present: tf.Tensor, ids: tf.Tensor) -> np.ndarray:
    """Returns where distinct ids are among others, -1 where they are not: [n]."""
    # Those present are distinct, so they are numbered by their position.
    numbers = tf.unique(tf.concat([present, ids], axis=0)).idx[len(present) :]
    return np.where(numbers < len(present), numbers, -1)


def named(ids: tf.Tensor) -> str:
    """Returns the first of some ids as they read in a message."""
    words = ", ".join(_plain(id_) for id_ in ids[:_NUM_NAMED].numpy().tolist())
    return words + (", ..." if len(ids) > _NUM_NAMED else "")


def _plain(id_: bytes | int) -> str:
    return repr(id_.decode(errors="replace") if isinstance(id_, bytes) else id_)
