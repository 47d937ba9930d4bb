"""From hash values in {1, ..., m} to dense real vectors."""

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph

DISTRIBUTIONS = ("uniform", "gaussian")

_FRACTION_BITS = 62

#: `sin(pi t / 2) / t` as a polynomial of t^2, for |t| up to 1 / 2: it goes through the
#: function at the four Chebyshev nodes, and is nowhere more than 5e-9 from it.
_SINE_TERMS = (
    1.5707963219532366,
    -0.6459634776648017,
    0.07968021764766213,
    -0.004602149212581641,
)


def _divide(
    integers: tf.Tensor, denominator: int, factor: int = 1, offset: int = 0
) -> tf.Tensor:
    """Divides `factor x - offset` by a constant, with one rounding to float32.

    Compilers turn the division by a constant into the multiplication by its
    rounded reciprocal, and `41 * (1 / 41)` is not 1 in float32. Here the
    reciprocal is a fixed-point number of 62 bits. Its integer products are the
    same everywhere, and no sum follows that could be fused and round otherwise.

    Args:
      integers: x, tf.int64 [...].
      denominator: Positive and below 2^31.
      factor: An integer.
      offset: An integer; `factor x - offset` is from -denominator to denominator.

    Returns:
      tf.float32 [...], from -1 to 1.
    """
    reciprocal = 2**_FRACTION_BITS // int(denominator)
    # Terms may wrap around 64 bits; their difference is below 2^63 and right.
    products = integers * _wrapped(factor * reciprocal)
    if offset:
        products -= _wrapped(offset * reciprocal)
    return tf.cast(products, tf.float32) * 2.0**-_FRACTION_BITS


def _wrapped(value: int) -> int:
    """Returns the int64 that has the low 64 bits of an integer."""
    return (value + 2**63) % 2**64 - 2**63


@no_autograph
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
    return encode(tf.cast(hashes, tf.int64) - 1, num_buckets, "uniform")


@no_autograph
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
    check_even(hashes.shape[-1])
    return encode(tf.cast(hashes, tf.int64) - 1, num_buckets, "gaussian")


def encode(buckets: tf.Tensor, num_buckets: int, distribution: str) -> tf.Tensor:
    """Transforms hash values that count from 0.

    Args:
      buckets: tf.int64 [..., k], from 0 to m - 1.
      num_buckets: m, at least 2.
      distribution: One of `DISTRIBUTIONS`; k is even for `"gaussian"`.

    Returns:
      tf.float32 [..., k].
    """
    m = int(num_buckets)
    if distribution == "uniform":
        # 2 (x - 1) - (m - 1), from -(m - 1) to m - 1.
        return _divide(buckets, m - 1, factor=2, offset=m - 1)
    # Never above 1, where the root would be that of a negative number.
    u = _divide(buckets, m, offset=-1)
    radius = tf.sqrt(-2.0 * tf.math.log(u[..., 0::2]))
    cosine, sine = _cosine_and_sine(u[..., 1::2])
    pairs = tf.stack([radius * cosine, radius * sine], axis=-1)
    return tf.reshape(pairs, tf.shape(buckets))


def _cosine_and_sine(turns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns cosine and sine of `2 pi t`, for t from 0 to 1.

    XLA calls the C library for those of each number, which takes longer than all else
    of an encoding. A quarter of the angle, less half a turn, is between -pi / 4 and
    pi / 4, where a short polynomial is a sine. The angle is then doubled twice, and
    the half turn changes both signs.
    """
    half_turns = turns - 0.5
    squares = half_turns * half_turns
    polynomial = _SINE_TERMS[-1]
    for term in _SINE_TERMS[-2::-1]:
        polynomial = term + squares * polynomial
    sine = half_turns * polynomial
    square = sine * sine
    # Half the sine, and the cosine, of twice the angle.
    half_sine, cosine = sine * tf.sqrt(1.0 - square), 1.0 - 2.0 * square
    return 8.0 * half_sine * half_sine - 1.0, -4.0 * half_sine * cosine


def check_even(num_hashes: int) -> None:
    """Raises a ValueError if hash values cannot be taken in pairs."""
    if num_hashes % 2:
        raise ValueError(
            "`num_hashes` must be even for the Gaussian distribution, which the "
            f"Box-Muller transform makes from pairs. Received: {num_hashes}."
        )
