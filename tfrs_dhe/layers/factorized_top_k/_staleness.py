"""Whether the classes of an index are still in the buckets of its head."""

import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe.layers.factorized_top_k._tables import Tables


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
        self._number = 0

    @tf.autograph.experimental.do_not_convert
    def is_stale(self, tables: Tables) -> bool:
        """Returns whether the boundaries are others than classes were indexed by.

        The classes themselves are not compared: some may have borrowed buckets. In a
        graph, that is when it is traced.

        Args:
          tables: Those of the index.
        """
        with tf.init_scope():
            return tables.size() > 0 and tables.boundaries() != self.number()

    def number(self) -> int:
        """Returns what stands for the boundaries; 0 where there are none."""
        boundaries = self._boundaries()
        if len(boundaries) != len(self._seen) or not all(
            map(np.array_equal, boundaries, self._seen)
        ):
            self._seen = boundaries
            self._number = _number_of(boundaries)
        return self._number

    def _boundaries(self) -> list[np.ndarray]:
        """Returns the boundaries of each head that has some."""
        heads = getattr(self._head, "heads", [self._head])
        found = [getattr(head, "boundaries", None) for head in heads]
        return [tf.convert_to_tensor(b).numpy() for b in found if b is not None]


def _number_of(boundaries: list[np.ndarray]) -> int:
    """Returns a number of 63 bits, the same on every machine."""
    data = b"".join(b.astype("<i8").tobytes() for b in boundaries)
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little") >> 1
