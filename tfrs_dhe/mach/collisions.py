"""How likely it is that hashing makes classes indistinguishable.

Two classes are indistinguishable if they share a bucket in all R repetitions: no
training and no aggregation can tell them apart. Hashes are taken as independent and
uniform on B buckets, so a class has one of M = B^R equally likely codes. The numbers
of pairs and the union bound need no more than 2-universal hashes.

Everything is computed from integers of any size or in logarithms: M is far beyond
the range of a float for a few dozen repetitions.
"""

import math
from fractions import Fraction

import numpy as np

# Up to here the logarithms are summed one by one; it is the place where five terms
# of their series are exact to double precision.
_SUMMED_CLASSES = 2**20

# exp(-x) is 0 for all that are larger.
_CERTAIN = 746


def expected_pairs(num_classes: int, num_buckets: int, num_repetitions: int) -> float:
    """Returns the expected number of indistinguishable pairs, K (K-1) / 2 B^-R.

    Example:
    >>> expected_pairs(num_classes=5, num_buckets=10, num_repetitions=2)
    0.1

    Args:
      num_classes: K.
      num_buckets: B.
      num_repetitions: R.

    Returns:
      The expectation, which is exact.
    """
    return math.comb(num_classes, 2) / num_buckets**num_repetitions


def union_bound(num_classes: int, num_buckets: int, num_repetitions: int) -> float:
    """Bounds the probability that any two classes are indistinguishable.

    Args:
      num_classes: K.
      num_buckets: B.
      num_repetitions: R.

    Returns:
      min(1, K (K-1) / 2 B^-R).
    """
    return min(1.0, expected_pairs(num_classes, num_buckets, num_repetitions))


def expected_classes_with_twin(
    num_classes: int, num_buckets: int, num_repetitions: int
) -> float:
    """Returns the expected number of classes that some other class equals.

    Args:
      num_classes: K.
      num_buckets: B.
      num_repetitions: R.

    Returns:
      K (1 - (1 - B^-R)^(K-1)).
    """
    code = 1 / num_buckets**num_repetitions
    return -num_classes * math.expm1((num_classes - 1) * math.log1p(-code))


def any_pair_probability(
    num_classes: int, num_buckets: int, num_repetitions: int
) -> float:
    """Returns the probability that any two classes are indistinguishable.

    It is that of a shared birthday in a year of M = B^R days.

    Example:
    >>> round(any_pair_probability(23, num_buckets=365, num_repetitions=1), 4)
    0.5073

    Args:
      num_classes: K.
      num_buckets: B.
      num_repetitions: R.

    Returns:
      1 - (1 - 1/M) (1 - 2/M) ... (1 - (K-1)/M).
    """
    codes = num_buckets**num_repetitions
    if num_classes > codes:
        return 1.0
    if math.comb(num_classes, 2) > _CERTAIN * codes:
        return 1.0
    if num_classes <= _SUMMED_CLASSES:
        # Dividing one by the integer cannot overflow where a float of it would.
        shares = np.arange(1, num_classes) * (1 / codes)
        return -math.expm1(float(np.log1p(-shares).sum()))
    # log(1 - x) = -x - x^2 / 2 - ..., with sums of powers of 1 to n in closed form.
    n = num_classes - 1
    s1 = n * (n + 1) // 2
    s2 = n * (n + 1) * (2 * n + 1) // 6
    s3 = s1**2
    s4 = s2 * (3 * n * n + 3 * n - 1) // 5
    s5 = s3 * (2 * n * n + 2 * n - 1) // 3
    powers = enumerate((s1, s2, s3, s4, s5), 1)
    return -math.expm1(-sum(s / (j * codes**j) for j, s in powers))


def paper_repetitions(num_classes: int, num_buckets: int, probability: float) -> int:
    """Returns the paper's R, the smallest with R >= 2 log(K / sqrt(delta)) / log B.

    Example:
    >>> paper_repetitions(1_000_000, num_buckets=10_000, probability=0.01)
    4

    Args:
      num_classes: K.
      num_buckets: B.
      probability: delta, in (0, 1].

    Returns:
      R, with which any two classes are indistinguishable with a probability of at
      most delta.
    """
    # The formula says K^2 <= delta B^R.
    return _smallest_power(num_buckets, num_classes**2 / Fraction(probability))


def repetitions_needed(num_classes: int, num_buckets: int, probability: float) -> int:
    """Returns the smallest R whose union bound is at most delta.

    Args:
      num_classes: K.
      num_buckets: B.
      probability: delta, in (0, 1].

    Returns:
      R, at most that of the paper's formula.
    """
    if probability >= 1:
        return 1  # The union bound is never above it.
    pairs = math.comb(num_classes, 2)
    return _smallest_power(num_buckets, pairs / Fraction(probability))


def buckets_needed(num_classes: int, num_repetitions: int, probability: float) -> int:
    """Returns the smallest B >= 2 whose union bound is at most delta.

    Args:
      num_classes: K.
      num_repetitions: R.
      probability: delta, in (0, 1].

    Returns:
      B.
    """
    if probability >= 1:
        return 2  # The union bound is never above it.
    codes = math.ceil(math.comb(num_classes, 2) / Fraction(probability))
    low, high = 1, 1 << (codes.bit_length() // num_repetitions + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if middle**num_repetitions >= codes:
            high = middle
        else:
            low = middle
    return max(2, high)


def _smallest_power(base: int, least: Fraction) -> int:
    exponent, power = 1, base
    while power < least:
        exponent, power = exponent + 1, power * base
    return exponent
