"""The power law that the frequent classes of a distribution follow."""

import math
from dataclasses import dataclass

import numpy as np

#: Ranks whose classes occur more rarely are left out of a fit: which of them comes
#: before which is chance, and sorting by chance makes a law steeper.
MIN_COUNT = 10

_BISECTIONS = 60
_MAX_EXPONENT = 20.0


@dataclass(frozen=True)
class ZipfFit:
    """A Zipf distribution, `p_k ~ k^-s` for the ranks k = 1, ..., m.

    Example:
    >>> print(fit_zipf(np.array([6000, 3000, 2000, 1500, 1200])))
    Zipf exponent 1.000 ± 0.014 on ranks 1 to 5, largest gap 0.0%

    Attributes:
      exponent: s of the greatest likelihood; nan where fewer than two ranks occur
        often enough.
      standard_error: Of s, from the Fisher information, were occurrences independent.
      num_ranks: m, how many ranks were fitted.
      gap: The largest distance between the observed and the fitted share of the first
        ranks (Kolmogorov-Smirnov): how well the law fits, whatever the sample's size.
    """

    exponent: float
    standard_error: float
    num_ranks: int
    gap: float

    def __str__(self) -> str:
        if math.isnan(self.exponent):
            return f"no Zipf fit: {self.num_ranks} ids occur {MIN_COUNT} times or more"
        return (
            f"Zipf exponent {self.exponent:.3f} ± {self.standard_error:.3f} on ranks 1 "
            f"to {self.num_ranks:,}, largest gap {self.gap:.1%}"
        )


def fit_zipf(counts: np.ndarray, min_count: float = MIN_COUNT) -> ZipfFit:
    """Fits the exponent of Zipf's law by maximum likelihood.

    Given that an occurrence is of one of the first m ranks, it is of rank k with the
    probability `k^-s / sum_j j^-s`; the likelihood is greatest where the mean of log k
    is the observed one.

    Example:
    >>> round(fit_zipf(1e6 * np.arange(1, 101) ** -0.5).exponent, 6)
    0.5

    Args:
      counts: How often each class occurs [K], in any order.
      min_count: Classes that occur more rarely are left out.

    Returns:
      The fit.

    References:
      Clauset, Shalizi and Newman, "Power-Law Distributions in Empirical Data", SIAM
      Review 51, 2009, sections 3.1 and 3.3, here for ranks in place of values.
    """
    counts = np.sort(np.asarray(counts, np.float64))[::-1]
    counts = counts[counts >= min_count]
    m = len(counts)
    if m < 2:
        return ZipfFit(math.nan, math.nan, m, math.nan)
    logs = np.log(np.arange(1, m + 1))
    total = counts.sum()
    observed = float(counts @ logs / total)
    low, high = 0.0, _MAX_EXPONENT
    # The mean of log k falls as s rises.
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if float(_shares(logs, middle) @ logs) > observed:
            low = middle
        else:
            high = middle
    exponent = (low + high) / 2
    shares = _shares(logs, exponent)
    variance = float(shares @ (logs - shares @ logs) ** 2)
    gap = np.abs(np.cumsum(counts) / total - np.cumsum(shares)).max()
    # With nearly all on the first rank, there is nothing that tells s.
    error = 1 / math.sqrt(total * variance) if variance > 0 else math.inf
    return ZipfFit(exponent, error, m, float(gap))


def _shares(logs: np.ndarray, exponent: float) -> np.ndarray:
    weights = np.exp(-exponent * logs)
    shares: np.ndarray = weights / weights.sum()
    return shares
