"""Rows of floats that are found by 64-bit keys.

A hash table of TensorFlow says where the row of a key stands, and for all other keys
that they stand in a last row of zeros:

    key -> table -> row, n if there is none -> rows[row]

Table and rows belong together, so they are set together, and neither of them is a
weight of a Keras layer, which could be set without the other. Checkpoints and
SavedModels follow both.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import _compact_rows

#: Memory of the table for each key: a node of 32 bytes, and a share of the list of
#: buckets, which grows in steps. Measured from 40 to 55.
BYTES_PER_KEY = 48

#: Where the table is, and the rows: of 8 and 16 bits they can be looked up on the CPU
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


class KeyedRows(tf.__internal__.tracking.AutoTrackable):
    """The table and the rows.

    The methods are to be called on `DEVICE`.

    Args:
      num_rows: n.
      width: Numbers in a row.
      dtype: What rows are rounded to, one of `_compact_rows.ROW_DTYPES`.
    """

    def __init__(self, num_rows: int, width: int, dtype: str) -> None:
        super().__init__()
        self._num_rows = num_rows
        self._dtype = dtype
        self._table = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.int64, default_value=num_rows
        )
        stored = _compact_rows.STORED[dtype]
        self._values = _variable("rows", [num_rows + 1, width], stored)
        self._scales = None
        if dtype == "int8":
            self._scales = _variable("scales", [num_rows + 1, 1], "float32")

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return ["keys", *self._variables()]

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeyedRows":
        # The table itself would be shared.
        copied = KeyedRows(self._num_rows, self._values.shape[1], self._dtype)
        copied.assign(self.arrays())
        return copied

    def assign(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes keys and rows in place of those there are.

        Args:
          arrays: "keys", distinct int64 [n], or none; "rows" [n, width], in the dtype
            that `_compact_rows.STORED` has; for int8 "scales", float32 [n, 1].

        Raises:
          ValueError: If an array does not have the shape of these rows.
        """
        keys = arrays["keys"]
        if len(keys) not in (0, self._num_rows):
            raise ValueError(
                f"There must be a key for each of the {self._num_rows} rows. "
                f"Received {len(keys)} keys."
            )
        # At no moment does a key lead to the row of another.
        self._import(keys[:0])
        for name, variable in self._variables().items():
            zeros = np.zeros_like(arrays[name][:1])
            variable.assign(np.concatenate([arrays[name], zeros]))
        self._import(keys)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what `assign` takes."""
        keys, rows = self._table.export()
        return {
            "keys": keys.numpy()[np.argsort(rows.numpy())],
            **{
                name: variable.numpy()[:-1]
                for name, variable in self._variables().items()
            },
        }

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
        rows = self._table.lookup(keys)
        values = tf.gather(self._values, rows)
        scales = None if self._scales is None else tf.gather(self._scales, rows)
        values = _compact_rows.restore(values, scales, self._dtype, compute_dtype)
        return values, rows < self._num_rows

    def _variables(self) -> dict[str, tf.Variable]:
        found = {"rows": self._values, "scales": self._scales}
        return {name: v for name, v in found.items() if v is not None}

    def _import(self, keys: np.ndarray) -> None:
        tf.raw_ops.LookupTableImportV2(
            table_handle=self._table.resource_handle,
            keys=tf.constant(keys, tf.int64),
            values=tf.range(len(keys), dtype=tf.int64),
        )


def _variable(name: str, shape: list[int], dtype: str) -> tf.Variable:
    return tf.Variable(tf.zeros(shape, dtype), trainable=False, name=name)
