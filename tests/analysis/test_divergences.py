"""Distances between distributions, by hand and against SciPy."""

import math

import numpy as np
import pytest
from scipy.spatial import distance

from tfrs_dhe.analysis import (
    expected_jensen_shannon,
    expected_psi,
    jensen_shannon_distance,
    population_stability_index,
)


def test_index_by_hand() -> None:
    # (.2 - .5) ln(.2 / .5) + (.8 - .5) ln(.8 / .5)
    expected = -0.3 * math.log(0.4) + 0.3 * math.log(1.6)
    assert population_stability_index([5, 5], [2, 8], smoothing=0) == pytest.approx(
        expected
    )
    assert population_stability_index([5, 5, 0], [2, 8, 0], 0) == pytest.approx(
        expected
    )
    assert population_stability_index([3, 4], [30, 40], 0) == pytest.approx(0)
    assert population_stability_index([1, 1], [2, 0], smoothing=0) == math.inf
    # Half an occurrence in each bin: (.5, .5) against (2.5 / 3, .5 / 3).
    smoothed = (2.5 / 3 - 0.5) * math.log(5 / 3) + (0.5 / 3 - 0.5) * math.log(1 / 3)
    assert population_stability_index([1, 1], [2, 0]) == pytest.approx(smoothed)


def test_distance_against_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q = rng.integers(0, 5, size=[2, 30])
        assert jensen_shannon_distance(p, q) == pytest.approx(
            distance.jensenshannon(p, q, base=2), abs=1e-12
        )


def test_distances_have_symmetry_and_bounds() -> None:
    p, q = np.array([1, 5, 0, 9]), np.array([4, 0, 2, 1])
    assert jensen_shannon_distance(p, q) == jensen_shannon_distance(q, p)
    assert population_stability_index(p, q) == pytest.approx(
        population_stability_index(q, p)
    )
    assert jensen_shannon_distance([3, 0], [0, 7]) == 1
    assert jensen_shannon_distance(p, 3 * p) == pytest.approx(0, abs=1e-8)


def test_expected_values_are_those_of_samples_of_one_distribution() -> None:
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.full(40, 5.0))
    samples = [
        (rng.multinomial(20_000, shares), rng.multinomial(5000, shares))
        for _ in range(400)
    ]
    indexes = [population_stability_index(p, q) for p, q in samples]
    squares = [jensen_shannon_distance(p, q) ** 2 for p, q in samples]
    # Both are close to a multiple of chi-squared with 39 degrees of freedom, so the
    # mean of 400 is off by sqrt(2 / 39 / 400) of itself; 4 of these, and a percent for
    # the terms of higher order.
    slack = 4 * math.sqrt(2 / 39 / 400) + 0.01
    assert np.mean(indexes) == pytest.approx(expected_psi(40, 20_000, 5000), rel=slack)
    assert np.mean(squares) == pytest.approx(
        expected_jensen_shannon(40, 20_000, 5000), rel=slack
    )


@pytest.mark.parametrize(
    ("reference", "live", "message"),
    [
        ([1, 2], [1, 2, 3], r"same bins.*\(2,\) and \(3,\)"),
        ([], [], "same bins"),
        ([0, 0], [1, 2], "`reference` must be finite counts from 0, not all 0"),
        ([1, 2], [1, -2], "`live` must be finite counts"),
        ([1, 2], [1, math.nan], "`live` must be finite counts"),
    ],
)
def test_errors_name_the_argument(reference: list, live: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jensen_shannon_distance(reference, live)
