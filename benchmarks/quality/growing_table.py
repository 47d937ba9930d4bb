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

    Attributes:
      num_rows: How many rows count.
    """

    def __init__(self, output_dim, ids, capacity):
        super().__init__()
        self.output_dim, self.capacity = output_dim, capacity
        self.num_rows = 1
        self.initializer = keras.initializers.get("uniform")
        self.row_of_id = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.int64, default_value=0
        )
        self.rows = self.add_weight(
            name="rows", shape=[capacity, output_dim], initializer=self.initializer
        )
        self.grow(ids)

    def grow(self, ids):
        """Makes rows for ids [n] that have none.

        Raises:
          ValueError: If there is no room for them.
        """
        ids = tf.unique(tf.constant(ids, tf.int64))[0]
        ids = ids[self.row_of_id.lookup(ids) == 0]
        count = int(ids.shape[0])
        if self.num_rows + count > self.capacity:
            raise ValueError(
                f"`ids` has {count} new ones, and there is room for "
                f"{self.capacity - self.num_rows}. Give a larger `capacity`."
            )
        places = tf.range(self.num_rows, self.num_rows + count, dtype=tf.int64)
        self.row_of_id.insert(ids, places)
        values = self.initializer([count, self.output_dim])
        self.rows.scatter_update(tf.IndexedSlices(values, places))
        self.num_rows += count

    def call(self, ids):
        """Returns embeddings [n, output_dim] of ids [n]."""
        places = tf.ensure_shape(self.row_of_id.lookup(ids), ids.shape)
        return tf.gather(self.rows, places)
