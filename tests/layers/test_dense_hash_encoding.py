"""The encoding's bits, which no Keras, mode or version may change."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.cases import INTEGERS
from tfrs_dhe.layers import DenseHashEncoding

MASK = 2**64 - 1
M = 1_000_000


def splitmix64(seed: int, i: int) -> int:
    """The i-th output, counted from 1, in Python's exact integers."""
    return finalize((seed + i * 0x9E3779B97F4A7C15) & MASK)


def finalize(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def multiply_shift_encoding(key: int, num_hashes: int, seed: int) -> list[float]:
    """The whole encoding of an id from the formulas, divided in float64."""
    mixed = finalize(key & MASK)
    high, low = mixed >> 32, mixed & 0xFFFFFFFF
    values = []
    for i in range(num_hashes):
        a, a_prime, b = (splitmix64(seed, 3 * i + j) for j in (1, 2, 3))
        h = (((high + a) * (low + a_prime) + b) & MASK) >> 32
        x = (h * M >> 32) + 1
        values.append(2 * (x - 1) / (M - 1) - 1)
    return values


def test_encoding_from_the_formulas() -> None:
    expected = [multiply_shift_encoding(int(key), 16, seed=5) for key in INTEGERS]
    encoding = DenseHashEncoding(16, seed=5)(INTEGERS).numpy()
    np.testing.assert_array_equal(encoding, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("options", "golden"),
    [
        (
            {},
            [
                ["-0x1.71cee80000000p-1", "0x1.8c38ca0000000p-2"],
                ["0x1.2249500000000p-1", "0x1.a0a5640000000p-1"],
                ["0x1.d7678e0000000p-1", "0x1.292a440000000p-5"],
            ],
        ),
        (
            {"hash_family": "carter_wegman", "seed": 9},
            [
                ["-0x1.5cee0c0000000p-1", "0x1.d5462a0000000p-2"],
                ["-0x1.cf0b680000000p-1", "0x1.aba6640000000p-1"],
                ["-0x1.35dd600000000p-3", "0x1.5eabb20000000p-1"],
            ],
        ),
    ],
)
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_golden_bits(
    options: dict[str, Any], golden: list[list[str]], mode: str
) -> None:
    layer = DenseHashEncoding(2, **options)
    call = {
        "eager": layer,
        "graph": tf.function(layer),
        "xla": tf.function(layer, jit_compile=True),
    }[mode]
    encoding = call(tf.constant([0, -1, 2**62], tf.int64)).numpy()
    expected = [[float.fromhex(value) for value in row] for row in golden]
    assert encoding.tolist() == expected


def test_no_id_is_special() -> None:
    keys = np.array([0, -1, 1, 2**31, 2**32, 2**31 - 1, 2**63 - 1, -(2**63)], np.int64)
    for family in ("multiply_shift", "carter_wegman"):
        for distribution in ("uniform", "gaussian"):
            for mix_keys in (True, False):
                encoding = DenseHashEncoding(
                    64,
                    hash_family=family,
                    distribution=distribution,
                    mix_keys=mix_keys,
                )(keys).numpy()
                assert np.isfinite(encoding).all()
                assert len(np.unique(encoding, axis=0)) == len(keys)
                # No row is degenerate: the mean of 64 values of variance 1/3 or
                # 1 is within 5 standard deviations of zero.
                assert np.abs(encoding.mean(axis=1)).max() < 5 / 8
