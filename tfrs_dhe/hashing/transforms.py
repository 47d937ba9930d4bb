"""From hash values in {1, ..., m} to dense real vectors."""

import math

import tensorflow as tf

DISTRIBUTIONS = ("uniform", "gaussian")


def uniform(hashes: tf.Tensor, num_buckets: int) -> tf.Tensor:
    """Scales hash values to [-1, 1].

    `2 (x - 1) / (m - 1) - 1`, written as `(2 (x - 1) - (m - 1)) * (1 / (m - 1))`:
    an exact integer and then one multiplication, so that there is no sum that a
    compiler could fuse into the product and round otherwise.

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
    # From -(m - 1) to m - 1; x - 1 stays below 2^31 although 2 (x - 1) does not.
    doubled = tf.cast(hashes - 1, tf.int64) * 2 - (num_buckets - 1)
    return tf.cast(doubled, tf.float32) * (1.0 / (num_buckets - 1))


def gaussian(hashes: tf.Tensor, num_buckets: int) -> tf.Tensor:
    """Turns adjacent pairs of hash values into pairs of standard normals.

    The Box-Muller transform: with `u = x / m` in (0, 1] for both of a pair,
    `sqrt(-2 ln u_1) cos(2 pi u_2)` and `sqrt(-2 ln u_1) sin(2 pi u_2)`. As u is
    never 0, no value is infinite: the largest is `sqrt(2 ln m)`, 5.3 for m = 10^6.

    Example:
    >>> gaussian(tf.constant([10, 3]), num_buckets=10).numpy().tolist()
    [0.0, 0.0]

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
    # The minimum: for m above 2^24 both factors are rounded, and a product above
    # 1 would give the root of a negative number.
    u = tf.minimum(tf.cast(hashes, tf.float32) * (1.0 / num_buckets), 1.0)
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
