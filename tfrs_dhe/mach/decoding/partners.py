"""Which bucket the entries of the lists have in the partner of their repetition."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding.entries import at
from tfrs_dhe.mach.decoding.inverse_lists import partner


class Partners(NamedTuple):
    """Where the buckets are found.

    Attributes:
      buckets: Integers [R, K], of the classes.
      members: tf.int32 [R, K], of the lists.
      of_members: Integers [R, K], the buckets of the members in the partner of their
        repetition; None if they are looked up in `buckets`.
    """

    buckets: tf.Tensor
    members: tf.Tensor
    of_members: tf.Tensor | None

    def at_places(self, repetitions: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """Returns the buckets of entries.

        Args:
          repetitions: tf.int64 [n].
          places: tf.int64 [..., n], in the flat members.

        Returns:
          tf.int64 [..., n].
        """
        if self.of_members is not None:
            found = tf.gather(tf.reshape(self.of_members, [-1]), places)
        else:
            classes = tf.gather(tf.reshape(self.members, [-1]), places)
            partners = partner(repetitions, self.buckets.shape[0])
            found = at(self.buckets, partners, tf.cast(classes, tf.int64))
        return tf.cast(found, tf.int64)
