"""From 64-bit keys to the numbers of their rows, in two ways.

The hash table is the fastest and the largest; a sorted list is as small as the keys,
and its look-up is a binary search.
"""

from typing import Any

import numpy as np
import tensorflow as tf


class HashTableIndex(tf.__internal__.tracking.AutoTrackable):
    """A hash table of TensorFlow.

    Args:
      num_keys: n.
    """

    #: A node of 32 bytes, and a share of the list of buckets, which grows in steps.
    #: Measured from 40 to 55.
    BYTES_PER_KEY = 48

    def __init__(self, num_keys: int) -> None:
        super().__init__()
        self._table = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.int64, default_value=num_keys
        )

    def assign(self, keys: np.ndarray) -> None:
        """Takes keys, distinct int64 [n], or none."""
        tf.raw_ops.LookupTableImportV2(
            table_handle=self._table.resource_handle,
            keys=tf.constant(keys, tf.int64),
            values=tf.range(len(keys), dtype=tf.int64),
        )

    def keys(self) -> np.ndarray:
        """Returns the keys by the numbers of their rows."""
        keys, rows = self._table.export()
        return keys.numpy()[np.argsort(rows.numpy())]

    def size(self) -> tf.Tensor:
        """Returns how many keys there are."""
        return self._table.size()

    def find(self, keys: tf.Tensor) -> tf.Tensor:
        """Returns the numbers of the rows of keys, n where there is none."""
        return self._table.lookup(keys)


class SortedIndex(tf.__internal__.tracking.AutoTrackable):
    """A sorted list of the keys.

    Args:
      num_keys: n.
    """

    BYTES_PER_KEY = 8

    def __init__(self, num_keys: int) -> None:
        super().__init__()
        self._num_keys = num_keys
        zeros = tf.zeros([num_keys], tf.int64)
        self._keys = tf.Variable(zeros, trainable=False, name="keys")
        # Zero is a key like any other: before there are keys, nothing is to be found.
        self._count = tf.Variable(0, trainable=False, name="num_keys", dtype=tf.int64)

    def assign(self, keys: np.ndarray) -> None:
        """Takes keys, int64 [n], ascending, or none.

        Raises:
          ValueError: If they do not ascend.
        """
        if np.any(keys[1:] <= keys[:-1]):
            raise ValueError("Keys of a sorted index must ascend.")
        self._count.assign(0)
        if len(keys):
            self._keys.assign(keys)
            self._count.assign(len(keys))

    def keys(self) -> np.ndarray:
        """Returns the keys by the numbers of their rows."""
        return self._keys.numpy()[: int(self._count.numpy())]

    def size(self) -> tf.Tensor:
        """Returns how many keys there are."""
        return tf.convert_to_tensor(self._count)

    def find(self, keys: tf.Tensor) -> tf.Tensor:
        """Returns the numbers of the rows of keys, n where there is none."""
        places, is_found = find_sorted(self._keys, keys)
        is_found &= places < self._count
        return tf.where(is_found, places, self._num_keys)


def find_sorted(sorted_keys: tf.Tensor, keys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds keys in a sorted list by binary search.

    Args:
      sorted_keys: tf.int64 [n], ascending.
      keys: tf.int64 [batch].

    Returns:
      Places in the list, tf.int64 [batch], and which keys are there, tf.bool [batch];
      the places of others are somewhere in the list.
    """
    # Of a variable, read once: TensorFlow copies the whole of one at every read once
    # something was gathered from it directly.
    sorted_keys = tf.convert_to_tensor(sorted_keys)
    places = tf.searchsorted(sorted_keys, keys, out_type=tf.int64)
    places = tf.minimum(places, tf.size(sorted_keys, tf.int64) - 1)
    return places, tf.equal(tf.gather(sorted_keys, places), keys)


#: By the name that users give.
KEY_INDEXES: dict[str, Any] = {"hash_table": HashTableIndex, "sorted": SortedIndex}
