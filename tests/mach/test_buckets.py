from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing, mach
from tfrs_dhe.mach import buckets

MASK_64 = 2**64 - 1
IDS = np.array([0, 1, -1, 2**62, -(2**63), 123_456_789])


def hash_by_hand(key: int, repetition: int, seed: int) -> int:
    """Returns the 32-bit hash of an id in Python's own integers."""
    z = key & MASK_64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK_64
    z ^= z >> 31
    numbers = hashing.splitmix64(hashing.derive_seed(seed, "mach"), 3 * repetition + 3)
    a, a_prime, b = numbers[-3:]
    high, low = z >> 32, z & 0xFFFFFFFF
    return ((((high + a) & MASK_64) * ((low + a_prime) & MASK_64) + b) & MASK_64) >> 32


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
@pytest.mark.parametrize("num_buckets", [2, 10, 4096, 2**31 - 1])
def test_buckets_follow_the_formula(num_buckets: int, seed: int) -> None:
    actual = mach.bucket_ids(IDS, num_buckets, 5, seed=seed)
    expected = [
        [hash_by_hand(int(id_), r, seed) * num_buckets >> 32 for r in range(5)]
        for id_ in IDS
    ]
    assert actual.dtype == tf.int32
    assert actual.numpy().tolist() == expected


def test_buckets_never_change() -> None:
    """A trained model is lost if its classes move."""
    actual = mach.bucket_ids(tf.constant(["shoes", "socks", ""]), 10_000, 4)
    assert actual.numpy().tolist() == [
        [7606, 9041, 6837, 8023],
        [97, 4809, 5237, 3445],
        [7647, 3989, 2741, 5363],
    ]


def test_strings_are_hashed_as_their_cityhash() -> None:
    strings = tf.constant(["a", "ü", "x" * 100])
    by_string = mach.bucket_ids(strings, 1000, 3)
    by_hash = mach.bucket_ids(hashing.cityhash64(strings), 1000, 3)
    assert by_string.numpy().tolist() == by_hash.numpy().tolist()


def test_a_repetition_is_the_same_whatever_else_is_held() -> None:
    whole = mach.bucket_ids(IDS, 100, 8).numpy()
    for repetitions in ([3], [7, 0], [5, 6]):
        part = mach.bucket_ids(IDS, 100, 8, repetitions=repetitions).numpy()
        np.testing.assert_array_equal(part, whole[:, repetitions])
    np.testing.assert_array_equal(mach.bucket_ids(IDS, 100, 3).numpy(), whole[:, :3])


def test_ragged_ids_keep_their_rows() -> None:
    ragged = tf.ragged.constant([[1, 2], [], [3]], dtype=tf.int64)
    result = mach.bucket_ids(ragged, 50, 2)
    flat = mach.bucket_ids([1, 2, 3], 50, 2)
    assert result.row_lengths().numpy().tolist() == [2, 0, 1]
    np.testing.assert_array_equal(result.flat_values, flat)
    assert mach.bucket_ids(np.zeros([2, 3], np.int64), 50, 2).shape == [2, 3, 2]


def test_pairs_share_buckets_as_often_as_independent_choices_do() -> None:
    """Two classes meet with probability 1/B, in two repetitions with 1/B^2."""
    num_classes, num_buckets = 2000, 16
    table = mach.bucket_table(np.arange(num_classes), num_buckets, 2)
    pairs = num_classes * (num_classes - 1) / 2

    def meetings(rows: np.ndarray) -> float:
        counts = np.unique(rows, axis=1, return_counts=True)[1].astype(float)
        return float((counts * (counts - 1) / 2).sum())

    for rows, probability in [
        (table[:1], 1 / 16),
        (table[1:], 1 / 16),
        (table, 1 / 256),
    ]:
        expected = pairs * probability
        # Meetings of pairs are pairwise independent: their number has this spread.
        spread = np.sqrt(pairs * probability * (1 - probability))
        assert abs(meetings(rows) - expected) < 4 * spread


@pytest.mark.parametrize(
    ("num_buckets", "dtype"),
    [
        (2, "uint8"),
        (256, "uint8"),
        (257, "uint16"),
        (2**16, "uint16"),
        (65537, "int32"),
    ],
)
def test_table_is_as_small_as_the_buckets_allow(num_buckets: int, dtype: str) -> None:
    assert mach.bucket_dtype(num_buckets) == dtype
    table = mach.bucket_table(np.arange(1000), num_buckets, 2)
    assert table.dtype == dtype
    np.testing.assert_array_equal(
        table.T, mach.bucket_ids(np.arange(1000), num_buckets, 2)
    )


def test_table_of_more_classes_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "CHUNK_SIZE", 7)
    ids = np.array([f"class {i}" for i in range(24)], dtype=object)
    table = mach.bucket_table(ids, 300, 3, repetitions=[2, 1])
    expected = mach.bucket_ids(tf.constant(ids), 300, 3, repetitions=[2, 1])
    np.testing.assert_array_equal(table.T, expected)


