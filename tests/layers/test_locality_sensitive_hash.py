"""Random hyperplanes against the geometry they are to keep."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.layers import LocalitySensitiveHash

GOLDEN = [-1.34488928, -1.34698057, 0.30394638, -0.88801384]


@pytest.mark.parametrize("angle", [0.1, 0.8, 1.5, 2.5])
def test_share_of_different_bits_is_the_angle(angle: float) -> None:
    # Vectors at a known angle in a random plane of 20 dimensions.
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=[20, 2]))
    x, y = basis[:, 0], np.cos(angle) * basis[:, 0] + np.sin(angle) * basis[:, 1]
    num_bits = 20_000
    bits = LocalitySensitiveHash(num_bits, seed=1)(np.float32([x, y])).numpy()
    share = np.mean(bits[0] != bits[1])
    expected = angle / np.pi
    deviation = np.sqrt(expected * (1 - expected) / num_bits)
    assert abs(share - expected) < 4 * deviation


def test_bits_are_the_signs_of_products_with_the_hyperplanes() -> None:
    x = np.random.default_rng(0).normal(size=[50, 8]).astype(np.float32)
    layer = LocalitySensitiveHash(16)
    bits = layer(x).numpy()
    products = x.astype(np.float64) @ np.asarray(layer.hyperplanes, np.float64)
    clear = np.abs(products) > 1e-4
    np.testing.assert_array_equal(bits[clear], np.sign(products)[clear])


def test_length_does_not_matter_and_zero_is_positive() -> None:
    layer = LocalitySensitiveHash(16)
    x = np.random.default_rng(0).normal(size=[5, 8]).astype(np.float32)
    np.testing.assert_array_equal(layer(x), layer(x * 1000))
    assert (layer(np.zeros([1, 8], np.float32)).numpy() == 1).all()


def test_hyperplanes_follow_from_the_seed() -> None:
    layers = [LocalitySensitiveHash(4, seed=seed) for seed in (7, 7, 8)]
    for layer in layers:
        layer.build((None, 3))
    planes = [np.asarray(layer.hyperplanes) for layer in layers]
    np.testing.assert_array_equal(planes[0], planes[1])
    assert np.abs(planes[0] - planes[2]).max() > 0.1
    # Fixed for ever: models are served with what they were trained with.
    np.testing.assert_allclose(planes[0][0], GOLDEN, rtol=1e-6)


def test_hyperplanes_are_standard_normal() -> None:
    layer = LocalitySensitiveHash(100)
    layer.build((None, 201))  # an odd number of them
    planes = np.asarray(layer.hyperplanes)
    assert abs(planes.mean()) < 4 / np.sqrt(planes.size)
    assert abs(planes.var() - 1) < 4 * np.sqrt(2 / planes.size)


def test_multi_hot_integers_and_ragged() -> None:
    layer = LocalitySensitiveHash(16)
    dense = layer(tf.constant([[1, 0, 1], [0, 0, 1]]))
    np.testing.assert_array_equal(
        dense, layer(tf.constant([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))
    )
    ragged = tf.RaggedTensor.from_row_splits(
        tf.constant([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), [0, 2, 2]
    )
    np.testing.assert_array_equal(layer(ragged).flat_values, dense)


def test_bad_input() -> None:
    layer = LocalitySensitiveHash(4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be finite"):
        layer(tf.constant([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match="`num_bits` must be a positive integer"):
        LocalitySensitiveHash(0)
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        LocalitySensitiveHash(4, seed=None)
    with pytest.raises(ValueError, match="must be numbers"):
        LocalitySensitiveHash(4)(tf.constant([["a"]]))


def test_unknown_width() -> None:
    with pytest.raises(ValueError, match=r"of LocalitySensitiveHash must be known"):
        LocalitySensitiveHash(4).build((None, None))


def test_products_beyond_the_type_are_an_error() -> None:
    layer = LocalitySensitiveHash(num_bits=12)
    vectors = np.random.default_rng(1).uniform(-3, 3, (2, 50)).astype(np.float32)
    np.testing.assert_array_equal(layer(vectors * np.float32(1e30)), layer(vectors))
    with pytest.raises(tf.errors.InvalidArgumentError, match="scaled down"):
        layer(vectors * np.float32(1e38))
