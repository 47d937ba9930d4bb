"""Reads the text format of the Extreme Classification Repository, by streaming."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe.datasets.sparse_examples import (
    SparseExamples,
    concatenate,
    row_numbers,
    sparse_batch,
)
from tfrs_dhe.datasets.text_files import fail
from tfrs_dhe.datasets.xml_lines import parse_header, parse_lines

# Bytes of lines parsed at once.
_CHUNK = 2**20


class XMLRepository:
    """A file of examples with sparse features and several labels.

    The first line is `N D L`, the numbers of examples, features and labels. Every
    other line is an example, `l1,l2 f:v f:v`: labels from 0 to L - 1, then features
    from 0 to D - 1 with their values. A line without labels starts with a space.

    Only the first line is read at once. Examples are parsed as they are asked for,
    a megabyte at a time, and an error names the file and the line. `read` loads
    all examples, for many passes over a file that fits into memory.

    Example:
    >>> file = XMLRepository("delicious_train.txt")  # doctest: +SKIP
    >>> file.num_examples, file.num_features, file.num_labels  # doctest: +SKIP
    (12920, 500, 983)
    >>> for batch in file.batches(256):  # doctest: +SKIP
    ...     batch["features"], batch["labels"]

    Args:
      path: The file.

    Attributes:
      path: The file.
      num_examples: N.
      num_features: D.
      num_labels: L.

    Raises:
      ValueError: If the first line is not three positive integers.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            header = parse_header(self.path, file.readline())
        self.num_examples, self.num_features, self.num_labels = header

    def __len__(self) -> int:
        return self.num_examples

    def blocks(self) -> Iterator[SparseExamples]:
        """Yields the examples, in order, some thousands at a time.

        Raises:
          ValueError: If a line is not of the format, an index is out of range or
            repeated, or there are more or fewer examples than the first line says.
        """
        with self.path.open("rb") as file:
            file.readline()
            line = 2
            last = self.num_examples + 1
            while lines := file.readlines(_CHUNK):
                surplus = lines[max(last + 1 - line, 0) :]
                lines = lines[: len(lines) - len(surplus)]
                if lines:
                    yield parse_lines(
                        self.path, line, lines, self.num_features, self.num_labels
                    )
                line += len(lines)
                for text in surplus:
                    if text.rstrip(b"\r\n"):
                        fail(
                            self.path,
                            line,
                            f"expected the end of the file after {self.num_examples:,} "
                            "examples, the number in line 1",
                        )
                    line += 1
        if line <= last:
            fail(
                self.path,
                line,
                f"the file ends here, after {line - 2:,} examples; line 1 says "
                f"{self.num_examples:,}",
            )

    def read(self) -> SparseExamples:
        """Returns all examples, in memory.

        Raises:
          ValueError: As `blocks`.
        """
        return concatenate(list(self.blocks()))

    def batches(
        self,
        batch_size: int,
        *,
        shuffle_buffer: int = 0,
        seed: int = 0,
        drop_remainder: bool = False,
    ) -> tf.data.Dataset:
        """Makes a dataset of batches that reads the file anew in every pass.

        Args:
          batch_size: Examples in a batch.
          shuffle_buffer: How many examples in a row are held in memory and
            shuffled among themselves, at least; 0 keeps the order of the file. In
            a file that is sorted by label this mixes little: shuffle the file, or
            use `read().batches(..., shuffle=True)`.
          seed: Seed of the orders, an integer >= 0. The same seed gives the same
            sequence of passes.
          drop_remainder: Whether a last batch of fewer examples is left out.

        Returns:
          A dataset of dicts: `features`, a tf.SparseTensor of float32 [batch, D],
          and `labels`, a tf.RaggedTensor of int64 [batch, None]. What is wrong in
          the file is raised while iterating, as an InvalidArgumentError with the
          message of `blocks`.

        Raises:
          ValueError: If `batch_size` is not positive, or `shuffle_buffer` or `seed`
            is negative.
        """
        if batch_size < 1:
            raise ValueError(
                f"`batch_size` must be a positive integer. Received: {batch_size=}."
            )
        for name, value in (("shuffle_buffer", shuffle_buffer), ("seed", seed)):
            if value < 0:
                raise ValueError(
                    f"`{name}` must be an integer >= 0. Received: {value}."
                )
        passes = itertools.count()

        def generate() -> Iterator[dict[str, Any]]:
            rng = np.random.default_rng([seed, next(passes)])
            window = batch_size * max(1, -(-shuffle_buffer // batch_size))
            for examples in self._windows(window):
                order = np.arange(len(examples))
                if shuffle_buffer:
                    rng.shuffle(order)
                for start in range(0, len(examples), batch_size):
                    rows = order[start : start + batch_size]
                    if len(rows) == batch_size or not drop_remainder:
                        yield _arrays(examples.take(rows))

        dataset = tf.data.Dataset.from_generator(
            generate,
            output_signature={
                "rows": tf.TensorSpec([None], tf.int64),
                "ids": tf.TensorSpec([None], tf.int64),
                "values": tf.TensorSpec([None], tf.float32),
                "labels": tf.TensorSpec([None], tf.int64),
                "label_splits": tf.TensorSpec([None], tf.int64),
            },
        )

        def assemble(parts: dict[str, tf.Tensor]) -> dict[str, Any]:
            return sparse_batch(
                **parts,
                num_features=self.num_features,
                batch_size=batch_size if drop_remainder else None,
            )

        whole, rest = divmod(self.num_examples, batch_size)
        count = whole + (rest > 0 and not drop_remainder)
        return (
            dataset.map(assemble, num_parallel_calls=tf.data.AUTOTUNE)
            .apply(tf.data.experimental.assert_cardinality(count))
            .prefetch(tf.data.AUTOTUNE)
        )

    def _windows(self, size: int) -> Iterator[SparseExamples]:
        """Yields `size` examples at a time, or a multiple of it; then the rest."""
        held: list[SparseExamples] = []
        for block in self.blocks():
            held.append(block)
            count = sum(map(len, held))
            if count >= size:
                examples = concatenate(held)
                whole = count - count % size
                for start in range(0, whole, size):
                    yield examples.take(np.arange(start, start + size))
                held = [examples.take(np.arange(whole, count))]
        rest = concatenate(held)
        if len(rest):
            yield rest


def _arrays(examples: SparseExamples) -> dict[str, Any]:
    return {
        "rows": row_numbers(examples.feature_splits),
        "ids": examples.feature_ids,
        "values": examples.feature_values,
        "labels": examples.labels,
        "label_splits": examples.label_splits,
    }