@pytest.mark.parametrize("num_classes", [1, 3, 10, 1000, 1001])
@pytest.mark.parametrize("num_buckets", [2, 7, 16])
def test_balanced_buckets_differ_by_one_class(
    num_classes: int, num_buckets: int
) -> None:
    ids = np.arange(num_classes) * 17 - 5
    boundaries = mach.balanced_boundaries(ids, num_buckets, 4, seed=3)
    table = mach.bucket_table(ids, num_buckets, 4, seed=3, boundaries=boundaries)
    for row in table:
        loads = np.bincount(row, minlength=num_buckets)
        assert set(loads) <= {
            num_classes // num_buckets,
            -(-num_classes // num_buckets),
        }


def test_balanced_buckets_of_weighted_classes() -> None:
    """A bucket takes at most its share and one class more."""
    weights = 1000.0 / np.arange(1, 2001)
    boundaries = mach.balanced_boundaries(
        np.arange(2000), 50, 3, repetitions=[2, 0], weights=weights
    )
    table = mach.bucket_table(
        np.arange(2000), 50, 3, repetitions=[2, 0], boundaries=boundaries
    )
    for row in table:
        loads = np.bincount(row, weights=weights, minlength=50)
        assert loads.max() <= weights.sum() / 50 + weights.max()
        # Without the heavy classes the rest is even.
        light = np.bincount(row[100:], weights=weights[100:], minlength=50)
        assert light.max() <= weights.sum() / 50 + weights[100:].max()


def test_balanced_buckets_where_the_class_of_the_largest_hash_is_the_heaviest() -> None:
    """What begins above the last hash value is empty, and nothing else is moved."""
    classes = np.arange(100)
    last = mach.bucket_ids(classes, 2**31 - 1, 1).numpy()[:, 0].argmax()
    weights = np.where(classes == last, 100.0, 1.0)
    boundaries = mach.balanced_boundaries(classes, 4, 1, weights=weights)
    buckets = mach.bucket_ids(classes, 4, 1, boundaries=boundaries).numpy()[:, 0]
    # The total is 199; a bucket ends with the class that takes it past a fourth.
    assert np.bincount(buckets, weights, minlength=4).tolist() == [50, 149, 0, 0]


def test_balanced_buckets_keep_the_order_of_the_hashes() -> None:
    """Boundaries cut what equal parts cut, so new classes have buckets too."""
    boundaries = mach.balanced_boundaries(np.arange(500), 10, 2)
    fine = mach.bucket_ids(np.arange(500, 900), 2**31 - 1, 2).numpy()
    balanced = mach.bucket_ids(
        np.arange(500, 900), 10, 2, boundaries=boundaries
    ).numpy()
    assert set(balanced.ravel()) == set(range(10))
    for r in range(2):
        assert (np.diff(balanced[np.argsort(fine[:, r]), r]) >= 0).all()


def test_equal_boundaries_are_the_plain_hash() -> None:
    ids = np.arange(2000)
    boundaries = buckets.equal_boundaries(10, 3)
    cut = mach.bucket_ids(ids, 10, 3, boundaries=boundaries)
    plain = mach.bucket_ids(ids, 10, 3)
    np.testing.assert_array_equal(cut, plain)


def test_graph_xla_and_eager_agree() -> None:
    boundaries = mach.balanced_boundaries(np.arange(100), 8, 3)
    for given in (None, tf.constant(boundaries)):
        eager = mach.bucket_ids(IDS, 8, 3, boundaries=given)
        for jit in (False, True):
            compiled = tf.function(
                lambda ids, given=given: mach.bucket_ids(ids, 8, 3, boundaries=given),
                jit_compile=jit,
            )
            np.testing.assert_array_equal(compiled(tf.constant(IDS)), eager)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_buckets": 1}, "`num_buckets` must be an integer from 2"),
        ({"num_buckets": 2.5}, "`num_buckets`"),
        ({"num_repetitions": 0}, "`num_repetitions` must be a positive"),
        ({"repetitions": []}, "`repetitions` must be distinct integers from 0 to"),
        ({"repetitions": [3]}, "`repetitions`.*= 2.*Received: \\[3\\]"),
        ({"repetitions": [1, 1]}, "`repetitions`"),
        ({"repetitions": [True]}, "`repetitions`"),
        ({"seed": -1}, "`seed`"),
        ({"class_ids": [1.5]}, "must be integers.*float32"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    valid = {"class_ids": [1], "num_buckets": 4, "num_repetitions": 3}
    with pytest.raises(ValueError, match=message):
        mach.bucket_ids(**{**valid, **arguments})


def test_bad_catalogues_are_named() -> None:
    with pytest.raises(ValueError, match=r"`class_ids` must be a list of ids"):
        mach.bucket_table([[1, 2]], 4, 2)
    with pytest.raises(ValueError, match=r"at least one id.*\(0,\)"):
        mach.balanced_boundaries(np.zeros(0, np.int64), 4, 2)
    for weights, message in [
        ([1.0], r"shape \(2,\)"),
        ([1.0, np.nan], "finite"),
        ([1.0, -1.0], "not negative"),
        ([0.0, 0.0], "not all zero"),
    ]:
        with pytest.raises(ValueError, match=f"`weights`.*{message}"):
            mach.balanced_boundaries([1, 2], 4, 2, weights=weights)


def test_few_classes_are_indistinguishable() -> None:
    """With B^R far above K^2, no two classes share all their buckets."""
    table = mach.bucket_table(np.arange(5000), 1000, 4)
    assert max(Counter(map(tuple, table.T)).values()) == 1
