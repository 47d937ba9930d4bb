"""`Sessions`: sequences of items, in memory, and the next items to predict."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfrs_dhe.datasets.next_items import NextItems, check_items, check_row_splits

#: Fills the places after the end of a session. No item has this number.
PADDING = 0

# Windows among which like lengths are put together: a batch has little padding,
# and is still a mixture.
_POOL = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class Sessions:
    """Sessions of items, one after another.

    Example:
    >>> from tfrs_dhe.datasets import Sessions
    >>> sessions = Sessions.from_lists([[3, 1, 2], [2, 3]])
    >>> len(sessions), sessions.num_examples
    (2, 3)
    >>> batch = next(iter(sessions.batches(100)))
    >>> batch["items"].numpy().tolist()
    [[2, 0], [3, 1]]
    >>> batch["next_items"].numpy().tolist()
    [[3, 0], [1, 2]]

    Attributes:
      items: int32 of shape [num_events], numbers from 1.
      row_splits: int64 of shape [num_sessions + 1]; session i is
        `items[row_splits[i]:row_splits[i + 1]]`.
    """

    items: npt.NDArray[np.int32]
    row_splits: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        check_items("items", self.items)
        check_row_splits(self.row_splits, len(self.items))

    @classmethod
    def from_lists(cls, sessions: list[list[int]]) -> "Sessions":
        """Makes `Sessions` of one list of items each."""
        lengths = [len(session) for session in sessions]
        items = [item for session in sessions for item in session]
        # Not as int32 at once, which would cut what is no integer.
        found = np.array(items) if items else np.zeros(0, np.int32)
        check_items("sessions", found)
        return cls(
            found.astype(np.int32),
            np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        )

    def __len__(self) -> int:
        return len(self.row_splits) - 1

    def __iter__(self) -> Iterator[npt.NDArray[np.int32]]:
        for start, end in zip(self.row_splits, self.row_splits[1:], strict=False):
            yield self.items[start:end]

    @property
    def num_examples(self) -> int:
        """Number of items that follow another in their session."""
        return int(np.maximum(np.diff(self.row_splits) - 1, 0).sum())

    def counts(self, num_items: int) -> npt.NDArray[np.int64]:
        """How often every item occurs.

        Args:
          num_items: Number of items of the catalogue, the largest that can occur.

        Returns:
          int64 of shape [num_items + 1]; place i belongs to item i, and place 0
          to the padding, which never occurs.

        Raises:
          ValueError: If an item is larger than `num_items`.
        """
        if len(self.items) and self.items.max() > num_items:
            raise ValueError(
                f"`num_items` must be at least the largest item. Received: "
                f"{num_items}, with an item {self.items.max()}."
            )
        return np.bincount(self.items, minlength=num_items + 1)

    def split_last(self, num_sessions: int) -> tuple["Sessions", "Sessions"]:
        """Divides off the last sessions, for validation.

        Args:
          num_sessions: Number of sessions of the second part.

        Returns:
          The sessions before the last `num_sessions`, and those.

        Raises:
          ValueError: Unless both parts have a session.
        """
        if not 0 < num_sessions < len(self):
            raise ValueError(
                f"`num_sessions` must leave a session in both of two parts of "
                f"{len(self)} sessions. Received: {num_sessions}."
            )
        at = len(self) - num_sessions
        middle = self.row_splits[at]
        return (
            Sessions(self.items[:middle], self.row_splits[: at + 1]),
            Sessions(self.items[middle:], self.row_splits[at:] - middle),
        )

    def next_items(self) -> NextItems:
        """Every beginning of a session with the item that follows it, in order."""
        lengths = np.diff(self.row_splits)
        per_session = np.maximum(lengths - 1, 0)
        start = np.repeat(self.row_splits[:-1], per_session)
        first = np.repeat(np.cumsum(per_session) - per_session, per_session)
        length = np.arange(len(start)) - first + 1
        row_splits = np.concatenate([[0], np.cumsum(length)])
        # The place of every item of every beginning.
        place = np.arange(row_splits[-1]) - np.repeat(row_splits[:-1] - start, length)
        return NextItems(self.items[place], row_splits, self.items[start + length])

    def batches(
        self,
        num_examples: int,
        *,
        max_length: int = 20,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
    ) -> tf.data.Dataset:
        """Batches of windows, each with all the next items within it.

        A model that reads from left to right learns from every item of a window
        at once. Sessions of more than `max_length + 1` items give several
        windows, in which every item is to be predicted once, from at least the
        `max_length // 2` items before it.

        Args:
          num_examples: Number of next items in a batch, about; windows are never
            cut.
          max_length: Items in a window, at most.
          shuffle: Whether windows come in random order, those of like length
            together. Else shorter ones come first.
          seed: Seed of that order.
          epoch: Number of the pass over the data, for an order of its own.

        Returns:
          A `tf.data.Dataset` of dicts, with int32 tensors of shape [batch,
          length]: `items`, and `next_items`, with `PADDING` where nothing is to be
          predicted.

        Raises:
          ValueError: If `num_examples` is not positive, or `max_length` is less
            than 2.
        """
        if num_examples < 1:
            raise ValueError(
                f"`num_examples` must be a positive integer. Received: {num_examples}."
            )
        if max_length < 2:
            raise ValueError(
                f"`max_length` must be at least 2. Received: {max_length}."
            )
        windows = self._windows(max_length)
        place = np.arange(max_length)

        def generate() -> Iterator[dict[str, npt.NDArray[np.int32]]]:
            rng = np.random.Generator(np.random.PCG64([seed, epoch]))
            for rows in _groups(windows, num_examples, rng if shuffle else None):
                start, end, first = windows[rows].T
                length = (end - start).max() - 1
                at = start[:, np.newaxis] + place[:length]
                inside = at < end[:, np.newaxis] - 1
                items = np.where(inside, self.items[np.where(inside, at, 0)], PADDING)
                wanted = inside & (at + 1 >= first[:, np.newaxis])
                following = self.items[np.where(wanted, at + 1, 0)]
                yield {
                    "items": items,
                    "next_items": np.where(wanted, following, PADDING),
                }

        spec = tf.TensorSpec([None, None], tf.int32)
        return tf.data.Dataset.from_generator(
            generate, output_signature={"items": spec, "next_items": spec}
        ).prefetch(tf.data.AUTOTUNE)

    def _windows(self, max_length: int) -> npt.NDArray[np.int64]:
        """Start, end and first item to predict of every window, [windows, 3]."""
        starts, ends = self.row_splits[:-1], self.row_splits[1:]
        last = np.minimum(ends, starts + max_length + 1)
        windows: list[Any] = [np.stack([starts, last, starts + 1], axis=1)]
        context = max_length // 2
        for end, done in zip(ends[last < ends], last[last < ends], strict=True):
            while done < end:
                start = done - context
                until = min(end, start + max_length + 1)
                windows.append(np.array([[start, until, done]]))
                done = until
        result: npt.NDArray[np.int64] = np.concatenate(windows)
        return result[result[:, 1] > result[:, 2]]


def _groups(
    windows: npt.NDArray[np.int64], num_examples: int, rng: np.random.Generator | None
) -> Iterator[npt.NDArray[np.int64]]:
    """Numbers of the windows of every batch."""
    length = windows[:, 1] - windows[:, 0]
    examples = windows[:, 1] - windows[:, 2]
    order = np.arange(len(windows)) if rng is None else rng.permutation(len(windows))
    pool = max(len(windows), 1) if rng is None else _POOL
    groups = []
    for begin in range(0, len(order), pool):
        rows = order[begin : begin + pool]
        rows = rows[np.argsort(length[rows], kind="stable")]
        batch = (np.cumsum(examples[rows]) - examples[rows]) // num_examples
        groups += np.split(rows, np.flatnonzero(np.diff(batch)) + 1)
    if rng is not None:
        groups = [groups[i] for i in rng.permutation(len(groups))]
    yield from (group for group in groups if len(group))
