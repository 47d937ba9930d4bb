"""`in_sample`: part of the users, with all that is theirs."""

import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.hashing import universal


def in_sample(ids: tf.Tensor, share: float, seed: int = 0) -> tf.Tensor:
    """Returns whether ids belong to a random part of all ids, always the same one.

    A smaller data set for experiments is best made by user: a part of the rows would
    leave every user a part of the history. It works in `tf.data`:
    `ratings.filter(lambda row: in_sample(row["user_id"], 0.1))`.

    Example:
    >>> int(tf.reduce_sum(tf.cast(in_sample(tf.range(10_000), 0.1), tf.int32)))
    994

    Args:
      ids: Strings or integers [...].
      share: The part of the ids, in (0, 1]. A smaller part is in a larger one.
      seed: Integer in [0, 2^64) that the choice follows from.

    Returns:
      tf.bool [...].

    Raises:
      ValueError: If an argument is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` must be in (0, 1]. Received: {share!r}.")
    hashes = hashing.universal_hash(
        hashing.int64_keys(ids),
        1,
        universal.MAX_NUM_BUCKETS,
        # Other hash functions than those of a layer with the same seed.
        seed=hashing.derive_seed(seed, "sample"),
    )
    # Values start at 1.
    return hashes[..., 0] <= round(share * universal.MAX_NUM_BUCKETS)
