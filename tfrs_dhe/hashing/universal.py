"""k universal hashes of 64-bit keys, in exact integer arithmetic."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe.hashing import constants

HASH_FAMILIES = ("multiply_shift", "carter_wegman")

#: The Mersenne prime of the Carter-Wegman family: products of 30-bit limbs with
#: its residues fit into 64 bits, and the remainder needs no division.
MERSENNE_31 = 2**31 - 1

MAX_NUM_BUCKETS = MERSENNE_31


def _uint64(value: int | np.ndarray) -> tf.Tensor:
    return tf.constant(value, dtype=tf.uint64)


def as_keys(ids: tf.Tensor) -> tf.Tensor:
    """Returns integer ids as uint64 keys with the bits of their int64 value.

    Signed types are sign-extended, so an id has the same key whatever the width
    it is stored in; uint64 keeps its bits.

    Args:
      ids: Integer tensor [...].

    Returns:
      tf.uint64 [...].

    Raises:
      ValueError: If `ids` are not integers.
    """
    if ids.dtype == tf.uint64:
        return ids
    if not ids.dtype.is_integer:
        remedy = (
            "Hash strings first, with `tfrs_dhe.hashing.cityhash64` or the layer "
            "`CityHash64`."
            if ids.dtype == tf.string
            else "Convert them to int64 or strings where they are read; a float "
            "cannot tell apart neighbouring ids above 2**24 (float32)."
        )
        raise ValueError(
            f"`ids` must be integers. Received dtype {ids.dtype.name}. {remedy}"
        )
    return tf.bitcast(tf.cast(ids, tf.int64), tf.uint64)


@no_autograph
def mix_keys(keys: tf.Tensor) -> tf.Tensor:
    """Returns keys scrambled by a bijection of the 64-bit integers.

    A linear hash passes arithmetic structure of the keys on: consecutive ids
    would differ by one of a few values in every dimension. The finalizer of
    SplitMix64 removes the structure and keeps distinct keys distinct.

    Example:
    >>> [hex(x) for x in mix_keys(tf.constant([0, 1], tf.uint64)).numpy().tolist()]
    ['0x0', '0x5692161d100b05e5']

    Args:
      keys: tf.uint64 [...].

    Returns:
      tf.uint64 [...].

    References:
      Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
      OOPSLA 2014.
    """
    shift_1, shift_2, shift_3 = (_uint64(shift) for shift in constants.MIX_SHIFTS)
    multiplier_1, multiplier_2 = (_uint64(m) for m in constants.MIX_MULTIPLIERS)
    shift_right, xor = tf.bitwise.right_shift, tf.bitwise.bitwise_xor
    keys = xor(keys, shift_right(keys, shift_1)) * multiplier_1
    keys = xor(keys, shift_right(keys, shift_2)) * multiplier_2
    return xor(keys, shift_right(keys, shift_3))


def _multiply_shift(
    keys: tf.Tensor, hash_constants: np.ndarray, num_buckets: int
) -> tf.Tensor:
    """`((hi + a) (lo + a') + b) mod 2^64 >> 32`, scaled from 2^32 to m values."""
    a, a_prime, b = (_uint64(row) for row in hash_constants)
    half = _uint64(32)
    high = tf.bitwise.right_shift(keys, half)[..., tf.newaxis]
    low = tf.bitwise.bitwise_and(keys, _uint64(2**32 - 1))[..., tf.newaxis]
    hashes = tf.bitwise.right_shift((high + a) * (low + a_prime) + b, half)
    return tf.bitwise.right_shift(hashes * _uint64(num_buckets), half)


def _carter_wegman(
    keys: tf.Tensor, hash_constants: np.ndarray, num_buckets: int
) -> tf.Tensor:
    """`((a_0 x_0 + a_1 x_1 + a_2 x_2 + b) mod p) mod m` over 30-bit limbs of x."""
    a0, a1, a2, b = (_uint64(row) for row in hash_constants)
    limb_mask = _uint64(2**30 - 1)
    shift_right, bit_and = tf.bitwise.right_shift, tf.bitwise.bitwise_and
    limb_0 = bit_and(keys, limb_mask)[..., tf.newaxis]
    limb_1 = bit_and(shift_right(keys, _uint64(30)), limb_mask)[..., tf.newaxis]
    limb_2 = shift_right(keys, _uint64(60))[..., tf.newaxis]
    total = limb_0 * a0 + limb_1 * a1 + limb_2 * a2 + b
    # 2^31 is 1 modulo p, so the high bits are added to the low ones. The sum is
    # below 2^63; after two rounds it is at most p + 1.
    prime, bits = _uint64(MERSENNE_31), _uint64(31)
    total = bit_and(total, prime) + shift_right(total, bits)
    total = bit_and(total, prime) + shift_right(total, bits)
    residue = tf.where(total >= prime, total - prime, total)
    # 32-bit division is several times cheaper than 64-bit, above all on TPU.
    remainder = tf.cast(residue, tf.uint32) % tf.constant(num_buckets, tf.uint32)
    return tf.cast(remainder, tf.int64)


def check_universal_hash_arguments(
    num_hashes: int, num_buckets: int, hash_family: str, seed: int
) -> None:
    """Raises a ValueError that names the first argument that is out of range."""
    if not constants.is_integer(num_hashes) or num_hashes < 1:
        raise ValueError(
            f"`num_hashes` must be a positive integer. Received: {num_hashes!r}."
        )
    if not constants.is_integer(num_buckets) or not 2 <= num_buckets <= MAX_NUM_BUCKETS:
        raise ValueError(
            "`num_buckets` must be an integer from 2 to 2**31 - 1. "
            f"Received: {num_buckets!r}."
        )
    if hash_family not in HASH_FAMILIES:
        raise ValueError(
            f"`hash_family` must be one of {HASH_FAMILIES}. Received: {hash_family!r}."
        )
    constants.check_seed(seed)


@no_autograph
def universal_hash(
    ids: tf.Tensor,
    num_hashes: int,
    num_buckets: int,
    *,
    hash_family: str = "multiply_shift",
    mix: bool = True,
    seed: int = 0,
    hash_indices: Sequence[int] | None = None,
) -> tf.Tensor:
    """Hashes every id by k universal hash functions into {1, ..., m}.

    `multiply_shift` is pair-multiply-shift on the halves of the 64-bit key,
    `((hi + a_i) (lo + a'_i) + b_i) mod 2^64 >> 32`, then scaled to m values. It
    is strongly universal on all 64-bit keys.

    `carter_wegman` is the paper's `((a_i x + b_i) mod p) mod m` with
    p = 2^31 - 1. Keys from 2^30 on are split into limbs of 30 bits with a
    multiplier each, so no two keys of 64 bits share all their hashes.

    Example:
    >>> hashes = universal_hash(tf.constant([7, 8]), num_hashes=4, num_buckets=10)
    >>> hashes.shape
    TensorShape([2, 4])

    Args:
      ids: Integers [...] of any width. Negative ids are keys like any other.
      num_hashes: k, the number of hash functions.
      num_buckets: m, from 2 to 2^31 - 1.
      hash_family: `"multiply_shift"` or `"carter_wegman"`.
      mix: Whether to scramble the keys by a bijection first. Without it the
        hashes are linear in the key and consecutive ids stay related.
      seed: Integer in [0, 2^64) that all constants follow from.
      hash_indices: Which of the hash functions 0, ..., k - 1 to compute, in this
        order; by default all. A function is the same whatever k is.

    Returns:
      tf.int32 [..., k], or [..., len(hash_indices)], values from 1 to m.

    Raises:
      ValueError: If `ids` are not integers or an argument is out of range.

    References:
      Kang et al., "Learning to Embed Categorical Features without Embedding
      Tables for Recommendation", KDD 2021, section 3.1 and algorithm 2.
      Thorup, "High Speed Hashing for Integers and Strings", arXiv 1504.06804,
      section 3.5. Carter and Wegman, "Universal classes of hash functions",
      1979.
    """
    buckets = universal_buckets(
        ids,
        num_hashes,
        num_buckets,
        hash_family=hash_family,
        mix=mix,
        seed=seed,
        hash_indices=hash_indices,
    )
    return tf.cast(buckets, tf.int32) + 1


def universal_buckets(
    ids: tf.Tensor,
    num_hashes: int,
    num_buckets: int,
    *,
    hash_family: str,
    mix: bool,
    seed: int,
    hash_indices: Sequence[int] | None = None,
) -> tf.Tensor:
    """As `universal_hash`, but counts from 0, which takes fewer passes.

    Returns:
      tf.int64 [..., k], from 0 to m - 1.
    """
    check_universal_hash_arguments(num_hashes, num_buckets, hash_family, seed)
    if ids is None:
        raise ValueError("`ids` must be integers. Received: None.")
    keys = as_keys(tf.convert_to_tensor(ids))
    if mix:
        keys = mix_keys(keys)

    def _chosen(rows: np.ndarray) -> np.ndarray:
        return rows if hash_indices is None else rows[:, list(hash_indices)]

    if hash_family == "multiply_shift":
        hash_constants = constants.multiply_shift_constants(seed, num_hashes)
        buckets = _multiply_shift(keys, _chosen(hash_constants), num_buckets)
        return tf.bitcast(buckets, tf.int64)
    hash_constants = constants.carter_wegman_constants(seed, num_hashes, MERSENNE_31)
    return _carter_wegman(keys, _chosen(hash_constants), num_buckets)
