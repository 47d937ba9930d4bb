"""From ids as users have them to 64-bit keys."""

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe.hashing.cityhash import cityhash64
from tfrs_dhe.hashing.universal import as_keys


@no_autograph
def int64_keys(ids: tf.Tensor) -> tf.Tensor:
    """Returns strings hashed by CityHash64, and integers as they are.

    Example:
    >>> int64_keys(tf.constant([3, -1])).numpy().tolist()
    [3, -1]

    Args:
      ids: Strings, or integers of any width [...]; dense or ragged. uint64 keeps
        its bits.

    Returns:
      tf.int64 [...].

    Raises:
      ValueError: If `ids` are neither strings nor integers.
    """
    if isinstance(ids, tf.RaggedTensor):
        return ids.with_flat_values(int64_keys(ids.flat_values))
    if ids is None:
        raise ValueError(
            "`ids` must be strings or integers. Received None; an absent id is "
            "best given as a string or number of its own, such as ''."
        )
    ids = tf.convert_to_tensor(ids)
    if ids.dtype == tf.string:
        return cityhash64(ids)
    return tf.bitcast(as_keys(ids), tf.int64)
