"""Many arrays of weights in one variable.

Whatever a graph keeps in a branch that is not taken costs time for each variable that
the branch reads: half a microsecond, which is a twentieth of a look-up in a table. The
arrays of a network are therefore kept one after another in one variable. Each begins
where memory is aligned, so that TensorFlow takes them apart without copying.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

#: Numbers in a line of the variable: 64 bytes of 16 bits, TensorFlow's alignment.
_WIDTH = 32


@dataclasses.dataclass(frozen=True)
class PackedLayout:
    """Where arrays are in a variable.

    Attributes:
      shapes: Those of the arrays.
    """

    shapes: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the variable."""
        return sum(self._lines), _WIDTH

    @property
    def _lines(self) -> list[int]:
        return [-(-math.prod(shape) // _WIDTH) for shape in self.shapes]

    def pack(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the value of the variable that holds the arrays."""
        packed = [
            np.pad(np.ravel(array), (0, lines * _WIDTH - np.size(array)))
            for array, lines in zip(arrays, self._lines, strict=True)
        ]
        return np.reshape(np.concatenate(packed), self.shape)

    def unpack(self, packed: tf.Tensor) -> list[tf.Tensor]:
        """Returns the arrays in the value of the variable."""
        parts = tf.split(packed, self._lines)
        return [
            _without_padding(part, shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]


def _without_padding(lines: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    size = math.prod(shape)
    if size % _WIDTH:
        lines = tf.reshape(lines, [-1])[:size]
    return tf.reshape(lines, shape)
