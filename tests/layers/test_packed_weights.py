"""Arrays in one variable."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.layers._packed_weights import PackedLayout


@pytest.mark.parametrize(
    "shapes",
    [[(32, 3)], [(1,)], [(5, 7), (7,), (7, 1), (1,)], [(64,), (2, 3, 4), (32,)]],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_arrays_come_back(shapes: list[tuple[int, ...]], dtype: type) -> None:
    generator = np.random.default_rng(3)
    arrays = [generator.normal(size=shape).astype(dtype) for shape in shapes]
    layout = PackedLayout(tuple(shapes))
    packed = layout.pack(arrays)
    assert packed.shape == layout.shape
    # No number is lost, and there is less than a line of padding to each array.
    assert np.count_nonzero(packed) == sum(array.size for array in arrays)
    assert packed.size - np.count_nonzero(packed) < 32 * len(arrays)
    for unpack in (layout.unpack, tf.function(layout.unpack)):
        for array, expected in zip(unpack(packed), arrays, strict=True):
            np.testing.assert_array_equal(array, expected, strict=True)


def test_other_numbers_of_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        PackedLayout(((2,), (3,))).pack([np.zeros(2)])
