"""From class ids to the buckets of every repetition."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe.hashing import constants, universal

#: Hashes are cut into buckets at boundaries; the finest hash there is.
NUM_HASH_VALUES = universal.MAX_NUM_BUCKETS

#: Ids hashed at a time where a whole catalogue is: the 64-bit products of a chunk
#: stay within a few MB.
CHUNK_SIZE = 2**15


def check_bucket_arguments(
    num_buckets: int,
    num_repetitions: int,
    seed: int = 0,
    repetitions: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Returns the numbers of the repetitions that are held.

    Args:
      num_buckets: B, from 2 to 2^31 - 1.
      num_repetitions: R.
      seed: Integer in [0, 2^64).
      repetitions: Which of 0, ..., R - 1 are held; None for all.

    Raises:
      ValueError: If an argument is out of range.
    """
    if not constants.is_integer(num_repetitions) or num_repetitions < 1:
        raise ValueError(
            "`num_repetitions` must be a positive integer. "
            f"Received: {num_repetitions!r}."
        )
    universal.check_universal_hash_arguments(
        num_repetitions, num_buckets, "multiply_shift", seed
    )
    if repetitions is None:
        return tuple(range(num_repetitions))
    held = tuple(repetitions)
    in_range = all(constants.is_integer(r) and 0 <= r < num_repetitions for r in held)
    if not held or not in_range or len(set(held)) != len(held):
        raise ValueError(
            "`repetitions` must be distinct integers from 0 to num_repetitions - 1 "
            f"= {num_repetitions - 1}. Received: {repetitions!r}."
        )
    return tuple(int(r) for r in held)


