"""How far rounded rows are from exact ones."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RowErrors:
    """Errors of rows against a reference.

    Attributes:
      max_absolute: The largest difference of a value.
      mean_absolute: The mean of the absolute differences.
      max_relative: The largest ratio, over rows, of the length of the difference to
        that of the row.
      mean_relative: The mean of these ratios.
    """

    max_absolute: float
    mean_absolute: float
    max_relative: float
    mean_relative: float

    @classmethod
    def of(cls, rows: np.ndarray, reference: np.ndarray) -> "RowErrors":
        """Returns the errors of rows [n, d], n at least 1."""
        reference = np.asarray(reference, np.float64)
        difference = np.asarray(rows, np.float64) - reference
        lengths = np.linalg.norm(reference, axis=1)
        # A row of zeros has an error of zero or an infinite one.
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.nan_to_num(
                np.linalg.norm(difference, axis=1) / lengths, nan=0.0
            )
        return cls(
            float(np.abs(difference).max()),
            float(np.abs(difference).mean()),
            float(relative.max()),
            float(relative.mean()),
        )

    def __str__(self) -> str:
        return (
            f"absolute {self.mean_absolute:.2e} (max {self.max_absolute:.2e}), "
            f"relative {self.mean_relative:.2e} (max {self.max_relative:.2e})"
        )
