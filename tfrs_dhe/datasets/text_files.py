"""Reads files of separated fields; an error names the file and the line."""

import csv
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
import numpy.typing as npt

# Lines read at once, so that memory stays bounded for tens of millions.
_CHUNK = 500_000


@dataclasses.dataclass(frozen=True)
class TextFile:
    """A file of separated fields, a row a line.

    Attributes:
      name: File name inside the data folder.
      num_fields: Number of fields in a line.
      separator: What stands between two fields.
      encoding: Encoding of the text.
      header: Names of the fields, where the first line has them. Such a file
        follows the rules of csv, with quotes that end in their line.
    """

    name: str
    num_fields: int
    separator: str
    encoding: str
    header: tuple[str, ...] = ()

    @property
    def first_line(self) -> int:
        """Number of the first line that holds data."""
        return 2 if self.header else 1

    def chunks(self, folder: Path) -> Iterator[tuple[int, list[list[str]]]]:
        """Yields lists of rows, each with the line number of its first row.

        Args:
          folder: Folder that holds the file.

        Yields:
          Pairs of a line number and rows with `num_fields` fields each.

        Raises:
          ValueError: If a line has another number of fields or a wrong quote, or
            its bytes are not text in `encoding`.
        """
        path = folder / self.name
        line = self.first_line
        try:
            with path.open(encoding=self.encoding, newline="") as file:
                lines = self._rows(path, file)
                while rows := list(itertools.islice(lines, _CHUNK)):
                    for i, row in enumerate(rows):
                        if len(row) != self.num_fields:
                            fail(
                                path,
                                line + i,
                                f"expected {self.num_fields} fields separated by "
                                f"{self.separator!r}, received {len(row)}: {row}",
                            )
                    yield line, rows
                    line += len(rows)
        except UnicodeDecodeError as error:
            fail(path, _undecodable_line(path, self.encoding), str(error))

    def rows(self, folder: Path) -> Iterator[tuple[int, list[str]]]:
        """Yields the line number and the fields of every row."""
        for first_line, rows in self.chunks(folder):
            yield from enumerate(rows, first_line)

    def _rows(self, path: Path, file: TextIO) -> Iterator[list[str]]:
        separator = self.separator
        if self.header:
            rows = _csv_rows(path, csv.reader(file, delimiter=separator, strict=True))
            header = next(rows, [])
            if tuple(header) != self.header:
                fail(path, 1, f"expected the header {self.header}, received {header}")
            return rows
        return (line.rstrip("\r\n").split(separator) for line in file)


def _csv_rows(path: Path, reader: Any) -> Iterator[list[str]]:
    """Yields the rows of a `csv.reader`, each of which is one line."""
    number = 0
    try:
        for row in reader:
            number += 1
            # Else a quote that is not closed would make one row of two.
            if reader.line_num > number:
                fail(path, number, "a quote is opened and not closed in the line")
            yield row
    except csv.Error as error:
        fail(path, number + 1, f"it breaks the rules of csv: {error}")


def fail(path: Path, line: int, problem: str) -> NoReturn:
    """Raises a ValueError that names the place."""
    raise ValueError(f"{path}, line {line}: {problem}")


def plain_number(text: str) -> str:
    """Returns the text of a number; Python's own digits may have underscores.

    Example:
    >>> int(plain_number("10"))
    10

    Raises:
      ValueError: If it has an underscore, which files of data do not mean.
    """
    if "_" in text:
        raise ValueError(f"a number has no underscore: {text!r}")
    return text


def parse_column(
    path: Path,
    first_line: int,
    name: str,
    texts: Sequence[str],
    parse: Callable[[str], Any],
    dtype: npt.DTypeLike,
) -> npt.NDArray[Any]:
    """Parses one field of consecutive rows.

    Args:
      path: The file, for messages.
      first_line: Line number of the first text.
      name: Name of the field.
      texts: The field in every row.
      parse: Turns a text into a value; raises a ValueError or KeyError if it
        cannot.
      dtype: Dtype of the values.

    Returns:
      An array of shape [len(texts)].

    Raises:
      ValueError: If a text cannot be parsed.
    """
    try:
        return np.fromiter(map(parse, texts), dtype, count=len(texts))
    except (KeyError, ValueError, OverflowError):
        for line, text in enumerate(texts, first_line):
            try:
                np.array([parse(text)], dtype)
            except (KeyError, ValueError, OverflowError) as error:
                known = not isinstance(error, KeyError)
                reason = error if known else "it is not one of the known values"
                fail(path, line, f"`{name}` cannot be read from {text!r}: {reason}")
        raise


def _undecodable_line(path: Path, encoding: str) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return number
    return 1
