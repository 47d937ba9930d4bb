"""Which classes the probabilities of buckets come from."""

import numpy as np

#: Rounds of the iteration, at most, and the change of a share at which it ends.
_MAX_ROUNDS = 300
_TOLERANCE = 1e-7


def class_shares(probabilities: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Finds the shares of classes that explain all buckets at once.

    A bucket's probability is the sum of its classes' shares, `P_r(b) = sum p_c` over
    the classes c with `h_r(c) = b`. Of all p >= 0 those are found that fit best, in the
    sense of the likelihood (the least Kullback-Leibler divergence, summed over
    repetitions), by the iteration of expectation and maximization

    ```
    p_c <- p_c / R * sum_r P_r(h_r(c)) / sum of p over the classes of that bucket
    ```

    A class that shares a likely bucket with a likely class in one repetition, but with
    no other one in the next, ends at a share near zero: no median or minimum of its own
    buckets could tell.

    Args:
      probabilities: Not negative [R, B]; where they are those of a softmax, shares add
        up to 1.
      table: Buckets of the classes [R, K].

    Returns:
      float64 [K].

    References:
      Vardi and Lee, "From Image Deblurring to Optimal Investments: Maximum Likelihood
      Solutions for Positive Linear Inverse Problems", Journal of the Royal Statistical
      Society B 55, 1993.
    """
    num_repetitions, num_buckets = probabilities.shape
    # Buckets of all repetitions in one row.
    first = np.arange(num_repetitions)[:, np.newaxis] * num_buckets
    places = np.asarray(table, np.int64) + first
    observed = probabilities.reshape(-1)[places]
    # Where the least likely bucket of a class has none, it has none for certain.
    shares = observed.min(axis=0)
    for _ in range(_MAX_ROUNDS):
        weights = np.broadcast_to(shares, places.shape).ravel()
        fitted = np.bincount(places.ravel(), weights, probabilities.size)[places]
        ratios = np.divide(
            observed, fitted, out=np.zeros_like(fitted), where=fitted > 0
        )
        updated = shares * ratios.mean(axis=0)
        change = np.abs(updated - shares).max(initial=0)
        shares = updated
        if change < _TOLERANCE:
            break
    return shares


def parts_of_buckets(shares: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Returns each class's part of each of its buckets [R, K]; a bucket's add up to 1.

    Example:
    >>> parts_of_buckets(np.array([0.3, 0.1]), np.array([[0, 0], [1, 2]])).round(2)
    array([[0.75, 0.25],
           [1.  , 1.  ]])

    Args:
      shares: From `class_shares` [K].
      table: Buckets of the classes [R, K].
    """
    parts = np.empty(table.shape)
    for row, buckets in zip(parts, np.asarray(table, np.int64), strict=True):
        whole = np.bincount(buckets, weights=shares)[buckets]
        count = np.bincount(buckets)[buckets]
        # A bucket that no class has a share of is everyone's in equal parts.
        row[:] = np.where(whole > 0, shares / np.where(whole > 0, whole, 1), 1 / count)
    return parts
