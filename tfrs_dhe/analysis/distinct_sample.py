"""A uniform sample of the distinct ids of a stream, with their exact counts."""

import math

import numpy as np

from tfrs_dhe.analysis.count_min_sketch import mixed
from tfrs_dhe.hashing import constants


class DistinctSample:
    """Keeps the ids whose hash is small enough, and counts them exactly.

    An id is in the sample if its hash begins with `level` zeros, so with a probability
    of `2^-level`, however often it occurs; as the sample grows over its capacity, the
    level rises. Until then every id is held and all that follows is exact. Two samples
    hold the same ids as far as both saw them: what one lacks, its stream lacked.

    Example:
    >>> sample = DistinctSample(capacity=100)
    >>> sample.update(np.array([5, 5, 6]))
    >>> sample.num_ids, sample.level, sample.counts.tolist()
    (2.0, 0, [2, 1])

    Args:
      capacity: How many ids are held.
      seed: Integer in [0, 2^64) that the choice follows from.

    Attributes:
      keys: int64 [n], ascending.
      counts: int64 [n], how often each occurred.
      level: An id is held with a probability of `2^-level`.

    Raises:
      ValueError: If an argument is out of range.

    References:
      Gibbons, "Distinct Sampling for Highly-Accurate Answers to Distinct Values Queries
      and Event Reports", VLDB 2001, section 3.
    """

    def __init__(self, capacity: int = 2**16, seed: int = 0) -> None:
        if not constants.is_integer(capacity) or capacity < 1:
            raise ValueError(
                f"`capacity` must be a positive integer. Received: {capacity!r}."
            )
        self.capacity = int(capacity)
        self.seed = constants.check_seed(seed)
        derived = constants.derive_seed(self.seed, "distinct sample")
        self._mask = np.uint64(derived).view(np.int64)
        self.keys = np.zeros(0, np.int64)
        self.counts = np.zeros(0, np.int64)
        self.level = 0

    def update(self, keys: np.ndarray) -> None:
        """Counts occurrences of keys, int64 [n]."""
        self._add(*np.unique(keys[self.holds(keys)], return_counts=True))

    def first_occurrences(self, keys: np.ndarray) -> np.ndarray:
        """Returns where keys that the sample lacks, and would hold, first occur.

        Args:
          keys: int64 [n].

        Returns:
          Positions in `keys`, ascending.
        """
        distinct, first = np.unique(keys, return_index=True)
        is_new = self.holds(distinct) & ~np.isin(distinct, self.keys)
        return np.sort(first[is_new])

    def merge(self, other: "DistinctSample") -> None:
        """Adds what another sample of the same capacity and seed counted.

        Raises:
          ValueError: If it is another one.
        """
        if (other.capacity, other.seed) != (self.capacity, self.seed):
            raise ValueError(
                "`other` must have the same capacity and seed: "
                f"{(self.capacity, self.seed)}. Received: "
                f"{(other.capacity, other.seed)}."
            )
        self._rise_to(other.level)
        kept = self.holds(other.keys)
        self._add(other.keys[kept], other.counts[kept])

    def holds(self, keys: np.ndarray, level: int | None = None) -> np.ndarray:
        """Returns for keys [n] whether a sample of this level would hold them: [n]."""
        level = self.level if level is None else level
        if not level:
            return np.ones(len(keys), bool)
        # By other bits than those the sketches take.
        hashes = mixed(mixed(keys).view(np.int64) ^ self._mask)
        held: np.ndarray = (hashes >> np.uint64(64 - level)) == 0
        return held

    @property
    def num_ids(self) -> float:
        """Number of distinct ids of the stream; exact while the level is 0."""
        return float(len(self.keys) * 2**self.level)

    @property
    def num_ids_error(self) -> float:
        """Standard error of `num_ids`, `sqrt(n (1 - p)) / p` for n held with p."""
        return math.sqrt(len(self.keys) * (1 - 2.0**-self.level)) * 2**self.level

    def _add(self, keys: np.ndarray, counts: np.ndarray) -> None:
        merged, inverse = np.unique(
            np.concatenate([self.keys, keys]), return_inverse=True
        )
        sums = np.zeros(len(merged), np.int64)
        np.add.at(sums, inverse, np.concatenate([self.counts, counts]))
        self.keys, self.counts = merged, sums
        while len(self.keys) > self.capacity:
            self._rise_to(self.level + 1)

    def _rise_to(self, level: int) -> None:
        if level <= self.level:
            return
        self.level = level
        kept = self.holds(self.keys)
        self.keys, self.counts = self.keys[kept], self.counts[kept]
