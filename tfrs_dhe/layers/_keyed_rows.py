"""Rows of floats that are found by 64-bit keys.

An index says where the row of a key stands, and for all other keys that they stand in
a last row of zeros:

    key -> index -> row, n if there is none -> rows[row]

Index and rows belong together, so they are set together, and neither of them is a
weight of a Keras layer, which could be set without the other. Checkpoints and
SavedModels follow both.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import _compact_rows
from tfrs_dhe.layers._key_index import KEY_INDEXES

#: Where the index is, and the rows: of 8 and 16 bits they can be looked up on the CPU
#: alone, and strings are there.
DEVICE = "CPU:0"


def keys_of(ids: tf.Tensor) -> tf.Tensor:
    """Returns the keys by which ids are known.

    For strings of more than 32 bytes it is another number than CityHash64, which the
    network takes, and far sooner computed.

    Args:
      ids: Strings or integers [n].

    Returns:
      tf.int64 [n].

    Raises:
      ValueError: If ids are neither strings nor integers.
    """
    if ids.dtype == tf.string:
        return tf.bitcast(tf.fingerprint(ids), tf.int64)
    return hashing.int64_keys(ids)


def check_type(ids: tf.Tensor, string_ids: bool) -> None:
    """Raises a ValueError if ids are of another type than those that have rows.

    Args:
      ids: Strings or integers [n].
      string_ids: Whether those with rows are strings.
    """
    if (ids.dtype == tf.string) == string_ids:
        return
    kind = "strings" if string_ids else "integers"
    raise ValueError(
        f"`ids` must be {kind}, as the ids that have rows are; others would all be "
        f"unknown. Received dtype {ids.dtype.name}. Where ids are hashed or converted "
        "before they come here, make the layer of such ids, too."
    )


class KeyedRows(tf.__internal__.tracking.AutoTrackable):
    """The index and the rows.

    The methods are to be called on `DEVICE`.

    Args:
      num_rows: n.
      width: Numbers in a row.
      dtype: What rows are rounded to, one of `_compact_rows.ROW_DTYPES`.
      key_index: What finds them, one of `KEY_INDEXES`.
    """

    def __init__(self, num_rows: int, width: int, dtype: str, key_index: str) -> None:
        super().__init__()
        self._arguments = (num_rows, width, dtype, key_index)
        self._num_rows = num_rows
        self._width = width
        self._dtype = dtype
        self._index = KEY_INDEXES[key_index](num_rows)
        shape = [num_rows + 1, _compact_rows.stored_width(width, dtype)]
        self._values = _variable("rows", shape, _compact_rows.STORED[dtype])
        self._scales = None
        if dtype in _compact_rows.LARGEST:
            self._scales = _variable("scales", [num_rows + 1, 1], "float32")

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return ["keys", *self._variables()]

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeyedRows":
        # A hash table itself would be shared.
        copied = KeyedRows(*self._arguments)
        copied.assign(self.arrays())
        return copied

    def assign(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes keys and rows in place of those there are.

        Args:
          arrays: "keys", distinct int64 [n], or none, ascending for a sorted index;
            "rows" [n, stored width], in the dtype that `_compact_rows.STORED` has; for
            int8 and int4 "scales", float32 [n, 1].

        Raises:
          ValueError: If an array does not have the shape of these rows, or keys do not
            ascend for an index that is sorted.
        """
        keys = arrays["keys"]
        if len(keys) not in (0, self._num_rows):
            raise ValueError(
                f"There must be a key for each of the {self._num_rows} rows. "
                f"Received {len(keys)} keys."
            )
        # At no moment does a key lead to the row of another.
        self._index.assign(keys[:0])
        for name, variable in self._variables().items():
            zeros = np.zeros_like(arrays[name][:1])
            variable.assign(np.concatenate([arrays[name], zeros]))
        self._index.assign(keys)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what `assign` takes."""
        return {
            "keys": self._index.keys(),
            **{
                name: variable.numpy()[:-1]
                for name, variable in self._variables().items()
            },
        }

    def num_keys(self) -> tf.Tensor:
        """Returns how many keys there are, n or none."""
        return self._index.size()

    def look_up(
        self, keys: tf.Tensor, compute_dtype: str
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the rows of keys.

        Args:
          keys: tf.int64 [batch].
          compute_dtype: The dtype of the rows that are returned.

        Returns:
          Rows [batch, width], zeros where there is none, and where there is one,
          tf.bool [batch].
        """
        rows = self._index.find(keys)
        values = tf.gather(self._values, rows)
        scales = None if self._scales is None else tf.gather(self._scales, rows)
        values = _compact_rows.restore(
            values, scales, self._width, self._dtype, compute_dtype
        )
        return values, rows < self._num_rows

    def _variables(self) -> dict[str, tf.Variable]:
        found = {"rows": self._values, "scales": self._scales}
        return {name: v for name, v in found.items() if v is not None}


def _variable(name: str, shape: list[int], dtype: str) -> tf.Variable:
    return tf.Variable(tf.zeros(shape, dtype), trainable=False, name=name)
