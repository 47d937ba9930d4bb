"""`read_ids`: ids in the columns of a text file, as a data set."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

_BATCH_SIZE = 2**15
_UTF8_MARK = b"\xef\xbb\xbf"
#: What files begin with whose bytes are no lines of text.
_NO_TEXT = {
    b"\x1f\x8b": "compressed by gzip; unpack it",
    b"PK\x03\x04": "an archive; unpack it, or call it .npz if it is an `IdSketch`",
    b"\xff\xfe": "in UTF-16; write it in UTF-8",
    b"\xfe\xff": "in UTF-16; write it in UTF-8",
}


def read_ids(
    path: str | Path,
    columns: str = "0",
    *,
    separator: str | None = None,
    within: str | None = None,
    skip_lines: int = 0,
) -> tf.data.Dataset:
    r"""Streams ids from a text file.

    Example:
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "ratings.txt"
    >>> _ = path.write_text("u1 m1 m2\nu2 m1\n")
    >>> [b.numpy().tolist() for b in read_ids(path, columns="1:")]
    [[b'm1', b'm2', b'm1']]

    Args:
      path: The file.
      columns: Which ones, from 0: `"1"`, or `"1:3"` for columns 1 and 2, or `"1:"` and
        `":"` for all that a line has from there on, at least one.
      separator: Of columns; any white space if None.
      within: What separates ids within a column, such as `","`.
      skip_lines: Lines at the start to leave out.

    Returns:
      A `tf.data.Dataset` of batches of strings [n]. An empty field has no id; a line
      that lacks the columns is an error when it is read.

    Raises:
      ValueError: If `columns` is not as described, or the file is compressed or in
        UTF-16. (FileNotFoundError if there is no file.)
    """
    path = Path(path)
    chosen = _columns(columns)
    num_needed = chosen.stop or (chosen.start or 0) + 1
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a file. Received: {path}.")
    _check_text(path)
    if skip_lines < 0:
        raise ValueError(f"`skip_lines` must be from 0. Received: {skip_lines}.")

    def generate() -> Iterator[list[bytes]]:
        batch: list[bytes] = []
        for number, line in enumerate(_lines(path), 1):
            if number <= skip_lines:
                continue
            fields = line.split(separator.encode() if separator else None)
            found = fields[chosen]
            if len(fields) < num_needed and line.strip():
                raise ValueError(
                    f"{path}, line {number} has {len(fields)} columns, and `columns` = "
                    f"{columns!r} needs {num_needed}."
                )
            if within:
                found = [part for one in found for part in one.split(within.encode())]
            batch += [one for one in found if one]
            if len(batch) >= _BATCH_SIZE:
                yield batch
                batch = []
        if batch:
            yield batch

    return tf.data.Dataset.from_generator(
        generate, output_signature=tf.TensorSpec([None], tf.string)
    )


def _check_text(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    for mark, problem in _NO_TEXT.items():
        if start.startswith(mark):
            raise ValueError(
                f"`path` must be a text file. Received: {path}, which is {problem}."
            )


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        # A mark of UTF-8 is no part of the first id.
        if file.read(len(_UTF8_MARK)) != _UTF8_MARK:
            file.seek(0)
        for line in file:
            yield line.rstrip(b"\r\n")


def _is_empty(first: int | None, end: int | None = None) -> bool:
    return end is not None and end <= (first or 0)


def _columns(columns: str) -> slice:
    parts = columns.split(":")
    try:
        numbers = [int(part) if part else None for part in parts]
    except ValueError:
        numbers = []
    if (
        not 1 <= len(numbers) <= 2
        or numbers == [None]
        or any(n and n < 0 for n in numbers)
        or _is_empty(*numbers)
    ):
        raise ValueError(
            '`columns` must be a number from 0, or a range as "1:", "1:3" or ":". '
            f"Received: {columns!r}."
        )
    if len(numbers) == 1:
        (first,) = numbers
        assert first is not None
        return slice(first, first + 1)
    return slice(*numbers)
