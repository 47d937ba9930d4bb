"""How often each of any number of ids occurred, in memory that does not grow."""

import math

import numpy as np

from tfrs_dhe.hashing import constants


class CountMinSketch:
    """Counts of 64-bit keys in `depth` rows of `width` counters.

    A key adds to one counter of each row; its estimate is the least of them. It is
    never too small, and too large by more than `e n / width` with a probability of at
    most `e^-depth`, n being all occurrences.

    Keys come in arrays, as they do from TensorFlow, so one row takes one pass of NumPy.

    Example:
    >>> sketch = CountMinSketch(width=1000, depth=4)
    >>> sketch.update(np.array([7, 8, 7]))
    >>> sketch.estimate(np.array([7, 8, 9])).tolist()
    [2, 1, 0]

    Args:
      width: Counters of a row, from 2 to 2^31 - 1.
      depth: Rows.
      seed: Integer in [0, 2^64) that the hash functions follow from.

    Attributes:
      counters: int64 [depth, width].

    Raises:
      ValueError: If an argument is out of range.

    References:
      Cormode and Muthukrishnan, "An Improved Data Stream Summary: The Count-Min Sketch
      and its Applications", Journal of Algorithms 55, 2005, section 3.
    """

    def __init__(self, width: int = 2**16, depth: int = 4, seed: int = 0) -> None:
        if not constants.is_integer(width) or not 2 <= width < 2**31:
            raise ValueError(
                f"`width` must be an integer from 2 to 2**31 - 1. Received: {width!r}."
            )
        if not constants.is_integer(depth) or depth < 1:
            raise ValueError(
                f"`depth` must be a positive integer. Received: {depth!r}."
            )
        self.width, self.depth = int(width), int(depth)
        self.seed = constants.check_seed(seed)
        # Other hash functions than those of a layer with the same seed.
        self._constants = constants.multiply_shift_constants(
            constants.derive_seed(self.seed, "count-min"), self.depth
        )
        self.counters = np.zeros((self.depth, self.width), np.int64)

    def update(self, keys: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Counts occurrences.

        Args:
          keys: int64 [n].
          counts: How often each occurred [n]; once each if None.
        """
        if counts is None:
            keys, counts = np.unique(keys, return_counts=True)
        for row, places in zip(self.counters, self.places(keys), strict=True):
            np.add.at(row, places, counts)

    def estimate(self, keys: np.ndarray) -> np.ndarray:
        """Returns how often keys occurred at most: int64 [n] for keys [n]."""
        places = self.places(keys)
        of_rows = [row[at] for row, at in zip(self.counters, places, strict=True)]
        least: np.ndarray = np.minimum.reduce(of_rows)
        return least

    def merge(self, other: "CountMinSketch") -> None:
        """Adds the counts of another sketch of the same width, depth and seed.

        Raises:
          ValueError: If it is another one.
        """
        if (self.width, self.depth, self.seed) != (
            other.width,
            other.depth,
            other.seed,
        ):
            raise ValueError(
                "`other` must have the same width, depth and seed: "
                f"{(self.width, self.depth, self.seed)}. Received: "
                f"{(other.width, other.depth, other.seed)}."
            )
        self.counters += other.counters

    @property
    def num_occurrences(self) -> int:
        """n, all that was counted."""
        return int(self.counters[0].sum())

    @property
    def error_bound(self) -> float:
        """`e n / width`: estimates are rarely larger than the truth by more."""
        return math.e * self.num_occurrences / self.width

    def places(self, keys: np.ndarray) -> np.ndarray:
        """Returns the counter of every key in every row [depth, n]."""
        keys = mixed(keys)
        high, low = keys >> np.uint64(32), keys & np.uint64(2**32 - 1)
        a, a_prime, b = (row[:, np.newaxis] for row in self._constants)
        with np.errstate(over="ignore"):
            hashes = ((high + a) * (low + a_prime) + b) >> np.uint64(32)
        places: np.ndarray = (hashes * np.uint64(self.width)) >> np.uint64(32)
        return places.astype(np.int64)


def mixed(keys: np.ndarray) -> np.ndarray:
    """Returns int64 keys scrambled by a bijection, as uint64; see `hashing.mix_keys`.

    Example:
    >>> [hex(x) for x in mixed(np.array([0, 1])).tolist()]
    ['0x0', '0x5692161d100b05e5']
    """
    keys = np.asarray(keys, np.int64).view(np.uint64)
    first, second, third = (np.uint64(shift) for shift in constants.MIX_SHIFTS)
    multiplier_1, multiplier_2 = (np.uint64(m) for m in constants.MIX_MULTIPLIERS)
    with np.errstate(over="ignore"):
        keys = (keys ^ (keys >> first)) * multiplier_1
        keys = (keys ^ (keys >> second)) * multiplier_2
    scrambled: np.ndarray = keys ^ (keys >> third)
    return scrambled
