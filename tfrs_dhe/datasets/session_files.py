"""Reads sessions and next items from text files, line by line."""

import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfrs_dhe.datasets.next_items import LARGEST_ITEM, NextItems
from tfrs_dhe.datasets.sessions import Sessions
from tfrs_dhe.datasets.text_files import fail, plain_number


def read_sessions(path: str | Path) -> Sessions:
    """Reads a file with a session a line: its items, separated by spaces.

    Example:
    >>> from tfrs_dhe.datasets import read_sessions
    >>> sessions = read_sessions("train_sessions.txt")  # doctest: +SKIP

    Args:
      path: The file.

    Returns:
      The `Sessions`, in the order of the lines.

    Raises:
      ValueError: If a line is empty or has something else than positive integers;
        file and line are named.
    """
    path = Path(path)
    items, row_splits = array.array("i"), array.array("q", [0])
    for number, line in _lines(path):
        items.extend(_parse(path, number, line))
        row_splits.append(len(items))
    return Sessions(np.array(items, np.int32), np.array(row_splits, np.int64))


def read_next_items(path: str | Path) -> NextItems:
    """Reads a file with an example a line: the items before, a tab, the next item.

    Example:
    >>> from tfrs_dhe.datasets import read_next_items
    >>> examples = read_next_items("test.tsv")  # doctest: +SKIP

    Args:
      path: The file.

    Returns:
      The `NextItems`, in the order of the lines.

    Raises:
      ValueError: If a line has not the two fields, or something else than positive
        integers; file and line are named.
    """
    path = Path(path)
    items, row_splits = array.array("i"), array.array("q", [0])
    next_item = array.array("i")
    for number, line in _lines(path):
        before, tab, following = line.partition("\t")
        if not tab:
            fail(path, number, "expected items, a tab and the next item, got no tab")
        items.extend(_parse(path, number, before))
        row_splits.append(len(items))
        parsed = _parse(path, number, following)
        if len(parsed) != 1:
            fail(path, number, f"expected one next item, received {len(parsed)}")
        next_item.extend(parsed)
    return NextItems(
        np.array(items, np.int32),
        np.array(row_splits, np.int64),
        np.array(next_item, np.int32),
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    # Latin-1 reads any byte, so that what is no number is told by its line.
    with path.open(encoding="latin-1") as file:
        yield from enumerate(file, 1)


def _parse(path: Path, number: int, text: str) -> list[int]:
    words = text.split()
    if not words:
        fail(path, number, "expected the numbers of items, received none")
    try:
        items = [int(plain_number(word)) for word in words]
    except ValueError as error:
        fail(path, number, f"an item is not an integer: {error}")
    if not 1 <= min(items) <= max(items) <= LARGEST_ITEM:
        fail(path, number, f"items must lie in [1, {LARGEST_ITEM}], received {words}")
    return items
