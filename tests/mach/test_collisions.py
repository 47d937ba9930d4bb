"""Collisions against every assignment of tiny sets, and sums over large ones."""

import itertools
import math
from fractions import Fraction

import pytest

from tfrs_dhe.mach import collisions

TINY = [(2, 2, 1), (3, 2, 2), (4, 2, 2), (3, 3, 2), (4, 3, 1), (5, 2, 2), (5, 4, 1)]


@pytest.mark.parametrize(("k", "b", "r"), TINY)
def test_every_assignment_of_buckets(k: int, b: int, r: int) -> None:
    codes = list(itertools.product(range(b), repeat=r))
    pairs = twins = any_pair = total = 0
    for assignment in itertools.product(codes, repeat=k):
        equal = sum(x == y for x, y in itertools.combinations(assignment, 2))
        pairs += equal
        twins += sum(assignment.count(code) > 1 for code in assignment)
        any_pair += equal > 0
        total += 1
    assert collisions.expected_pairs(k, b, r) == float(Fraction(pairs, total))
    for function, count in (
        (collisions.expected_classes_with_twin, twins),
        (collisions.any_pair_probability, any_pair),
    ):
        assert function(k, b, r) == pytest.approx(count / total, rel=1e-14)
    assert collisions.union_bound(k, b, r) == min(1, pairs / total)
    assert collisions.union_bound(k, b, r) >= any_pair / total


def test_certain_beyond_the_number_of_codes() -> None:
    assert collisions.any_pair_probability(9, 2, 3) == 1
    assert 0.99 < collisions.any_pair_probability(8, 2, 3) < 1
    assert collisions.any_pair_probability(10**9, 10_000, 4) == 1
    assert collisions.union_bound(10**9, 10_000, 4) == 1


@pytest.mark.parametrize("pairs", [1e-3, 1, 700])
@pytest.mark.parametrize("k", [2**20 - 1, 2**20 + 7, 2**21])
def test_birthday_of_many_classes(k: int, pairs: float) -> None:
    codes = int(k * (k - 1) / 2 / pairs)
    log_none = math.fsum(math.log1p(-i / codes) for i in range(1, k))
    actual = collisions.any_pair_probability(k, codes, 1)
    assert actual == pytest.approx(-math.expm1(log_none), rel=1e-12)


def test_tiny_probabilities_of_huge_sets_keep_their_digits() -> None:
    # K (K-1) / 2 / M for one pair, two classes in each; nothing else matters.
    k, b, r = 10**9, 10**4, 32
    pairs = float(Fraction(k * (k - 1), 2 * b**r))
    assert 1e-112 < pairs < 1e-110
    assert collisions.expected_pairs(k, b, r) == pairs
    assert collisions.any_pair_probability(k, b, r) == pytest.approx(pairs, rel=1e-13)
    twins = collisions.expected_classes_with_twin(k, b, r)
    assert twins == pytest.approx(2 * pairs, rel=1e-13)
    # B^R is beyond the range of a float here.
    assert collisions.any_pair_probability(1000, 10**4, 100) == 0
    assert collisions.expected_classes_with_twin(1000, 10**4, 100) == 0


@pytest.mark.parametrize("k", [2, 3, 159, 983, 10**6])
@pytest.mark.parametrize("delta", [1.0, 0.25, 0.01, 1e-9])
@pytest.mark.parametrize("b", [2, 3, 100, 10_000])
def test_repetitions_and_buckets_needed(k: int, delta: float, b: int) -> None:
    def bound(b: int, r: int) -> Fraction:
        return min(Fraction(1), Fraction(k * (k - 1), 2 * b**r))

    r = collisions.repetitions_needed(k, b, delta)
    assert bound(b, r) <= Fraction(delta)
    assert r == 1 or bound(b, r - 1) > Fraction(delta)
    paper = collisions.paper_repetitions(k, b, delta)
    formula = 2 * math.log(k / math.sqrt(delta)) / math.log(b)
    assert formula - 1e-9 <= paper < formula + 1 + 1e-9
    assert paper >= r
    for r in (1, 2, 4, 7):
        least = collisions.buckets_needed(k, r, delta)
        assert bound(least, r) <= Fraction(delta)
        assert least == 2 or bound(least - 1, r) > Fraction(delta)


def test_the_papers_formula_where_it_is_a_whole_number() -> None:
    # 2 log(100 / sqrt(0.25)) / log(200) = 2, which floats may miss by one.
    assert collisions.paper_repetitions(100, 200, 0.25) == 2
    assert collisions.paper_repetitions(8, 2, 0.25) == 8
    assert collisions.paper_repetitions(8, 4, 0.25) == 4
