"""From ids to their numbers in a vocabulary."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._keras import keras


class Vocabulary:
    """Numbers ids from 1, in the order they are given; 0 is for all others.

    Args:
      ids: Strings (bytes as UTF-8) or integers [n], distinct.

    Raises:
      ValueError: If ids are neither strings nor integers, repeat, are bytes that are no
        text, or end in a zero byte.
    """

    def __init__(self, ids: Sequence[Any]) -> None:
        array = np.asarray(ids)
        if array.dtype.kind in "SU" and not hasattr(ids, "dtype"):
            # NumPy makes strings of integers beside them, and cuts off zeros.
            array = np.asarray(ids, object)
        if array.dtype.kind in "SO" and all(isinstance(x, str | bytes) for x in array):
            array = np.array([tf.compat.as_text(x) for x in array], dtype=object)
            self.is_string = True
        else:
            self.is_string = array.dtype.kind == "U"
        if array.ndim != 1 or not (self.is_string or array.dtype.kind in "iu"):
            raise ValueError(
                "`vocabulary` must be a list of strings or integers. Received an array "
                f"of shape {array.shape} and dtype {array.dtype}."
            )
        if len(array) == 0 or len(set(array.tolist())) < len(array):
            raise ValueError(
                "`vocabulary` must have at least one id, and each once. Received "
                f"{len(array)} ids, of which {len(set(array.tolist()))} are distinct."
            )
        if self.is_string and any(x.endswith("\0") for x in array):
            raise ValueError(
                "`vocabulary` must have no strings with a zero at their end, which "
                "Keras's lookup would cut off, and so know other ids. Received one: "
                f"{next(x for x in array if x.endswith(chr(0)))!r}."
            )
        if not self.is_string:
            array = array.astype(np.int64)  # those of uint64 keep their bits
        # Text and Python's integers, as a config can hold them.
        self.ids = array.tolist()

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, size: int) -> "Vocabulary":
        """Returns the vocabulary of the first ids."""
        return Vocabulary(self.ids[:size])

    def lookup(self) -> Any:
        """Returns a Keras layer from ids to numbers."""
        # Keras has an id for all unknown ones, "[UNK]" or -1, which may be known.
        known = set(self.ids)
        unknown: Any = "[UNK]" if self.is_string else -1
        while unknown in known:
            unknown = unknown + "]" if self.is_string else unknown - 1
        lookup = (
            keras.layers.StringLookup if self.is_string else keras.layers.IntegerLookup
        )
        return lookup(vocabulary=self.ids, oov_token=unknown, name="lookup")

    def prepare(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns ids as the lookup takes them.

        Raises:
          ValueError: If they are of another type than the vocabulary, or floats.
        """
        if (ids.dtype == tf.string) != self.is_string:
            kind = "strings" if self.is_string else "integers"
            raise ValueError(
                f"`ids` must be {kind}, as the `vocabulary` is. Received dtype "
                f"{ids.dtype.name}."
            )
        return ids if self.is_string else hashing.int64_keys(ids)
