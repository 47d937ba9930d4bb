"""The most frequent ids of a stream, in memory that does not grow."""

from typing import Any

import numpy as np

from tfrs_dhe.analysis import _ids
from tfrs_dhe.hashing import constants


class HeavyHitters:
    """Keeps at most `capacity` ids, among them all that occur often.

    It is the summary of Misra and Gries, chunk by chunk: counts are added up, and where
    more ids are held than there is room for, the (capacity + 1)-th largest count is
    taken from all of them and what is left with none goes. Of n occurrences, a count is
    too small by at most `error`, which is at most `n / (capacity + 1)`: an id that
    occurs more often than that is held for certain.

    Example:
    >>> hitters = HeavyHitters(capacity=2)
    >>> hitters.update(np.array([1, 1, 1, 2, 2, 3]), np.array([1, 1, 1, 2, 2, 3]))
    >>> hitters.ids(), hitters.counts.tolist(), hitters.error
    ([1, 2], [2, 1], 1)

    Args:
      capacity: How many ids are held.

    Attributes:
      keys: int64 [n], the keys that are held, by falling counts.
      counts: int64 [n], how often each occurred at least.
      error: By how much a count may be too small; one that is not held occurred no
        more often.

    Raises:
      ValueError: If `capacity` is not a positive integer.

    References:
      Misra and Gries, "Finding Repeated Elements", Science of Computer Programming 2,
      1982; Agarwal et al., "Mergeable Summaries", PODS 2012, section 2.1.
    """

    def __init__(self, capacity: int = 1024) -> None:
        if not constants.is_integer(capacity) or capacity < 1:
            raise ValueError(
                f"`capacity` must be a positive integer. Received: {capacity!r}."
            )
        self.capacity = int(capacity)
        self.keys = np.zeros(0, np.int64)
        self.counts = np.zeros(0, np.int64)
        self.error = 0
        self._names: dict[int, Any] = {}

    def update(self, keys: np.ndarray, ids: np.ndarray) -> None:
        """Counts occurrences.

        Args:
          keys: int64 [n].
          ids: What the keys stand for [n].
        """
        distinct, first, counts = np.unique(keys, return_index=True, return_counts=True)
        self._add(
            distinct, counts, dict(zip(distinct.tolist(), first, strict=True)), ids
        )

    def merge(self, other: "HeavyHitters") -> None:
        """Adds what another one counted; errors add up.

        Raises:
          ValueError: If it has another capacity.
        """
        if other.capacity != self.capacity:
            raise ValueError(
                f"`other` must have the same capacity, {self.capacity}. "
                f"Received: {other.capacity}."
            )
        self.error += other.error
        places = {key: place for place, key in enumerate(other.keys.tolist())}
        self._add(other.keys, other.counts, places, other.ids())

    def ids(self) -> list[Any]:
        """Returns the ids that are held, by falling counts: bytes or integers."""
        return [self._names[key] for key in self.keys.tolist()]

    def state(self) -> dict[str, np.ndarray]:
        """Returns arrays from which `restore` makes the same summary."""
        ids = self.ids()
        is_string = bool(ids) and isinstance(ids[0], bytes)
        integers = [] if is_string else ids
        # Those of uint64 that int64 does not hold.
        is_beyond = np.array([i >= 2**63 for i in integers], bool)
        return {
            "keys": self.keys,
            "counts": self.counts,
            "error": np.array(self.error),
            "is_string": np.array(is_string),
            "bytes": np.frombuffer(b"".join(ids) if is_string else b"", np.uint8),
            "lengths": np.array([len(i) for i in ids] if is_string else [], np.int64),
            "integers": np.array(
                [
                    i - 2**64 * beyond
                    for i, beyond in zip(integers, is_beyond.tolist(), strict=True)
                ],
                np.int64,
            ),
            "is_beyond": is_beyond,
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` returned."""
        self.keys, self.counts = state["keys"], state["counts"]
        self.error = int(state["error"])
        ids: list[Any] = state["integers"].tolist()
        # Files were written without once.
        for place in np.flatnonzero(state.get("is_beyond", [])).tolist():
            ids[place] += 2**64
        if state["is_string"]:
            data, ends = state["bytes"].tobytes(), np.cumsum(state["lengths"]).tolist()
            starts = [0, *ends[:-1]]
            ids = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        self._names = dict(zip(self.keys.tolist(), ids, strict=True))

    def _add(
        self, keys: np.ndarray, counts: np.ndarray, places: dict[int, int], ids: Any
    ) -> None:
        merged, inverse = np.unique(
            np.concatenate([self.keys, keys]), return_inverse=True
        )
        sums = np.zeros(len(merged), np.int64)
        np.add.at(sums, inverse, np.concatenate([self.counts, counts]))
        if len(merged) > self.capacity:
            # The largest that does not fit.
            surplus = int(np.partition(sums, -self.capacity - 1)[-self.capacity - 1])
            sums -= surplus
            self.error += surplus
            merged, sums = merged[sums > 0], sums[sums > 0]
        # Of equal counts the smaller key is first: the result has one order.
        order = np.lexsort((merged, -sums))
        self.keys, self.counts = merged[order], sums[order]
        known = self._names
        self._names = {
            key: known[key] if key in known else _ids.plain(ids[places[key]])
            for key in self.keys.tolist()
        }
