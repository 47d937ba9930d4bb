"""How far two distributions over the same bins are apart."""

import numpy as np

#: Added to each count, so that an empty bin is unlikely and not impossible.
SMOOTHING = 0.5


def population_stability_index(
    reference: np.ndarray, live: np.ndarray, smoothing: float = SMOOTHING
) -> float:
    """Returns the population stability index, `sum_b (q_b - p_b) log(q_b / p_b)`.

    Between samples of one distribution it is about `(bins - 1) (1 / n + 1 / m)`, not
    zero; see `expected_psi`.

    Example:
    >>> round(population_stability_index([50, 50], [80, 20], smoothing=0), 4)
    0.4159

    Args:
      reference: Counts of the bins in the reference [bins].
      live: Counts of the same bins in the live sample [bins].
      smoothing: Added to each count. With 0, a bin that one sample lacks makes the
        index infinite.

    Returns:
      The index, from 0.

    Raises:
      ValueError: If the counts are not as described.

    References:
      Yurdakul, "Statistical Properties of Population Stability Index", Western Michigan
      University 2018, section 3, for its distribution; it is the divergence of Jeffreys
      (1946).
    """
    p, q = _shares(reference, live, smoothing)
    if ((p == 0) != (q == 0)).any():
        return float("inf")
    held = p > 0
    p, q = p[held], q[held]
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon_distance(
    reference: np.ndarray, live: np.ndarray, smoothing: float = 0.0
) -> float:
    """Returns the square root of the Jensen-Shannon divergence in bits, from 0 to 1.

    Example:
    >>> jensen_shannon_distance([1, 0], [0, 1])
    1.0

    Args:
      reference: Counts of the bins in the reference [bins].
      live: Counts of the same bins in the live sample [bins].
      smoothing: Added to each count; none is needed.

    Returns:
      The distance: 0 for equal shares, 1 for bins that have nothing in common.

    Raises:
      ValueError: If the counts are not as described.

    References:
      Endres and Schindelin, "A New Metric for Probability Distributions", IEEE
      Transactions on Information Theory 49, 2003.
    """
    p, q = _shares(reference, live, smoothing)
    middle = (p + q) / 2

    def divergence(shares: np.ndarray) -> float:
        held = shares > 0
        return float(np.sum(shares[held] * np.log2(shares[held] / middle[held])))

    # Rounding may leave less than nothing.
    return float(np.sqrt(max((divergence(p) + divergence(q)) / 2, 0.0)))


def expected_psi(num_bins: int, num_reference: float, num_live: float) -> float:
    """Returns the index that two samples of one distribution have on the average.

    Example:
    >>> expected_psi(num_bins=11, num_reference=1000, num_live=1000)
    0.02

    Args:
      num_bins: Number of bins.
      num_reference: n, occurrences of the reference.
      num_live: m, occurrences of the live sample.

    Returns:
      `(bins - 1) (1 / n + 1 / m)`, where bins have several occurrences each.
    """
    return (num_bins - 1) * (1 / num_reference + 1 / num_live)


def expected_jensen_shannon(
    num_bins: int, num_reference: float, num_live: float
) -> float:
    """Returns the divergence, not its root, of two samples of one distribution.

    To the second order it is an eighth of the index of `expected_psi`.

    Example:
    >>> round(expected_jensen_shannon(11, 1000, 1000), 6)
    0.003607

    Args:
      num_bins: Number of bins.
      num_reference: n, occurrences of the reference.
      num_live: m, occurrences of the live sample.

    Returns:
      The average, in bits.
    """
    index = expected_psi(num_bins, num_reference, num_live)
    return float(index / (8 * np.log(2)))


def _shares(
    reference: np.ndarray, live: np.ndarray, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    p, q = np.asarray(reference, np.float64), np.asarray(live, np.float64)
    if p.ndim != 1 or p.shape != q.shape or not len(p):
        raise ValueError(
            "`reference` and `live` must be counts of the same bins, of shape [bins]. "
            f"Received shapes {p.shape} and {q.shape}."
        )
    for name, counts in (("reference", p), ("live", q)):
        if not np.isfinite(counts).all() or counts.min() < 0 or not counts.sum() > 0:
            raise ValueError(
                f"`{name}` must be finite counts from 0, not all 0. Received numbers "
                f"from {counts.min()} to {counts.max()}."
            )
    p, q = p + smoothing, q + smoothing
    return p / p.sum(), q / q.sum()
