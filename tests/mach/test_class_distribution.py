import math

import numpy as np
import pytest

from tfrs_dhe.mach.class_distribution import heavy_hitter, power_sum


@pytest.mark.parametrize("s", [0.0, 0.5, 0.999999, 1.0, 1.5, 2.0, 3.0, 60.0])
@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 9), (1, 1001), (2, 50_000)])
def test_power_sum(first: int, last: int, s: float) -> None:
    expected = math.fsum(k**-s for k in range(first, last + 1))
    assert power_sum(first, last, s) == pytest.approx(expected, rel=2e-15)


def test_power_sum_of_very_many() -> None:
    n = 10**15
    assert power_sum(1, n, 0.0) == pytest.approx(n, rel=4e-15)
    # ln n + gamma + 1 / 2n, and pi^2 / 6 - 1 / n.
    assert power_sum(1, n, 1.0) == pytest.approx(
        math.log(n) + np.euler_gamma, rel=4e-15
    )
    assert power_sum(1, n, 2.0) == pytest.approx(math.pi**2 / 6, rel=4e-15)


def by_hand(shares: np.ndarray) -> tuple[float, float]:
    shares = shares / shares.sum()
    i = shares.argmax()
    return shares[i], np.delete(shares, i) @ np.delete(shares, i)


@pytest.mark.parametrize(
    ("distribution", "shares"),
    [
        ("uniform", np.ones(50)),
        (0, np.ones(50)),
        (1, 1 / np.arange(1.0, 51)),
        (np.float32(1.5), np.arange(1.0, 51) ** -1.5),
        (np.arange(50), np.arange(50.0)),
        ([0.0] * 49 + [2.0], np.eye(50)[49]),
    ],
)
def test_likeliest_class_and_the_others(distribution: object, shares: object) -> None:
    hitter = heavy_hitter(distribution, 50)
    probability, others = by_hand(np.asarray(shares))
    assert hitter.probability == pytest.approx(probability, rel=1e-12)
    assert hitter.other_square_sum == pytest.approx(others, rel=1e-12)


def test_given_probability_leaves_the_rest_to_the_others() -> None:
    shares = np.array([1.0, 4, 3, 2])
    hitter = heavy_hitter(shares, 4, probability=0.5)
    # The others have 1/6, 3/6 and 2/6 of the other half.
    assert hitter.probability == 0.5
    assert hitter.other_square_sum == pytest.approx((1 + 9 + 4) / 144, rel=1e-14)
    assert heavy_hitter("uniform", 11, 0.9).other_square_sum == pytest.approx(1e-3)
    assert heavy_hitter([0, 1], 2, 1.0).other_square_sum == 0
    assert shares.tolist() == [1, 4, 3, 2]


@pytest.mark.parametrize(
    ("distribution", "received"),
    [
        ("zipf", "'zipf'"),
        (-1, "-1"),
        (math.inf, "inf"),
        (True, "True"),
        ([0.5, 0.5], r"shape \(2,\)"),
        (["a", "b", "c"], "dtype <U1"),
        ([0, 0, 0], "all 0"),
        ([1, -1, 1], "not all >= 0"),
        ([1, math.nan, 1], "not all finite"),
        (None, "None"),
    ],
)
def test_bad_distribution(distribution: object, received: str) -> None:
    message = rf"`class_distribution` must be.*\[3\].*{received}"
    with pytest.raises(ValueError, match=message):
        heavy_hitter(distribution, 3)


@pytest.mark.parametrize("probability", [0, -0.1, 1.01, math.nan])
def test_bad_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="`heavy_hitter_probability` must lie above 0"):
        heavy_hitter("uniform", 3, probability)


def test_no_other_class_to_share_the_rest() -> None:
    with pytest.raises(ValueError, match="`class_distribution` gives them none"):
        heavy_hitter([0, 1], 2, 0.5)
