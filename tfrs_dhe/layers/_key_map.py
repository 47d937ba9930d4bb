"""A map from 64-bit keys to row numbers that may be stale and never misleads.

A hash table of TensorFlow finds rows by a single op, but is a resource, which some
ways to set the weights of a model leave out. Therefore the keys of the rows are a
weight beside the rows, and the table is an index of it: a row is taken only if the key
that stands there is the one that was asked for. With a table of other keys, or none,
keys are not found; rows of others are never returned.

    key -> table -> row, 0 if there is none -> keys[row] == key
"""

from typing import Any

import tensorflow as tf

from tfrs_dhe import hashing

#: Memory of the table for each key: a node of 32 bytes, and a share of the list of
#: buckets, which grows in steps. Measured from 40 to 55.
TABLE_BYTES_PER_KEY = 48

#: That of the table and the weight.
BYTES_PER_KEY = TABLE_BYTES_PER_KEY + 8

#: Of keys that are not set yet: a number that hardly any id has.
UNSET_KEY = -(2**63)


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


class KeyMap(tf.__internal__.tracking.AutoTrackable):
    """The table of a map, which checkpoints and SavedModels follow.

    The methods are to be called on a CPU, where the table is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._table = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.int64, default_value=0
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeyMap":
        # The table itself would be shared.
        copy = KeyMap()
        copy._import(*self._table.export())
        return copy

    def fill(self, keys: tf.Tensor) -> None:
        """Takes keys [n], tf.int64, in place of those there are."""
        self._import(keys, tf.range(len(keys), dtype=tf.int64))

    def find(self, asked: tf.Tensor, keys: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the rows of keys.

        Args:
          asked: tf.int64 [batch].
          keys: tf.int64 [n], the keys of the rows, a tensor or a variable.

        Returns:
          Rows tf.int64 [batch], all of them from 0 to n - 1, and whether they are
          those of the keys, tf.bool [batch].
        """
        rows = self._table.lookup(asked)
        return rows, tf.equal(tf.gather(keys, rows), asked)

    def _import(self, keys: tf.Tensor, rows: tf.Tensor) -> None:
        tf.raw_ops.LookupTableImportV2(
            table_handle=self._table.resource_handle, keys=keys, values=rows
        )
