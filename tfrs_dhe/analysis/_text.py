"""Tables as text, for people and for Markdown."""

from collections.abc import Sequence
from typing import Any


def number(value: float) -> str:
    """Returns a number with thousands separated, or three digits.

    Example:
    >>> number(12345), number(0.012345), number(float("nan"))
    ('12,345', '0.0123', 'nan')
    """
    if value != value:
        return "nan"
    if float(value).is_integer() or abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def measured(value: float, form: str) -> str:
    """Returns a figure as a format has it, or that there is none.

    Example:
    >>> measured(0.25, ".0%"), measured(float("nan"), ".0%")
    ('25%', 'not measured')
    """
    return "not measured" if value != value else format(value, form)


def name(identifier: Any) -> str:
    """Returns an identifier as it reads in a table.

    Example:
    >>> name(b"shoes"), name(3)
    ('shoes', '3')
    """
    if isinstance(identifier, bytes):
        return identifier.decode(errors="replace")
    return str(identifier)


def short(identifier: Any, length: int = 18) -> str:
    """Returns an identifier as it fits into a picture.

    Example:
    >>> short("Star Wars: Episode IV - A New Hope (1977)")
    'Star Wars: Episod…'
    """
    text = name(identifier)
    return text if len(text) <= length else text[: length - 1] + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows at one width: the first column to the left, others to the right.

    Example:
    >>> print(table(["id", "count"], [["a", "10"], ["bc", "5"]]))
    id  count
    a      10
    bc      5
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [
            cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)
        ]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of Markdown.

    Example:
    >>> print(markdown(["id", "count"], [["a", "10"]]))
    | id | count |
    |---|--:|
    | a | 10 |
    """
    rule = "|---|" + "--:|" * (len(header) - 1)
    lines = ["| " + " | ".join(header) + " |", rule]
    # A bar would end the cell.
    lines += [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in rows
    ]
    return "\n".join(lines)
