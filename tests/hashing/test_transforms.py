"""Uniform and Gaussian values of hashes."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfrs_dhe.hashing import gaussian, uniform, universal_hash

# 42 and 83 are the first for which m - 1 times its rounded reciprocal is not 1.
NUM_BUCKETS = [2, 3, 4, 10, 42, 83, 1000, 10**6, 2**24 - 1, 2**24, 2**24 + 1]
NUM_BUCKETS += [999_999_937, 2**30, 2**31 - 2, 2**31 - 1]
MODES = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def random_hashes(num_buckets, count, seed=0):
    generator = np.random.default_rng(seed)
    hashes = generator.integers(1, num_buckets + 1, count)
    return hashes.astype(np.int32)


def extreme_hashes(num_buckets):
    """All pairs of the first, the last and the middle hash values."""
    m = num_buckets
    values = sorted({1, 2, m // 2, m // 2 + 1, m - 1, m} - {0})
    return np.array([pair for x in values for pair in ((x, y) for y in values)])


def uniform_in_float64(hashes, num_buckets):
    return 2 * (hashes.astype(np.float64) - 1) / (num_buckets - 1) - 1


def gaussian_in_float64(hashes, num_buckets):
    u = hashes.astype(np.float64) / num_buckets
    u1, u2 = u[..., 0::2], u[..., 1::2]
    values = np.empty(hashes.shape)
    values[..., 0::2] = np.sqrt(-2 * np.log(u1)) * np.cos(2 * np.pi * u2)
    values[..., 1::2] = np.sqrt(-2 * np.log(u1)) * np.sin(2 * np.pi * u2)
    return values


def bits(tensor):
    return np.asarray(tensor).view(np.int32)


@pytest.mark.parametrize(
    ("num_buckets", "expected"),
    [
        (2, [-1, 1]),
        (3, [-1, 0, 1]),
        (5, [-1, -0.5, 0, 0.5, 1]),
        (9, [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_uniform_by_hand(num_buckets, expected):
    result = uniform(tf.range(1, num_buckets + 1), num_buckets)
    assert result.dtype == tf.float32
    assert result.numpy().tolist() == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
def test_uniform_is_the_formula_with_one_rounding(num_buckets, mode):
    hashes = random_hashes(num_buckets, 100_000)
    function = MODES[mode](lambda x: uniform(x, num_buckets))
    result = function(tf.constant(hashes)).numpy()
    exact = uniform_in_float64(hashes, num_buckets)
    # Half an ulp is the rounding itself; float64 adds an absolute 2^-53 or so.
    ulp = np.spacing(np.abs(exact).astype(np.float32))
    assert np.all(np.abs(result - exact) <= 0.51 * ulp + 2.0**-52)
    assert np.abs(result).max() <= 1


@pytest.mark.parametrize("mode", MODES)
def test_uniform_reaches_and_keeps_its_end_points(mode):
    # Each size adds its own ops to the graph, so graphs take fewer.
    all_sizes = [*range(2, 300), *NUM_BUCKETS]
    all_sizes += np.random.default_rng(0).integers(2, 2**31, 300).tolist()
    sizes = all_sizes if mode == "eager" else all_sizes[::5] + NUM_BUCKETS

    def all_extremes():
        return tf.stack([uniform(tf.constant([1, 2, m - 1, m]), m) for m in sizes])

    result = MODES[mode](all_extremes)().numpy()
    np.testing.assert_array_equal(result[:, [0, 3]], [[-1, 1]] * len(sizes))
    assert np.abs(result).max() <= 1
    np.testing.assert_array_equal(result[:, 1], -result[:, 2])


@pytest.mark.parametrize("num_buckets", [2, 1000, 10**6, 2**24])
def test_uniform_tells_hashes_apart_and_keeps_their_order(num_buckets):
    step = 1 if num_buckets <= 10**6 else 7
    result = uniform(tf.range(1, num_buckets + 1, step), num_buckets).numpy()
    assert np.all(np.diff(result) > 0)


def test_uniform_of_hashes_is_uniformly_distributed():
    for hash_family in ("multiply_shift", "carter_wegman"):
        hashes = universal_hash(
            tf.range(1000), 200, 10**6, hash_family=hash_family, seed=1
        )
        values = uniform(hashes, 10**6).numpy().ravel()
        assert stats.kstest(values, stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
def test_uniform_has_the_same_bits_in_every_mode(mode, num_buckets):
    hashes = tf.constant(random_hashes(num_buckets, 10_000))

    def function(x):
        return uniform(x, num_buckets)

    np.testing.assert_array_equal(
        bits(MODES[mode](function)(hashes)), bits(function(hashes))
    )


def test_golden_values_of_uniform():
    # By the formula 2 (x - 1) / (m - 1) - 1 = (2 x - 1000001) / 999999.
    hashes = tf.constant([2, 166_667, 500_001, 999_999])
    expected = [-999_997 / 999_999, -666_667 / 999_999, 1 / 999_999, 999_997 / 999_999]
    np.testing.assert_array_equal(uniform(hashes, 10**6), np.float32(expected))


def test_gaussian_by_hand():
    # m = 4 has u in {1/4, 1/2, 3/4, 1}: the angles are quarters of a turn, and the
    # radii sqrt(-2 ln u).
    hashes = tf.constant([[1, 4], [1, 1], [1, 2], [1, 3], [2, 4], [3, 1], [4, 2]])
    quarter, half, three = (math.sqrt(-2 * math.log(i / 4)) for i in (1, 2, 3))
    expected = [
        [quarter, 0],
        [0, quarter],
        [-quarter, 0],
        [0, -quarter],
        [half, 0],
        [0, three],
        [0, 0],
    ]
    result = gaussian(hashes, 4)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, expected, rtol=2e-7, atol=5e-7)


def test_gaussian_takes_adjacent_pairs():
    pairs = tf.constant([[10, 200], [3, 77], [999, 5]])
    apart = gaussian(pairs, 1000).numpy()
    together = gaussian(tf.reshape(pairs, [6]), 1000).numpy()
    np.testing.assert_allclose(together.reshape(3, 2), apart, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
def test_gaussian_is_box_muller(num_buckets, mode):
    hashes = random_hashes(num_buckets, (20_000, 4))
    function = MODES[mode](lambda x: gaussian(x, num_buckets))
    result = function(tf.constant(hashes)).numpy()
    exact = gaussian_in_float64(hashes, num_buckets)
    radius = np.repeat(np.hypot(exact[:, 0::2], exact[:, 1::2]), 2, axis=1)
    # The angle, up to 2 pi, is rounded three times: by 6e-7 in all. Rounding u by
    # 2^-25 changes the squared radius by 2^-24, which counts where u is near 1.
    with np.errstate(divide="ignore"):
        tolerance = 1e-6 * radius + np.minimum(2.0**-24 / radius, 2.0**-12)
    assert np.all(np.abs(result - exact) <= tolerance)
    assert np.all(result[radius == 0] == 0)


def test_gaussian_of_hashes_is_normally_distributed():
    for hash_family in ("multiply_shift", "carter_wegman"):
        hashes = universal_hash(
            tf.range(1000), 200, 10**6, hash_family=hash_family, seed=1
        )
        values = gaussian(hashes, 10**6).numpy()
        assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
        # Both of a pair, separately and with each other.
        first, second = values[:, 0::2].ravel(), values[:, 1::2].ravel()
        assert stats.kstest(first, "norm").pvalue > 1e-3
        assert stats.kstest(second, "norm").pvalue > 1e-3
        assert stats.pearsonr(first, second).pvalue > 1e-3
        assert stats.pearsonr(first**2, second**2).pvalue > 1e-3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
def test_gaussian_is_finite_and_bounded_at_the_extremes(num_buckets, mode):
    hashes = tf.constant(extreme_hashes(num_buckets), tf.int32)
    result = MODES[mode](lambda x: gaussian(x, num_buckets))(hashes).numpy()
    assert np.all(np.isfinite(result))
    assert np.abs(result).max() <= math.sqrt(2 * math.log(num_buckets)) * (1 + 1e-6)
    # u = 1 has no radius.
    assert np.all(result[hashes.numpy()[:, 0] == num_buckets] == 0)


@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
def test_gaussian_has_the_same_bits_in_eager_mode_and_graphs(num_buckets):
    hashes = tf.constant(random_hashes(num_buckets, (5000, 4)))

    @tf.function
    def in_graph(x):
        return gaussian(x, num_buckets)

    np.testing.assert_array_equal(
        bits(in_graph(hashes)), bits(gaussian(hashes, num_buckets))
    )


@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
def test_gaussian_hardly_differs_under_xla(num_buckets):
    hashes = tf.constant(random_hashes(num_buckets, (50_000, 4)))

    @tf.function(jit_compile=True)
    def compiled(x):
        return gaussian(x, num_buckets)

    # XLA has a logarithm of its own, and fuses products with sums. Near a zero of sine
    # or cosine, the digits of the value itself mean nothing: those of the radius do.
    difference = np.abs(compiled(hashes) - gaussian(hashes, num_buckets))
    radius = np.sqrt(-2 * np.log(hashes.numpy()[:, 0::2] / num_buckets))
    assert np.all(difference <= 1e-6 * np.repeat(radius, 2, axis=1))


@pytest.mark.parametrize("num_hashes", [1, 3, 1023])
@pytest.mark.parametrize("mode", MODES)
def test_odd_number_of_hashes_is_refused(mode, num_hashes):
    hashes = tf.ones([2, num_hashes], tf.int32)
    with pytest.raises(ValueError, match=rf"`num_hashes` must be even.*{num_hashes}"):
        MODES[mode](lambda x: gaussian(x, 10))(hashes)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(2,), (5, 4), (2, 3, 2), (0, 4), (2, 0, 2)])
@pytest.mark.parametrize("transform", [uniform, gaussian])
def test_shapes(transform, shape, mode):
    result = MODES[mode](lambda x: transform(x, 10))(tf.ones(shape, tf.int32))
    assert result.shape == shape
    assert result.dtype == tf.float32


@pytest.mark.parametrize("transform", [uniform, gaussian])
def test_inferred_shape(transform):
    function = tf.function(
        lambda x: transform(x, 10),
        input_signature=[tf.TensorSpec([None, None, 4], tf.int32)],
    )
    inferred = function.get_concrete_function().structured_outputs.shape
    assert inferred.as_list() == [None, None, 4]


@pytest.mark.parametrize("transform", [uniform, gaussian])
@pytest.mark.parametrize("integer_type", [np.int32, np.int64])
def test_numpy_integers_are_numbers_of_buckets(transform, integer_type):
    for num_buckets in (10, 2**31 - 1):
        hashes = tf.constant([1, num_buckets, num_buckets, 1])
        np.testing.assert_array_equal(
            transform(hashes, integer_type(num_buckets)),
            transform(hashes, num_buckets),
        )


@pytest.mark.parametrize("hash_family", ["multiply_shift", "carter_wegman"])
@pytest.mark.parametrize("num_buckets", [2, 10**6, 2**31 - 1])
@pytest.mark.parametrize("transform", [uniform, gaussian])
@pytest.mark.parametrize("mode", MODES)
def test_encodings_of_extreme_ids_are_finite(mode, transform, num_buckets, hash_family):
    powers = [2**i for i in range(63)]
    ids = [0, -1, 2**63 - 1, -(2**63), 2**31 - 1, *powers, *(-x for x in powers)]

    def encode(ids):
        hashes = universal_hash(ids, 64, num_buckets, hash_family=hash_family)
        return transform(hashes, num_buckets)

    encodings = MODES[mode](encode)(tf.constant(ids, tf.int64)).numpy()
    assert np.all(np.isfinite(encodings))
    assert len(np.unique(encodings, axis=0)) == len(set(ids))
