"""Drift of streams that is made to be known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analysis.pictures import assert_picture
from tests.analysis.test_sketches import zipf_stream
from tfrs_dhe.analysis import DriftReport, IdSketch, compare_ids, sketch_ids
from tfrs_dhe.analysis._frequent_ids import expected_overlap, most_frequent


def test_figures_by_hand() -> None:
    reference = ["a"] * 60 + ["b"] * 30 + ["c"] * 9 + ["d"]
    live = ["a"] * 15 + ["b"] * 60 + ["e"] * 25
    drift = compare_ids(reference, live, num_frequent=2, num_groups=1)
    assert drift.bins.tolist() == [[60, 30, 10], [15, 60, 25]]
    p = np.array([60.5, 30.5, 10.5]) / 101.5
    q = np.array([15.5, 60.5, 25.5]) / 101.5
    assert drift.psi == pytest.approx(np.sum((q - p) * np.log(q / p)))
    assert drift.expected_psi == 2 * (1 / 100 + 1 / 100)
    assert drift.excess_psi == pytest.approx(drift.psi - 0.04)
    assert (drift.unseen_share, drift.unseen_error) == (0.25, 0)
    assert drift.expected_unseen == 0.01  # one id of one occurrence in 100
    assert drift.excess_unseen == pytest.approx(0.24)
    assert drift.heavy_overlap == 1 / 2  # a and b; now b and e
    assert drift.num_heavy == 2
    change = {one.id: one for one in drift.changes}
    assert set(change) == {b"a", b"b", b"e"}
    assert (change[b"a"].reference_share, change[b"a"].live_share) == (0.6, 0.15)
    assert change[b"a"].deviations == pytest.approx(
        -0.45 / math.sqrt(0.375 * 0.625 * (2 / 100))
    )
    assert [abs(one.deviations) for one in drift.changes] == sorted(
        (abs(one.deviations) for one in drift.changes), reverse=True
    )


@pytest.mark.parametrize("capacity", [2**16, 1024])
def test_samples_of_one_distribution_do_not_drift(capacity: int) -> None:
    stream = zipf_stream(20_000, 1.0, 300_000, seed=7)
    reference = sketch_ids(stream[:200_000], capacity=capacity)
    live = sketch_ids(stream[200_000:], capacity=capacity)
    drift = compare_ids(reference, live)
    bins = len(drift.bins[0])
    # Chi-squared with bins - 1 degrees of freedom: 4 standard deviations.
    spread = 4 * math.sqrt(2 / (bins - 1))
    assert abs(drift.psi / drift.expected_psi - 1) < spread + 0.05
    assert drift.excess_jensen_shannon < drift.expected_jensen_shannon
    true = np.mean(~np.isin(stream[200_000:], stream[:200_000]))
    assert abs(drift.unseen_share - true) <= 4 * drift.unseen_error
    assert drift.heavy_overlap > 0.9
    assert max(abs(one.deviations) for one in drift.changes) < 5


@pytest.mark.parametrize("num_ids", [1026, 5000, 200_000])
def test_ids_without_repetition_are_compared_by_groups(num_ids: int) -> None:
    ids = np.arange(num_ids)
    shuffled = np.random.default_rng(0).permutation(ids)
    same = compare_ids(ids, shuffled)
    assert same.psi == pytest.approx(0, abs=1e-12)
    assert same.unseen_share == 0
    assert (same.bins.sum(axis=1) == num_ids).all()
    other = compare_ids(ids, shuffled + num_ids // 2)
    assert abs(other.unseen_share - 0.5) <= 4 * other.unseen_error
    assert DriftReport(ids=same).alerts == ()


def test_where_no_id_is_frequent_for_certain_none_stays_so(tmp_path: Path) -> None:
    drift = compare_ids(np.arange(100_000), np.arange(100_000))
    assert (drift.num_frequent, drift.num_heavy, len(drift.bins[0])) == (0, 0, 32)
    assert math.isnan(drift.heavy_overlap)
    assert "heavy_overlap" not in DriftReport(ids=drift).figures
    assert "0 most frequent ids still so  not measured" in str(drift)
    assert_picture(drift.plot(tmp_path / "a"), "a group of others")


def test_most_frequent_ids_are_those_of_the_stream() -> None:
    stream = zipf_stream(50_000, 1.0, 400_000)
    counts = np.bincount(stream)
    truth = np.argsort(-counts, kind="stable")
    exact = most_frequent(sketch_ids(stream), 100)
    assert counts[exact].tolist() == counts[truth[:100]].tolist()
    # A sketch that dropped ids says of fewer of them that they are.
    few = most_frequent(sketch_ids(stream, capacity=1024, num_heavy_hitters=64), 100)
    assert 10 < len(few) < 64
    assert set(few.tolist()) == set(truth[: len(few)].tolist())


ZIPF = np.arange(1, 10_001.0)
HEADS = np.append(np.full(5, 200.0), np.ones(995))


@pytest.mark.parametrize(
    ("shares", "num_reference", "num_live", "bias"),
    [
        (ZIPF**0, 10**6, 10**5, 0.01),
        (ZIPF**0, 10**5, 10**5, 0.01),
        (ZIPF**-0.5, 10**5, 10**4, 0.01),
        (ZIPF**-1, 10**5, 300, 0.01),
        # A few ids far above a flat rest, and most ids hardly ever seen.
        (HEADS, 5 * 10**4, 5 * 10**4, 0.03),
        (HEADS, 5 * 10**4, 5 * 10**3, 0.03),
        (ZIPF**-0.5, 10**4, 10**4, 0.03),
    ],
)
def test_expected_overlap_is_that_of_samples(
    shares: np.ndarray, num_reference: int, num_live: int, bias: float
) -> None:
    rng = np.random.default_rng(0)
    measured, expected = [], []
    for _ in range(30):
        counts = [
            rng.multinomial(n, shares / shares.sum()) for n in (num_reference, num_live)
        ]
        # Equal counts in random order; only ids that occur.
        first, second = (
            np.lexsort((rng.random(len(c)), -c))[: min(100, np.count_nonzero(c))]
            for c in counts
        )
        size = min(len(first), len(second))
        common = len(np.intersect1d(first[:size], second[:size]))
        measured.append(common / size)
        values, weights = np.unique(counts[0][counts[0] > 0], return_counts=True)
        factor = num_live / num_reference
        expected.append(expected_overlap(values, weights, factor, size))
    error = np.std(measured) / math.sqrt(30)
    assert abs(np.mean(measured) - np.mean(expected)) < 4 * error + bias


@pytest.mark.parametrize("capacity", [2**16, 1024])
def test_new_ids_are_counted(capacity: int) -> None:
    stream = zipf_stream(20_000, 0.8, 200_000, seed=8)
    # A third of the live occurrences is of ids that came out since.
    live = np.where(
        np.arange(100_000) % 3 == 0, stream[100_000:] + 10**6, stream[100_000:]
    )
    drift = compare_ids(
        sketch_ids(stream[:100_000], capacity=capacity),
        sketch_ids(live, capacity=capacity),
    )
    true = np.mean(~np.isin(live, stream[:100_000]))
    assert abs(drift.unseen_share - true) <= 4 * drift.unseen_error
    assert true > 1 / 3
    assert abs(drift.excess_unseen - 1 / 3) < 0.04 + 4 * drift.unseen_error
    # Beyond 4 standard deviations of the chi-squared distribution that no drift has.
    bins = len(drift.bins[0])
    limit = 1 + 4 * math.sqrt(2 / (bins - 1))
    assert drift.psi > limit * drift.expected_psi
    assert drift.jensen_shannon**2 > limit * drift.expected_jensen_shannon**2


def test_an_exchanged_head_is_named() -> None:
    stream = zipf_stream(5000, 1.2, 200_000)
    live = stream[100_000:].copy()
    live[stream[100_000:] == 0] = 77
    drift = compare_ids(stream[:100_000], live)
    assert {drift.changes[0].id, drift.changes[1].id} == {0, 77}
    assert drift.changes[0].live_share == 0 or drift.changes[1].live_share == 0
    assert drift.unseen_share == np.mean(~np.isin(live, stream[:100_000]))


def test_saved_reference_is_compared_as_it_was(tmp_path: Path) -> None:
    stream = zipf_stream(1000, 1.0, 20_000)
    reference = sketch_ids([f"item_{i}" for i in stream[:10_000]])
    live = sketch_ids([f"item_{i}" for i in stream[10_000:]])
    reference.save(tmp_path / "reference.npz")
    now = compare_ids(reference, live)
    later = compare_ids(IdSketch.load(tmp_path / "reference.npz"), live)
    assert str(now) == str(later)
    assert now.changes == later.changes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_ids([1], [2], num_frequent=0), "`num_frequent` must be a pos"),
        (lambda: compare_ids([1], [2], num_groups=-1), "`num_groups` must be a pos"),
        (lambda: compare_ids(IdSketch(), [2]), "`reference` must have at least one id"),
        (
            lambda: compare_ids(sketch_ids([1], seed=3), [2]),
            r"`live` must be a sketch of the same width and seed.*\(65536, 3\)",
        ),
        (
            lambda: compare_ids(
                sketch_ids(np.arange(1000), capacity=1), np.arange(1000)
            ),
            "`capacity` must be large enough",
        ),
        (lambda: compare_ids([0.5], [2]), "`ids` must be strings or integers"),
    ],
)
def test_errors_name_the_argument(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_text_and_picture(tmp_path: Path) -> None:
    drift = compare_ids(zipf_stream(500, 1.0, 9000), zipf_stream(500, 0.7, 9000))
    assert "population stability index" in str(drift)
    assert "9,000 live ids against 9,000" in str(drift)
    assert_picture(drift.plot(tmp_path / "a"), "% of the reference", "no change")
