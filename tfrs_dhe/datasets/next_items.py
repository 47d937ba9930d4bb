"""`NextItems`: what came before an item, and the item."""

import dataclasses

import numpy as np
import numpy.typing as npt
import tensorflow as tf

#: Items are int32.
LARGEST_ITEM = 2**31 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class NextItems:
    """Examples of next-item prediction.

    Example:
    >>> from tfrs_dhe.datasets import Sessions
    >>> examples = Sessions.from_lists([[3, 1, 2]]).next_items()
    >>> batch = next(iter(examples.batches(8)))
    >>> batch["items"].numpy().tolist(), batch["next_item"].numpy().tolist()
    ([[3, 0], [3, 1]], [1, 2])

    Attributes:
      items: int32 of shape [num_events], numbers from 1: what came before, of all
        examples one after another.
      row_splits: int64 of shape [num_examples + 1]; example i has
        `items[row_splits[i]:row_splits[i + 1]]`.
      next_item: int32 of shape [num_examples].
    """

    items: npt.NDArray[np.int32]
    row_splits: npt.NDArray[np.int64]
    next_item: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        check_items("items", self.items)
        check_items("next_item", self.next_item)
        check_row_splits(self.row_splits, len(self.items))
        if len(self.next_item) != len(self.row_splits) - 1:
            raise ValueError(
                f"`next_item` must have one item an example, that is "
                f"{len(self.row_splits) - 1}. Received: {len(self.next_item)}."
            )

    def __len__(self) -> int:
        return len(self.next_item)

    def sample(self, num_examples: int, seed: int = 0) -> "NextItems":
        """Takes examples at random, without repetition.

        Args:
          num_examples: Number of examples; all of them if there are no more.
          seed: Seed of the choice.

        Returns:
          The examples, in their order.
        """
        rng = np.random.Generator(np.random.PCG64(seed))
        rows = np.sort(rng.permutation(len(self))[:num_examples])
        length = np.diff(self.row_splits)[rows]
        row_splits = np.concatenate([[0], np.cumsum(length)])
        start = np.repeat(self.row_splits[rows] - row_splits[:-1], length)
        place = np.arange(row_splits[-1]) + start
        return NextItems(self.items[place], row_splits, self.next_item[rows])

    def batches(self, batch_size: int, *, max_length: int = 20) -> tf.data.Dataset:
        """Batches of the examples, in order.

        Args:
          batch_size: Examples in a batch.
          max_length: Items that are given of what came before: the last ones.

        Returns:
          A `tf.data.Dataset` of dicts: `items`, int32 of shape [batch, length],
          filled up with 0 at the end, and `next_item`, int32 of shape [batch].

        Raises:
          ValueError: If an argument is not positive.
        """
        for name, value in (("batch_size", batch_size), ("max_length", max_length)):
            if value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {value}."
                )
        items = tf.constant(self.items)
        ends = self.row_splits[1:]
        starts = np.maximum(self.row_splits[:-1], ends - max_length)

        def gather(
            start: tf.Tensor, end: tf.Tensor, next_item: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            rows = tf.RaggedTensor.from_row_lengths(
                tf.gather(items, tf.ragged.range(start, end).flat_values), end - start
            )
            return {"items": rows.to_tensor(), "next_item": next_item}

        rows = tf.data.Dataset.from_tensor_slices((starts, ends, self.next_item))
        return rows.batch(batch_size).map(gather).prefetch(tf.data.AUTOTUNE)


def check_items(name: str, items: npt.NDArray[np.int32]) -> None:
    """Raises a ValueError unless all of `items` are integers from 1 in int32."""
    if items.dtype.kind not in "iu":
        raise ValueError(f"`{name}` must be integers. Received dtype {items.dtype}.")
    if len(items) and items.max() > LARGEST_ITEM:
        raise ValueError(
            f"`{name}` must be numbers up to {LARGEST_ITEM}. Received: {items.max()}."
        )
    if len(items) and items.min() < 1:
        raise ValueError(
            f"`{name}` must be numbers from 1; 0 fills places up. Received: "
            f"{items.min()}."
        )


def check_row_splits(row_splits: npt.NDArray[np.int64], num_items: int) -> None:
    """Raises a ValueError unless `row_splits` divides `num_items` items."""
    if (
        len(row_splits) < 1
        or row_splits[0] != 0
        or row_splits[-1] != num_items
        or np.any(np.diff(row_splits) < 0)
    ):
        raise ValueError(
            f"`row_splits` must rise from 0 to the number of items, {num_items}. "
            f"Received: {row_splits}."
        )
