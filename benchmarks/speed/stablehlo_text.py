"""What is read from the StableHLO text that TensorFlow gives of a function."""

import re


def standard(text: str) -> str:
    """Returns the text without what only TensorFlow's own dialect has."""
    # Copies only keep a value apart from a variable that is overwritten.
    return re.sub(
        r"mhlo\.copy (%\S+) : (tensor<[^>]*>)",
        r"stablehlo.reshape \1 : (\2) -> \2",
        text,
    )


def wide_divisions(text: str) -> list[str]:
    """Returns the lines that divide 64-bit integers, or take a remainder.

    A TPU has no 64-bit integers: a division is some 1700 operations for each number.
    """
    division = re.compile(
        r"stablehlo\.(divide|remainder)\b.*: tensor<(\d+x)*u?i64>", re.MULTILINE
    )
    return [line.strip() for line in text.splitlines() if division.search(line)]


def updates(text: str) -> dict[int, int]:
    """Returns which output is the new value of which argument, by number."""
    alias = re.compile(
        r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>"
    )
    return {int(output): int(argument) for argument, output in alias.findall(text)}
