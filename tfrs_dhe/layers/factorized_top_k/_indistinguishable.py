"""Classes that no repetition tells apart."""

import numpy as np

#: Any odd number with bits all over.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def equal_columns(table: np.ndarray) -> list[np.ndarray]:
    """Returns which columns of a table are the same.

    Example:
    >>> [group.tolist() for group in equal_columns(np.array([[1, 2, 1], [3, 3, 3]]))]
    [[0, 2]]

    Args:
      table: Integers [R, K].

    Returns:
      The positions of the columns of each group of at least two, in ascending
      order, and the groups in the order of their first column.
    """
    suspects = _of_equal_hash(table)
    if not len(suspects):
        return []
    rows = np.ascontiguousarray(table[:, suspects].T)
    rows = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, numbers = np.unique(rows, return_index=True, return_inverse=True)
    # Groups by their first column, columns of a group as they come.
    order = np.argsort(first[numbers], kind="stable")
    starts = np.flatnonzero(np.diff(first[numbers][order])) + 1
    groups = np.split(suspects[order], starts)
    return [group for group in groups if len(group) > 1]


def _of_equal_hash(table: np.ndarray) -> np.ndarray:
    """Returns the columns, ascending, whose hash another column has as well."""
    hashes = np.zeros(table.shape[1], np.uint64)
    for row in table:
        hashes *= _MULTIPLIER
        hashes += row.astype(np.uint64)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    is_next = np.zeros(len(hashes), bool)
    is_next[1:] = hashes[1:] == hashes[:-1]
    is_equal = is_next.copy()
    is_equal[:-1] |= is_next[1:]
    return np.sort(order[is_equal])