@no_autograph
def bucket_ids(
    class_ids: tf.Tensor,
    num_buckets: int,
    num_repetitions: int,
    *,
    seed: int = 0,
    repetitions: Sequence[int] | None = None,
    boundaries: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the bucket of every class in every repetition.

    Repetition r has a hash function of its own, from a strongly universal family
    over 64-bit keys: two classes share a bucket with probability 1/B, and do so
    independently in each repetition. It is the same function whatever R is and
    whichever repetitions are asked for.

    Example:
    >>> bucket_ids(tf.constant(["a", "b"]), num_buckets=10, num_repetitions=3).shape
    TensorShape([2, 3])

    Args:
      class_ids: Strings or integers [...], dense or ragged.
      num_buckets: B, from 2 to 2^31 - 1.
      num_repetitions: R.
      seed: Integer in [0, 2^64) that all hash functions follow from.
      repetitions: Which of the repetitions 0, ..., R - 1 to compute; by default
        all.
      boundaries: Integers [len(repetitions), B - 1], ascending, where the hash
        values from 1 to 2^31 - 1 are cut into buckets (see `balanced_boundaries`);
        by default into equal parts.

    Returns:
      tf.int32 [..., len(repetitions)], values from 0 to B - 1.

    Raises:
      ValueError: If an argument is out of range or the ids are neither strings nor
        integers.

    References:
      Medini et al., "Extreme Classification in Log Memory using Count-Min
      Sketch", NeurIPS 2019, section 3.
    """
    held = check_bucket_arguments(num_buckets, num_repetitions, seed, repetitions)
    if isinstance(class_ids, tf.RaggedTensor):
        return class_ids.with_flat_values(
            bucket_ids(
                class_ids.flat_values,
                num_buckets,
                num_repetitions,
                seed=seed,
                repetitions=repetitions,
                boundaries=boundaries,
            )
        )
    hashes = hashing.universal_hash(
        hashing.int64_keys(class_ids),
        num_repetitions,
        num_buckets if boundaries is None else NUM_HASH_VALUES,
        # A deep hash embedding with the same seed has other hash functions.
        seed=hashing.derive_seed(seed, "mach"),
        hash_indices=held,
    )
    if boundaries is None:
        return hashes - 1
    # The last boundaries may be 2^31, above every hash.
    boundaries = tf.cast(boundaries, tf.int64)
    flat = tf.cast(tf.transpose(tf.reshape(hashes, [-1, len(held)])), tf.int64)
    buckets = tf.searchsorted(boundaries, flat, side="right")
    return tf.reshape(tf.transpose(buckets), tf.shape(hashes))


def bucket_dtype(num_buckets: int) -> tf.DType:
    """Returns the smallest of uint8, uint16 and int32 that holds B bucket numbers.

    Example:
    >>> bucket_dtype(10_000)
    tf.uint16
    """
    if num_buckets <= 2**8:
        return tf.uint8
    return tf.uint16 if num_buckets <= 2**16 else tf.int32


def bucket_table(
    class_ids: tf.Tensor | np.ndarray | Sequence[str | int],
    num_buckets: int,
    num_repetitions: int,
    *,
    seed: int = 0,
    repetitions: Sequence[int] | None = None,
    boundaries: tf.Tensor | None = None,
) -> np.ndarray:
    """Returns the buckets of a whole catalogue, in little memory.

    Example:
    >>> bucket_table([7, 8, 9], num_buckets=10, num_repetitions=2).dtype.name
    'uint8'

    Args:
      class_ids: Strings or integers [K].
      num_buckets: B.
      num_repetitions: R.
      seed: See `bucket_ids`.
      repetitions: See `bucket_ids`.
      boundaries: See `bucket_ids`.

    Returns:
      Buckets [len(repetitions), K] of dtype `bucket_dtype(num_buckets)`.

    Raises:
      ValueError: As `bucket_ids`, and if `class_ids` is not one list.
    """
    held = check_bucket_arguments(num_buckets, num_repetitions, seed, repetitions)
    class_ids = tf.convert_to_tensor(class_ids)
    if class_ids.shape.rank != 1:
        raise ValueError(
            "`class_ids` must be a list of ids, of shape [num_classes]. "
            f"Received shape {class_ids.shape}."
        )
    dtype = bucket_dtype(num_buckets).as_numpy_dtype
    table = np.empty((len(held), len(class_ids)), dtype)
    for start in range(0, len(class_ids), CHUNK_SIZE):
        buckets = bucket_ids(
            class_ids[start : start + CHUNK_SIZE],
            num_buckets,
            num_repetitions,
            seed=seed,
            repetitions=repetitions,
            boundaries=boundaries,
        )
        table[:, start : start + CHUNK_SIZE] = buckets.numpy().T
    return table


def equal_boundaries(num_buckets: int, num_repetitions: int) -> np.ndarray:
    """Returns boundaries that cut the hash values into B equal parts.

    Args:
      num_buckets: B.
      num_repetitions: Number of rows.

    Returns:
      int64 [num_repetitions, B - 1].
    """
    cuts = np.arange(1, num_buckets) * NUM_HASH_VALUES // num_buckets + 1
    return np.tile(cuts, (num_repetitions, 1))


def balanced_boundaries(
    class_ids: tf.Tensor | np.ndarray | Sequence[str | int],
    num_buckets: int,
    num_repetitions: int,
    *,
    seed: int = 0,
    repetitions: Sequence[int] | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Returns where to cut the hash values so that all buckets weigh the same.

    A hash into B equal parts leaves the buckets of a catalogue unequal: with K / B
    classes on average, their number spreads by sqrt(K / B). Cut at the quantiles
    of the catalogue's own hash values, each has K / B classes, rounded up or down.
    That takes R (B - 1) numbers and no list of classes, and a class that comes
    later has its buckets as well.

    With weights, the classes of a bucket weigh together at most the B-th part of
    the total, and the weight of the heaviest class more. Classes with the same
    31-bit hash cannot be told apart here; there are about K^2 / 2^32 pairs.

    Example:
    >>> boundaries = balanced_boundaries([5, 6, 7, 8], 2, num_repetitions=3)
    >>> buckets = bucket_ids([5, 6, 7, 8], 2, 3, boundaries=boundaries)
    >>> tf.reduce_sum(buckets, axis=0).numpy().tolist()
    [2, 2, 2]

    Args:
      class_ids: Distinct strings or integers [K], the catalogue.
      num_buckets: B.
      num_repetitions: R.
      seed: See `bucket_ids`.
      repetitions: See `bucket_ids`.
      weights: What to balance: non-negative numbers [K], such as how often each
        class occurs. By default classes are counted.

    Returns:
      int64 [len(repetitions), B - 1], for `bucket_ids(..., boundaries=...)`.

    Raises:
      ValueError: If there is no class, or the weights do not fit the classes.
    """
    held = check_bucket_arguments(num_buckets, num_repetitions, seed, repetitions)
    class_ids = tf.convert_to_tensor(class_ids)
    if class_ids.shape.rank != 1 or not len(class_ids):
        raise ValueError(
            "`class_ids` must be a list of at least one id, of shape [num_classes]. "
            f"Received shape {class_ids.shape}."
        )
    weights = check_weights(weights, len(class_ids))
    boundaries = np.empty((len(held), num_buckets - 1), np.int64)
    for row, repetition in enumerate(held):
        hashes = bucket_table(
            class_ids,
            NUM_HASH_VALUES,
            num_repetitions,
            seed=seed,
            repetitions=[repetition],
        )[0]
        # Hash values start at 1, buckets at 0.
        order = np.argsort(hashes, kind="stable")
        values = hashes[order].astype(np.int64) + 1
        before = np.cumsum(weights[order]) - weights[order]
        shares = weights.sum() * np.arange(1, num_buckets) / num_buckets
        first = np.searchsorted(before, shares, side="left")
        # No hash lies above the last value: what begins there stays empty.
        boundaries[row] = np.append(values, NUM_HASH_VALUES + 1)[first]
    return boundaries


def check_weights(
    weights: np.ndarray | None, num_classes: int, name: str = "weights"
) -> np.ndarray:
    """Returns weights of classes as float64 [K]; None is a weight of 1 each.

    Raises:
      ValueError: If they are not one finite, non-negative number for each class,
        or are all zero.
    """
    if weights is None:
        return np.ones(num_classes)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (num_classes,):
        raise ValueError(
            f"`{name}` must have one number for each class, shape ({num_classes},). "
            f"Received shape {weights.shape}."
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"`{name}` must be finite, not negative, and not all zero. Received "
            f"numbers from {weights.min()} to {weights.max()}."
        )
    return weights
