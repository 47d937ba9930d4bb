"""A table that gets a row for each id as it arrives."""

import tensorflow as tf

from tfrs_dhe._keras import keras


class GrowingTable(keras.layers.Layer):
    """Embeds known ids by rows of their own, all others by row 0.

    Room for more rows is there from the start, so that shapes stay; a row counts from
    when its id arrives, and has a fresh initial value then, as if it were made.

    Args:
      output_dim: Width of the embedding.
      ids: Those that are known, int64 [n].
      capacity: Rows that there is room for, with row 0.
      min_count: How often an id has to be among those that rows are to be made for, to
        get one. From 2 on, there are ids that train row 0.

    Attributes:
      num_rows: How many rows count.
    """

    def __init__(self, output_dim, ids, capacity, min_count=1):
        super().__init__()
        self.output_dim, self.capacity = output_dim, capacity
        self.min_count = min_count
        self.num_rows = 1
        self.row_of_id = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.int64, default_value=0
        )
        self.rows = self.add_weight(
            name="rows", shape=[capacity, output_dim], initializer="uniform"
        )
        self._make_rows(tf.constant(ids, tf.int64))

    def grow(self, ids):
        """Makes rows for those ids [n] that have none and occur often enough.

        Raises:
          ValueError: If there is no room for them.
        """
        ids, _, counts = tf.unique_with_counts(tf.constant(ids, tf.int64))
        is_new = self.row_of_id.lookup(ids) == 0
        self._make_rows(ids[is_new & (counts >= self.min_count)])

    def _make_rows(self, ids):
        count = int(ids.shape[0])
        if self.num_rows + count > self.capacity:
            raise ValueError(
                f"`ids` has {count} new ones, and there is room for "
                f"{self.capacity - self.num_rows}. Give a larger `capacity`."
            )
        places = tf.range(self.num_rows, self.num_rows + count, dtype=tf.int64)
        self.row_of_id.insert(ids, places)
        # An initializer of Keras gives the same values whenever it is called.
        values = tf.random.uniform([count, self.output_dim], -0.05, 0.05)
        self.rows.scatter_update(tf.IndexedSlices(values, places))
        self.num_rows += count

    def call(self, ids):
        """Returns embeddings [n, output_dim] of ids [n]."""
        places = tf.ensure_shape(self.row_of_id.lookup(ids), ids.shape)
        return tf.gather(self.rows, places)
