"""CityHash64 of string tensors."""

import reprlib
from typing import Any

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe.hashing import _cityhash_long

_REMEDY = (
    "Pass a string tensor, a ragged one, or what `tf.convert_to_tensor` makes one "
    "of. Integer ids need no string hash: pass them on as tf.int64."
)


@no_autograph
def cityhash64(strings: Any) -> tf.Tensor | tf.RaggedTensor:
    """Hashes strings to 64-bit integers with CityHash64.

    The result is Google's CityHash64 v1.1 of each string's bytes, bit for bit,
    so other systems can compute the same ids. It is the same on every machine
    and in every version of this package.

    >>> from tfrs_dhe.hashing import cityhash64
    >>> ids = cityhash64(["", "user_1"])
    >>> ids.shape, ids.dtype
    (TensorShape([2]), tf.int64)
    >>> int(ids[0])
    -7286425919675154353

    Only stock TensorFlow ops are used, in eager code, `tf.function`, `tf.data`
    and exported models alike. Strings of up to 32 bytes take a single op; the
    arithmetic for longer ones runs only where a batch has some.

    Args:
      strings: tf.string [...], dense of any rank (which may be unknown in a
        graph) or ragged. Any bytes, any length.

    Returns:
      tf.int64 [...], of the same shape as `strings` and ragged where `strings`
      is: the unsigned hash, reinterpreted as a signed integer.

    Raises:
      ValueError: If `strings` is not a tensor of strings.

    References:
      CityHash v1.1, Geoff Pike and Jyrki Alakuijala, Google, 2011.
    """
    if isinstance(strings, tf.RaggedTensor):
        return strings.with_flat_values(cityhash64(strings.flat_values))
    strings = _as_string_tensor(strings)
    if strings.shape.rank == 1:
        hashes = _hash_flat(strings)
    else:
        # Of a tensor of higher rank, Fingerprint would hash whole rows.
        hashes = _hash_flat(tf.reshape(strings, [-1]))
        hashes = tf.reshape(hashes, tf.shape(strings))
    # The branch for long strings does not pass the static shape on.
    hashes.set_shape(strings.shape)
    return hashes


def _as_string_tensor(strings: Any) -> tf.Tensor:
    if strings is None:
        raise ValueError(
            f"`strings` must be a tensor of strings. Received: None. {_REMEDY}"
        )
    try:
        # A hint and no demand, so that the message below can name the dtype.
        tensor = tf.convert_to_tensor(strings, dtype_hint=tf.string)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`strings` must be a tensor of strings. Received: "
            f"{reprlib.repr(strings)} (of type {type(strings).__name__}). {_REMEDY}"
        ) from error
    if tensor.dtype != tf.string:
        raise ValueError(
            "`strings` must have dtype tf.string. Received: dtype "
            f"{tensor.dtype.name}, shape {tensor.shape}. {_REMEDY}"
        )
    return tensor


def _hash_flat(strings: tf.Tensor) -> tf.Tensor:
    """CityHash64 of tf.string [batch_size], as tf.int64."""
    # FarmHash64, which Fingerprint is, equals CityHash64 on short strings.
    hashes = tf.bitcast(tf.fingerprint(strings), tf.int64)
    longest = tf.reduce_max(tf.strings.length(strings))
    return tf.cond(
        longest > _cityhash_long.SHORT_BYTES,
        lambda: _cityhash_long.replace_long(strings, hashes),
        lambda: hashes,
    )
