"""Checks that the tables share."""

from collections.abc import Sized
from typing import Any

import numpy as np
import numpy.typing as npt


def check_length(name: str, values: Sized, length: int) -> None:
    """Raises a ValueError unless `values` has `length` rows."""
    if len(values) != length:
        raise ValueError(
            f"`{name}` must have one value a row, that is {length}. Received "
            f"{len(values)} values."
        )


def check_unique(name: str, ids: npt.NDArray[np.str_]) -> None:
    """Raises a ValueError unless `ids` are distinct strings."""
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind != "U":
        shape = getattr(ids, "shape", None)
        raise ValueError(
            f"`{name}` must be a NumPy array of strings of rank 1. Received "
            f"{type(ids).__name__} of dtype {getattr(ids, 'dtype', None)} and shape "
            f"{shape}; integer ids become strings with `ids.astype(str)`."
        )
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < len(ids):
        repeated = distinct[counts > 1][:5].tolist()
        raise ValueError(
            f"`{name}` must be distinct. Received {len(ids) - len(distinct)} "
            f"repeated ids, among them {repeated}."
        )


def check_share(name: str, share: Any) -> None:
    """Raises a ValueError unless `share` lies in [0, 1)."""
    if not 0 <= share < 1:
        raise ValueError(
            f"`{name}` is a share and must lie in [0, 1). Received: {share!r}."
        )
