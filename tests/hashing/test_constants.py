"""SplitMix64, seeds and the constants of the hash families."""

import hashlib

import numpy as np
import pytest

from tfrs_dhe.hashing import constants, derive_seed, splitmix64

# Outputs that other implementations of SplitMix64 publish and test against.
PUBLISHED = {
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
    1234567: [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ],
}


@pytest.mark.parametrize("seed", PUBLISHED)
def test_splitmix64_gives_the_published_numbers(seed):
    assert splitmix64(seed, len(PUBLISHED[seed])) == PUBLISHED[seed]


def test_splitmix64_wraps_its_state_around():
    # A state of -gamma is one step before zero.
    gamma = 0x9E3779B97F4A7C15
    assert splitmix64(2**64 - gamma, 4) == [0, *PUBLISHED[0]]


def test_splitmix64_of_no_numbers():
    assert splitmix64(0, 0) == []


@pytest.mark.parametrize(
    ("seed", "name", "derived"),
    [
        (0, "", 0x7A0B81A1F57055AF),
        (0, "user_id", 0xCBD5ADEE03C838C0),
        (2**64 - 1, "größe", 0x1DDFDE644E69B7DD),
    ],
)
def test_golden_values_of_derive_seed(seed, name, derived):
    assert derive_seed(seed, name) == derived


def test_derive_seed_is_the_head_of_a_sha256_digest():
    digest = hashlib.sha256(b"\x07\x01\0\0\0\0\0\0" + b"movie_id").digest()
    expected = sum(byte << 8 * i for i, byte in enumerate(digest[:8]))
    assert derive_seed(0x107, "movie_id") == expected


def test_derived_seeds_differ_by_seed_and_by_name():
    seeds = [0, 1, 2, 255, 256, 2**32, 2**63, 2**64 - 1]
    names = ["", "a", "b", "aa", "user_id", "movie_id", "0", "1", "\0"]
    derived = {derive_seed(seed, name) for seed in seeds for name in names}
    assert len(derived) == len(seeds) * len(names)
    assert all(0 <= seed < 2**64 for seed in derived)


@pytest.mark.parametrize("integer_type", [np.int32, np.int64, np.uint64])
def test_numpy_integers_are_seeds_like_any_other(integer_type):
    seed = integer_type(1234567)
    assert splitmix64(seed, 5) == PUBLISHED[1234567]
    assert derive_seed(seed, "a") == derive_seed(1234567, "a")
    assert type(constants.check_seed(seed)) is int


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_every_integer_of_64_bits_is_a_seed(seed):
    assert constants.check_seed(seed) == seed


@pytest.mark.parametrize("seed", [-1, 2**64, None, 1.5, 1.0, "1", True, np.int64(-1)])
@pytest.mark.parametrize(
    "function",
    [constants.check_seed, lambda s: splitmix64(s, 1), lambda s: derive_seed(s, "a")],
    ids=["check_seed", "splitmix64", "derive_seed"],
)
def test_other_seeds_are_refused(function, seed):
    with pytest.raises(ValueError, match=r"`seed` must be an integer"):
        function(seed)


def test_multiply_shift_takes_the_numbers_by_threes():
    result = constants.multiply_shift_constants(1234567, 1)
    assert result.dtype == np.uint64
    assert result.T.tolist() == [PUBLISHED[1234567][:3]]


def test_carter_wegman_takes_the_numbers_by_fours():
    p = 2**31 - 1
    a0, a1, a2, b = PUBLISHED[1234567][:4]
    result = constants.carter_wegman_constants(1234567, 1, p)
    assert result.dtype == np.uint64
    assert result.T.tolist() == [[a0 % (p - 1) + 1, a1 % p, a2 % p, b % p]]


def test_carter_wegman_is_never_blind_to_the_lowest_limb():
    # With p = 3, a multiplier of zero would turn up at once.
    a0, a1, a2, b = constants.carter_wegman_constants(0, 1000, 3)
    assert set(a0.tolist()) == {1, 2}
    for row in (a1, a2, b):
        assert set(row.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    "make",
    [
        constants.multiply_shift_constants,
        lambda seed, k: constants.carter_wegman_constants(seed, k, 2**31 - 1),
    ],
)
def test_constants_cannot_be_changed_and_begin_alike(make):
    long = make(5, 64)
    np.testing.assert_array_equal(make(5, 32), long[:, :32])
    assert (make(6, 64) != long).mean() > 0.99
    with pytest.raises(ValueError, match="read-only"):
        long[0, 0] = 0
