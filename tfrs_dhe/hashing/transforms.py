"""From hash values in {1, ..., m} to dense real vectors."""

import math

import tensorflow as tf

DISTRIBUTIONS = ("uniform", "gaussian")

_FRACTION_BITS = 62


def _divide(numerators: tf.Tensor, denominator: int) -> tf.Tensor:
    """Divides integers by a constant, exactly but for one rounding to float32.

    Compilers turn the division by a constant into the multiplication by its
    rounded reciprocal, and `41 * (1 / 41)` is not 1 in float32. Here the
    reciprocal is a fixed-point number of 62 bits. Its integer products are the
    same everywhere, and no sum follows that could be fused and round otherwise.

    Args:
      numerators: tf.int64 [...], from -denominator to denominator.
      denominator: Positive and below 2^31.

    Returns:
      tf.float32 [...], from -1 to 1.
    """
    reciprocal = 2**_FRACTION_BITS // int(denominator)
    return tf.cast(numerators * reciprocal, tf.float32) * 2.0**-_FRACTION_BITS


def uniform(hashes: tf.Tensor, num_buckets: int) -> tf.Tensor:
    """Scales hash values to [-1, 1].

    `2 (x - 1) / (m - 1) - 1`, as the nearest float32 (but for near ties), so 1
    and m give exactly -1 and 1.

    Example:
    >>> uniform(tf.constant([1, 2, 3]), num_buckets=3).numpy().tolist()
    [-1.0, 0.0, 1.0]

    Args:
      hashes: tf.int32 [...], values from 1 to m.
      num_buckets: m, at least 2.

    Returns:
      tf.float32 [...], from -1 to 1. Above m = 2^24, float32 no longer tells
      all neighbouring values apart.

    References:
      Kang et al., KDD 2021, section 3.1 ("uniform distribution").
    """
    m = int(num_buckets)
    # 2 (x - 1) - (m - 1), from -(m - 1) to m - 1; twice x may exceed 32 bits.
    return _divide(tf.cast(hashes, tf.int64) * 2 - (m + 1), m - 1)


def gaussian(hashes: tf.Tensor, num_buckets: int) -> tf.Tensor:
    """Turns adjacent pairs of hash values into pairs of standard normals.

    The Box-Muller transform: with `u = x / m` in (0, 1] for both of a pair,
    `sqrt(-2 ln u_1) cos(2 pi u_2)` and `sqrt(-2 ln u_1) sin(2 pi u_2)`. As u is
    never 0, no value is infinite: the largest is `sqrt(2 ln m)`, 5.3 for m = 10^6.

    Example:
    >>> pair = gaussian(tf.constant([1, 4]), num_buckets=4)
    >>> [round(x, 3) for x in pair.numpy().tolist()]  # sqrt(2 ln 4), angle 2 pi
    [1.665, 0.0]

    Args:
      hashes: tf.int32 [..., k], values from 1 to m, k even.
      num_buckets: m, at least 2.

    Returns:
      tf.float32 [..., k].

    Raises:
      ValueError: If k is odd.

    References:
      Kang et al., KDD 2021, section 3.1 ("Gaussian distribution"). Box and
      Muller, "A Note on the Generation of Random Normal Deviates", 1958.
    """
    num_hashes = hashes.shape[-1]
    check_even(num_hashes)
    # Never above 1, where the root would be that of a negative number.
    u = _divide(tf.cast(hashes, tf.int64), num_buckets)
    radius = tf.sqrt(-2.0 * tf.math.log(u[..., 0::2]))
    angle = (2.0 * math.pi) * u[..., 1::2]
    pairs = tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], axis=-1)
    return tf.reshape(pairs, tf.shape(hashes))


def check_even(num_hashes: int) -> None:
    """Raises a ValueError if hash values cannot be taken in pairs."""
    if num_hashes % 2:
        raise ValueError(
            "`num_hashes` must be even for the Gaussian distribution, which the "
            f"Box-Muller transform makes from pairs. Received: {num_hashes}."
        )
