"""Rows in fewer bytes against integers worked out one by one."""

import numpy as np
import pytest

from tfrs_dhe.layers import _compact_rows


@pytest.mark.parametrize("width", [1, 2, 5, 8])
@pytest.mark.parametrize(("dtype", "largest"), [("int8", 127), ("int4", 7)])
def test_integers_of_a_row(width: int, dtype: str, largest: int) -> None:
    integers = np.random.default_rng(width).integers(-largest, largest + 1, [50, width])
    integers[:, 0] = largest
    rows = (integers * 0.5).astype(np.float32)
    values, scales = _compact_rows.compact(rows, dtype)
    assert scales is not None
    num_bytes = values.nbytes + scales.nbytes
    assert num_bytes == 50 * _compact_rows.bytes_per_row(width, dtype)
    assert values.shape[1] == _compact_rows.stored_width(width, dtype)
    restored = _compact_rows.restore(
        values, scales[:, np.newaxis], width, dtype, "float32"
    )
    np.testing.assert_array_equal(restored, rows)


def test_two_integers_share_a_byte() -> None:
    values, _ = _compact_rows.compact(np.float32([[7, -7, 1, -1, 3]]), "int4")
    # The last three columns are in the high bits of those before; the last has none.
    assert values.view(np.uint8).tolist() == [[0xF7, 0x39, 0x01]]
