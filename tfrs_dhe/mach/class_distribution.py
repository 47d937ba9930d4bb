"""The signal and the noise that a distribution of the classes makes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

# Terms summed one by one before the Euler-Maclaurin formula takes over; its error is
# then far below double precision.
_SUMMED_TERMS = 1000


@dataclass(frozen=True)
class HeavyHitter:
    """The likeliest class, and the others.

    Attributes:
      probability: p_i of the likeliest class i.
      other_square_sum: The sum of p_k^2 over all other classes k.
      description: Words for the distribution.
    """

    probability: float
    other_square_sum: float
    description: str


def heavy_hitter(
    class_distribution: Any, num_classes: int, probability: float | None = None
) -> HeavyHitter:
    """Returns what the variance of MACH's estimator depends on.

    Example:
    >>> heavy_hitter([6, 3, 1], num_classes=3)
    HeavyHitter(probability=0.6, other_square_sum=0.1, description='as given')

    Args:
      class_distribution: Probabilities or counts [K], `"uniform"`, or the exponent
        s >= 0 of a Zipf distribution, in which class k has a share of k^-s.
      num_classes: K.
      probability: The likeliest class's probability, if it is another than the
        distribution says; the others then share the rest in their proportions.

    Returns:
      The likeliest class's probability and the sum of squares of the others'.

    Raises:
      ValueError: If an argument is not as described.
    """
    if isinstance(class_distribution, str):
        if class_distribution != "uniform":
            raise _bad_distribution(class_distribution, num_classes)
        top, others = 1 / num_classes, (num_classes - 1) / num_classes**2
        rest, words = (num_classes - 1) / num_classes, "uniform"
    elif np.ndim(class_distribution) == 0:
        s = _zipf_exponent(class_distribution, num_classes)
        tail = power_sum(2, num_classes, s)
        total = 1 + tail
        top, rest = 1 / total, tail / total
        others = power_sum(2, num_classes, 2 * s) / total**2
        words = f"Zipf, exponent {s:g}"
    else:
        shares = _shares(class_distribution, num_classes)
        i = int(np.argmax(shares))
        top = float(shares[i])
        shares[i] = 0
        rest, others = math.fsum(shares), math.fsum(shares**2)
        words = "as given"
    if probability is None:
        return HeavyHitter(top, others, words)
    if not 0 < probability <= 1:
        raise ValueError(
            "`heavy_hitter_probability` must lie above 0 and be at most 1. "
            f"Received: {probability!r}."
        )
    if rest == 0 and probability < 1:
        raise ValueError(
            f"`heavy_hitter_probability` is {probability}, so other classes share "
            "the rest, but `class_distribution` gives them none. Give them "
            "probabilities or counts."
        )
    scale = (1 - probability) / rest if rest else 0.0
    return HeavyHitter(float(probability), others * scale**2, words)


def power_sum(first: int, last: int, exponent: float) -> float:
    """Returns the sum of k^-s for k from `first` to `last`.

    Example:
    >>> power_sum(1, 3, 1.0) == 1 + 1 / 2 + 1 / 3
    True

    Args:
      first: The first k, at least 1.
      last: The last k.
      exponent: s >= 0.

    Returns:
      The sum, to double precision however many its terms are.
    """
    split = min(last, first + _SUMMED_TERMS)
    head = math.fsum(k**-exponent for k in range(first, split + 1))
    if split == last:
        return head
    # Euler-Maclaurin from `split`, whose own term the head has.
    a, b, s = float(split), float(last), exponent
    log_ratio = math.log(b / a)
    if s == 1:
        integral = log_ratio
    else:
        integral = a ** (1 - s) * math.expm1((1 - s) * log_ratio) / (1 - s)
    ends = (b**-s - a**-s) / 2
    first_derivatives = s * (a ** (-s - 1) - b ** (-s - 1)) / 12
    third = s * (s + 1) * (s + 2)
    third_derivatives = third * (a ** (-s - 3) - b ** (-s - 3)) / 720
    return head + integral + ends + first_derivatives - third_derivatives


def _zipf_exponent(value: Any, num_classes: int) -> float:
    is_number = isinstance(value, int | float | np.number) and not isinstance(
        value, bool
    )
    if not is_number or not (value >= 0 and math.isfinite(value)):
        raise _bad_distribution(value, num_classes)
    return float(value)


def _shares(values: Any, num_classes: int) -> np.ndarray:
    array = np.array(values)
    if array.dtype.kind not in "iuf" or array.shape != (num_classes,):
        raise _bad_distribution(
            f"values of shape {array.shape} and dtype {array.dtype}", num_classes
        )
    array = array.astype(np.float64)
    total = math.fsum(array) if np.isfinite(array).all() else math.nan
    if not total > 0 or array.min() < 0:
        raise _bad_distribution(
            "values that are not all finite, not all >= 0, or all 0", num_classes
        )
    return array / total


def _bad_distribution(value: Any, num_classes: int) -> ValueError:
    return ValueError(
        "`class_distribution` must be finite probabilities or counts >= 0 of shape "
        f'[num_classes], that is [{num_classes}], "uniform", or the exponent >= 0 of '
        f"a Zipf distribution. Received: {value!r}."
    )
