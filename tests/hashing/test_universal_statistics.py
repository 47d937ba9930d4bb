"""What the analysis of deep hash embeddings assumes about the hash functions.

Everything follows from fixed seeds, so a test passes always or never. Thresholds
of p-values are divided by the number of hypotheses (Bonferroni), so that each of
the three looks that a test takes at true hypotheses fails with a probability of at
most SIGNIFICANCE.
"""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfrs_dhe.hashing import universal_hash

FAMILIES = ["multiply_shift", "carter_wegman"]
P = 2**31 - 1
SIGNIFICANCE = 1e-3


def random_keys(count, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(-(2**63), 2**63, count, dtype=np.int64)


def structured_pairs(keys, num_buckets):
    """Partners of keys that a weak hash would make collide."""
    return {
        "x and x + 1": keys + 1,
        "x and x + m": keys + num_buckets,
        "x and x + p": keys + P,
        "x and x + 2^32": keys + 2**32,
        "x and x + 2^30": keys + 2**30,
        "x and -x": -keys,
        "x and another": np.roll(keys, 1),
    }


def collision_rates(keys, num_hashes, num_buckets, seeds, **options):
    """Share of equal hashes over pairs, hash functions and seeds."""
    pairs = structured_pairs(keys, num_buckets)
    rates = dict.fromkeys(pairs, 0.0)
    for seed in range(seeds):

        def hash_all(ids, seed=seed):
            ids = tf.constant(ids)
            return universal_hash(ids, num_hashes, num_buckets, seed=seed, **options)

        hashes = hash_all(keys)
        for name, partners in pairs.items():
            equal = tf.math.count_nonzero(hashes == hash_all(partners))
            rates[name] += int(equal) / (hashes.shape.num_elements() * seeds)
    return rates


@pytest.mark.parametrize("hash_family", FAMILIES)
def test_collision_rate(hash_family):
    # 8 million trials per row: 8000 collisions, a standard error of 1.1 %.
    num_buckets = 1000
    rates = collision_rates(
        np.concatenate([np.arange(250), random_keys(250)]) + 1,
        num_hashes=1024,
        num_buckets=num_buckets,
        seeds=16,
        hash_family=hash_family,
    )
    for name, rate in rates.items():
        assert 0 < rate <= 1.05 / num_buckets, name


# Hash functions in all, for tests that count over functions instead of keys.
SEEDS, NUM_HASHES = 8, 2**15


@pytest.mark.parametrize("hash_family", FAMILIES)
def test_collision_rate_without_mixing(hash_family):
    # A linear hash makes all pairs of one difference collide together, so only
    # functions count as trials: 262,144, 13,000 collisions, a standard error of
    # 0.9 % even where the four keys add nothing.
    num_buckets = 20
    rates = collision_rates(
        np.array([7, 10**6, 2**40 + 3, -(2**61)]),
        num_hashes=NUM_HASHES,
        num_buckets=num_buckets,
        seeds=SEEDS,
        hash_family=hash_family,
        mix=False,
    )
    for name, rate in rates.items():
        assert 0 < rate <= 1.05 / num_buckets, name


def assert_uniform(counts):
    """Tests that each row [..., cells] of counts is from a uniform distribution."""
    p_values = stats.chisquare(counts, axis=-1).pvalue.ravel()
    assert p_values.min() > SIGNIFICANCE / p_values.size
    # The other way around, too even a distribution would give p-values near 1.
    assert p_values.max() < 1 - SIGNIFICANCE / p_values.size
    assert stats.kstest(p_values, "uniform").pvalue > SIGNIFICANCE


def count_cells(cells, num_cells):
    """Counts of each cell 0, ..., num_cells - 1 along the first axis."""
    return np.stack([np.bincount(c, minlength=num_cells) for c in cells.T])


IDS = {
    "consecutive": np.arange(-50_000, 50_000),
    "multiples": np.arange(100_000) * 2**20,
    "random": random_keys(100_000),
}


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_every_dimension_is_uniform(hash_family, ids):
    hashes = universal_hash(tf.constant(IDS[ids]), 64, 100, hash_family=hash_family)
    assert_uniform(count_cells(hashes.numpy() - 1, 100))


@pytest.mark.parametrize("hash_family", FAMILIES)
def test_every_dimension_is_uniform_without_mixing(hash_family):
    # Of random keys: those of an arithmetic sequence are spread too evenly.
    ids = tf.constant(IDS["random"])
    hashes = universal_hash(ids, 64, 100, hash_family=hash_family, mix=False)
    assert_uniform(count_cells(hashes.numpy() - 1, 100))


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_dimensions_are_pairwise_independent(hash_family, ids):
    m, k = 8, 16
    hashes = universal_hash(tf.constant(IDS[ids]), k, m, hash_family=hash_family)
    hashes = hashes.numpy() - 1
    first, second = np.triu_indices(k, 1)
    joint = hashes[:, first] * m + hashes[:, second]
    assert_uniform(count_cells(joint, m * m))


@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_keys_are_pairwise_independent_over_the_functions(hash_family, mix):
    m = 8
    keys = np.array([0, 7, 10**6, 2**40 + 3, -(2**61)])
    partners = np.stack(list(structured_pairs(keys + 1, m).values()))[:-1]
    joint = []
    for seed in range(SEEDS):
        first, second = (
            universal_hash(
                tf.constant(ids),
                NUM_HASHES,
                m,
                hash_family=hash_family,
                mix=mix,
                seed=seed,
            ).numpy()
            - 1
            for ids in (keys + 1, partners)
        )
        joint.append((first * m + second).reshape(-1, NUM_HASHES).T)
    assert_uniform(count_cells(np.concatenate(joint), m * m))


CHUNK = 500_000


def count_encodings(ids, **options):
    """Number of distinct first three hashes, packed into one integer each."""

    @tf.function(jit_compile=True)
    def pack(chunk):
        hashes = tf.cast(universal_hash(chunk, 3, 10**6, **options) - 1, tf.int64)
        return (hashes[:, 0] * 10**6 + hashes[:, 1]) * 10**6 + hashes[:, 2]

    packed = np.empty_like(ids)
    for start in range(0, ids.size, CHUNK):
        packed[start : start + CHUNK] = pack(ids[start : start + CHUNK])
    packed.sort()
    return 1 + np.count_nonzero(packed[1:] != packed[:-1])


# Three hashes have 10^18 values, of which 10 million ids take two alike with a
# probability of 5 * 10^-5. Where they differ, so do all encodings that begin with
# them: m = 10^6 values have as many floats.
@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_ten_million_consecutive_ids_have_encodings_of_their_own(hash_family, mix):
    ids = np.arange(10_000_000)
    assert count_encodings(ids, hash_family=hash_family, mix=mix) == ids.size


@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_a_million_random_ids_have_encodings_of_their_own(hash_family, mix):
    ids = random_keys(1_000_000)
    assert np.unique(ids).size == ids.size
    assert count_encodings(ids, hash_family=hash_family, mix=mix) == ids.size
