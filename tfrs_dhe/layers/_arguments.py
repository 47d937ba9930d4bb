"""Checks of constructor arguments that several layers share."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def check_positive_integer(name: str, value: Any) -> int:
    """Returns `value` as int, or raises a ValueError that names the argument."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {value!r}.")
    return int(value)


def check_num_buckets(value: Any, name: str = "num_buckets") -> int:
    """Returns how many values a hash has as int, or raises a ValueError."""
    value = check_positive_integer(name, value)
    if not 2 <= value < 2**31:
        raise ValueError(f"`{name}` must be from 2 to 2**31 - 1. Received: {value!r}.")
    return value


def check_one_of(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raises a ValueError that names the argument and the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}.")


def plain(value: Any) -> Any:
    """Returns NumPy numbers and sequences as Python's own, for a config."""
    return np.asarray(value).tolist() if value is not None else None


def resolve_budget(
    parameter_budget: float | None,
    table_shape: Sequence[int] | None,
) -> int | None:
    """Returns a budget as a number of parameters.

    Args:
      parameter_budget: A number of parameters; with `table_shape` a share of
        the table's.
      table_shape: Rows and columns (n, d) of the table that is replaced.

    Returns:
      Number of parameters, None if no budget is given.

    Raises:
      ValueError: If the two do not fit together.
    """
    if parameter_budget is None:
        if table_shape is not None:
            raise ValueError(
                "`table_shape` says what `parameter_budget` is a share of, so it "
                f"needs one. Received: table_shape={table_shape!r} and "
                "parameter_budget=None. A quarter of the table is "
                "parameter_budget=0.25."
            )
        return None
    if table_shape is None:
        return check_positive_integer("parameter_budget", parameter_budget)
    if len(table_shape) != 2:
        raise ValueError(
            "`table_shape` must be the rows and columns (n, d) of a table. "
            f"Received: {table_shape!r}."
        )
    rows, columns = (check_positive_integer("table_shape", n) for n in table_shape)
    is_number = isinstance(parameter_budget, int | float | np.number)
    if not is_number or not 0 < parameter_budget <= 1:
        raise ValueError(
            "`parameter_budget` with a `table_shape` is the share of the table's "
            "parameters that may be used, above 0 and at most 1. "
            f"Received: {parameter_budget!r}."
        )
    return int(rows * columns * parameter_budget)
