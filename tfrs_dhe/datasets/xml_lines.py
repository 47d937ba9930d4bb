"""Lines of the XMLRepository format; an error names the file and the line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from tfrs_dhe.datasets.sparse_examples import (
    SparseExamples,
    first_not_ascending,
    first_repeated,
    row_numbers,
)
from tfrs_dhe.datasets.text_files import fail

# Numbers of 15 digits are exact as float64, in which a line is parsed.
_MAX_SIZE = 10**15

_NUMBER = rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_LINE = re.compile(rb"(\d{1,15}(?:,\d{1,15})*)?((?: +\d{1,15}:%b)*) *\r?\n?" % _NUMBER)


def parse_header(path: Path, line: bytes) -> tuple[int, int, int]:
    """Returns N, D and L of the first line.

    Args:
      path: The file, for messages.
      line: Its first line; nothing for an empty file.

    Returns:
      Numbers of examples, features and labels.

    Raises:
      ValueError: If the line is not three positive integers.
    """
    if not line:
        fail(path, 1, "the file is empty; expected a first line `N D L`")
    words = line.split()
    if len(words) != 3 or not all(re.fullmatch(rb"\d+", word) for word in words):
        fail(
            path,
            1,
            "expected `N D L`, the numbers of examples, features and labels, "
            f"received {_shown(line)}",
        )
    num_examples, num_features, num_labels = map(int, words)
    sizes = (num_examples, num_features, num_labels)
    if not all(1 <= size <= _MAX_SIZE for size in sizes):
        fail(path, 1, f"N, D and L must be from 1 to 10**15, received {_shown(line)}")
    return sizes


def parse_lines(
    path: Path,
    first_line: int,
    lines: Sequence[bytes],
    num_features: int,
    num_labels: int,
) -> SparseExamples:
    """Parses consecutive examples.

    Args:
      path: The file, for messages.
      first_line: Line number of the first of them.
      lines: Lines `l1,l2 f:v f:v`, with or without their ends.
      num_features: D.
      num_labels: L.

    Returns:
      The examples. Features are put into ascending order, which says nothing in
      this format; labels stay in theirs.

    Raises:
      ValueError: If a line is not of the format, or an index is out of range or
        repeated.
    """
    label_texts, feature_texts = [], []
    for number, line in enumerate(lines, first_line):
        match = _LINE.fullmatch(line)
        if match is None or not line.rstrip(b"\r\n"):
            _explain(path, number, line, num_features, num_labels)
        label_texts.append(match[1] or b"")
        feature_texts.append(match[2])
    label_splits = _splits([text.count(b",") + bool(text) for text in label_texts])
    feature_splits = _splits([text.count(b":") for text in feature_texts])
    labels = np.fromstring(b",".join(filter(None, label_texts)), np.int64, sep=",")
    pairs = np.fromstring(b"".join(feature_texts).replace(b":", b" "), sep=" ")
    ids = pairs[::2].astype(np.int64)
    with np.errstate(over="ignore"):
        values = pairs[1::2].astype(np.float32)

    for splits, bad, problem in (
        (
            label_splits,
            labels >= num_labels,
            lambda i: f"label {labels[i]} is not below L = {num_labels}",
        ),
        (
            feature_splits,
            ids >= num_features,
            lambda i: f"feature {ids[i]} is not below D = {num_features}",
        ),
        (
            feature_splits,
            ~np.isfinite(values),
            lambda i: f"the value of feature {ids[i]} is too large for float32",
        ),
    ):
        if bad.any():
            i = int(bad.argmax())
            row = int(np.searchsorted(splits, i, side="right")) - 1
            fail(path, first_line + row, problem(i))
    if first_not_ascending(feature_splits, ids) is not None:
        order = np.lexsort((ids, row_numbers(feature_splits)))
        ids, values = ids[order], values[order]
    for at, what in (
        (first_not_ascending(feature_splits, ids), "feature"),
        (first_repeated(label_splits, labels), "label"),
    ):
        if at is not None:
            fail(path, first_line + at, f"a {what} stands there twice")
    return SparseExamples(
        feature_splits=feature_splits,
        feature_ids=ids,
        feature_values=values,
        label_splits=label_splits,
        labels=labels,
        num_features=num_features,
        num_labels=num_labels,
    )


def _splits(counts: list[int]) -> np.ndarray:
    return np.cumsum([0, *counts], dtype=np.int64)


def _explain(
    path: Path, number: int, line: bytes, num_features: int, num_labels: int
) -> NoReturn:
    """Raises a ValueError that says what is wrong with a line."""
    for column, byte in enumerate(line, 1):
        if byte >= 128:
            fail(path, number, f"byte {byte:#x} at column {column} is not ASCII")
    line = line.rstrip(b"\r\n")
    if not line:
        fail(
            path,
            number,
            "the line is empty; an example without labels and features is a space",
        )
    labels, _, features = line.partition(b" ")
    if b":" in labels:
        fail(
            path,
            number,
            f"expected labels `l1,l2`, received {_shown(labels)}; a line without "
            "labels starts with a space",
        )
    for label in labels.split(b",") if labels else ():
        if not label.isdigit():
            fail(path, number, f"label {_shown(label)} is not a number of a label")
        if int(label) >= num_labels:
            fail(path, number, f"label {int(label)} is not below L = {num_labels}")
    for token in filter(None, features.split(b" ")):
        index, _, value = token.partition(b":")
        if token.count(b":") != 1:
            fail(path, number, f"expected `feature:value`, received {_shown(token)}")
        if not index.isdigit():
            fail(path, number, f"feature {_shown(index)} is not a number of a feature")
        if int(index) >= num_features:
            fail(path, number, f"feature {int(index)} is not below D = {num_features}")
        if not re.fullmatch(_NUMBER, value):
            fail(path, number, f"value {_shown(value)} is not a finite number")
    fail(path, number, f"expected `l1,l2 f:v f:v`, received {_shown(line)}")


def _shown(text: bytes) -> str:
    """Returns the start of a text, readable whatever its bytes are."""
    shown = text[:60].decode("ascii", "backslashreplace")
    return repr(shown) + ("..." if len(text) > 60 else "")
