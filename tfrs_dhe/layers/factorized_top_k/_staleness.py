"""Whether the classes of an index are still in the buckets of its head."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe.layers.factorized_top_k._tables import Tables

# So many classes are hashed anew when boundaries have changed: a tenth of a second.
_NUM_COMPARED = 100_000


class BoundariesWatch:
    """Notices that the boundaries of a head's buckets have changed.

    `MACHHead.balance` changes them, and so does loading the weights of a balanced head.
    A plain hash never changes.

    Args:
      head: A `MACHHead` or a `MACHEnsemble`.
    """

    def __init__(self, head: Any) -> None:
        self._head = head
        self._seen: list[np.ndarray] = []

    @tf.autograph.experimental.do_not_convert
    def is_stale(self, tables: Tables) -> bool:
        """Returns whether classes are in other buckets than the head has for them.

        They are compared where the boundaries are not those of the time before. In a
        graph, that is when it is traced.

        Args:
          tables: Those of the index.
        """
        with tf.init_scope():
            return tables.size() > 0 and self._is_stale(tables)

    def _is_stale(self, tables: Tables) -> bool:
        boundaries = self._boundaries()
        if len(boundaries) == len(self._seen) and all(
            map(np.array_equal, boundaries, self._seen)
        ):
            return False
        step = -(-tables.size() // _NUM_COMPARED)
        expected = self._head.bucket_table(tables.identifiers()[::step])
        if not np.array_equal(tables.buckets[:, ::step], expected):
            return True
        self._seen = boundaries
        return False

    def _boundaries(self) -> list[np.ndarray]:
        """Returns the boundaries of each head that has some."""
        heads = getattr(self._head, "heads", [self._head])
        found = [getattr(head, "boundaries", None) for head in heads]
        return [tf.convert_to_tensor(b).numpy() for b in found if b is not None]
