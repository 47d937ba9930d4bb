"""A map from 64-bit keys to row numbers that is made of two tensors of int64.

Hash tables of TensorFlow are resources, which each way to save a layer treats in its
own manner or leaves out; these tensors are weights like any other.

The keys are scrambled by a bijection, which spreads them evenly over the integers,
and sorted. The row of a key is its place in that order. They lie in blocks of eight,
a cache line each, and `starts` says for every value of a key's top bits in which block
the keys with these bits begin. They are few, so a look-up reads one number and
`span` blocks, all keys of a batch at once and without a loop:

    key -> scrambled -> top bits -> starts[top bits] -> blocks[start : start + span]
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing

BLOCK = 8


@dataclass(frozen=True)
class KeyMapShape:
    """What is fixed when a map is made.

    Attributes:
      num_keys: n.
      num_bits: How many of the top bits of a scrambled key find its block.
      span: How many blocks a look-up reads.
    """

    num_keys: int
    num_bits: int
    span: int

    @property
    def starts(self) -> tuple[int]:
        """Shape of `starts`."""
        return (2**self.num_bits,)

    @property
    def blocks(self) -> tuple[int, int]:
        """Shape of `blocks`; there are more than are filled, to be read past them."""
        return (self.first_free_block + self.span, BLOCK)

    @property
    def first_free_block(self) -> int:
        """The block that holds no key: where a map of nothing points to."""
        return -(-self.num_keys // BLOCK)

    @property
    def num_bytes(self) -> int:
        """Memory of both tensors."""
        return 8 * (self.starts[0] + self.blocks[0] * BLOCK)


@dataclass(frozen=True)
class KeyMap:
    """A map of keys, as arrays.

    Attributes:
      shape: What is fixed.
      starts: int64 [2^num_bits].
      blocks: int64 [num_blocks, 8].
      order: int64 [n], the position among the given keys of the key of each row.
    """

    shape: KeyMapShape
    starts: np.ndarray
    blocks: np.ndarray
    order: np.ndarray


def usual_num_bits(num_keys: int) -> int:
    """Returns how many bits have as many values as there are keys, roughly."""
    return max(1, round(np.log2(num_keys)))


def build(keys: np.ndarray) -> KeyMap:
    """Returns the map of distinct keys.

    Args:
      keys: int64 [n], n at least 1, distinct.

    Returns:
      The map; row i is that of `keys[order[i]]`.
    """
    scrambled = hashing.mix_keys(tf.constant(keys.view(np.uint64))).numpy()
    order = np.argsort(scrambled)
    scrambled = scrambled[order]
    num_bits = usual_num_bits(len(keys))
    top_bits = (scrambled >> np.uint64(64 - num_bits)).astype(np.int64)
    first = np.searchsorted(top_bits, np.arange(2**num_bits + 1))
    starts = first[:-1] // BLOCK
    # From the block of the first key to that of the last one.
    span = int(((first[1:] - 1) // BLOCK - starts).max()) + 1
    shape = KeyMapShape(len(keys), num_bits, span)
    blocks = np.zeros(shape.blocks, np.int64)
    blocks.reshape(-1)[: len(keys)] = scrambled.view(np.int64)
    return KeyMap(shape, starts, blocks, order)


def find(
    keys: tf.Tensor, starts: tf.Tensor, blocks: tf.Tensor, shape: KeyMapShape
) -> tf.Tensor:
    """Returns the rows of keys.

    Args:
      keys: tf.int64 [batch].
      starts: tf.int64 [2^num_bits].
      blocks: tf.int64 [num_blocks, 8].
      shape: What is fixed.

    Returns:
      tf.int64 [batch]; `num_keys` or more for keys that are not in the map.
    """
    scrambled = hashing.mix_keys(tf.bitcast(keys, tf.uint64))
    shift = tf.constant(64 - shape.num_bits, tf.uint64)
    top_bits = tf.bitcast(tf.bitwise.right_shift(scrambled, shift), tf.int64)
    start = tf.gather(starts, top_bits)
    read = start[:, tf.newaxis] + tf.range(shape.span, dtype=tf.int64)
    width = shape.span * BLOCK
    candidates = tf.reshape(tf.gather(blocks, read), [-1, width])
    is_key = candidates == tf.bitcast(scrambled, tf.int64)[:, tf.newaxis]
    # The first one: places past the last key are filled with zeros.
    absent = shape.num_keys
    places = tf.where(is_key, tf.range(width, dtype=tf.int64), absent)
    return start * BLOCK + tf.reduce_min(places, axis=1)
