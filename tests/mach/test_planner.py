"""The planner against a search over all choices, and figures worked by hand."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tfrs_dhe import mach


def test_figures_by_hand() -> None:
    p = mach.plan(
        1000, 9, num_buckets=50, num_repetitions=4, optimizer_slots=2, dtype="bfloat16"
    )
    assert (p.num_outputs, p.parameters, p.softmax_parameters) == (200, 2000, 10_000)
    assert (p.bytes, p.training_bytes) == (4000, 12_000)
    assert (p.softmax_bytes, p.softmax_training_bytes) == (20_000, 60_000)
    assert (p.table_dtype, p.table_bytes) == ("uint8", 4000)
    assert p.times_smaller == 5
    assert not p.costs_more_than_softmax
    assert p.expected_indistinguishable_pairs == 499_500 / 6_250_000
    assert p.paper_repetitions(0.01) == 5  # 2 log(10^4) / log(50) = 4.71
    # 999 others of 1/1000 each, over 4 * 49.
    assert p.variance == pytest.approx(999e-6 / 196, rel=1e-14)
    assert p.snr == pytest.approx(1e-3 / math.sqrt(999e-6 / 196), rel=1e-14)


@pytest.mark.parametrize(
    ("b", "dtype", "size"),
    [
        (256, "uint8", 1),
        (257, "uint16", 2),
        (65_536, "uint16", 2),
        (65_537, "int32", 4),
    ],
)
def test_bucket_table(b: int, dtype: str, size: int) -> None:
    p = mach.plan(10, 1, num_buckets=b, num_repetitions=3)
    assert p.table_dtype == dtype
    assert p.table_bytes == 30 * size
    table = mach.bucket_table(np.arange(10), b, 3)
    assert (table.dtype.name, table.nbytes) == (dtype, p.table_bytes)


@pytest.mark.parametrize(("b", "r"), [(2, 1), (3, 1), (2, 2), (3, 2)])
def test_variance_over_every_assignment(b: int, r: int) -> None:
    shares = [Fraction(n, 10) for n in (5, 2, 2, 1)]
    estimates = []
    for flat in itertools.product(range(b), repeat=4 * r):
        hashes = [flat[4 * i : 4 * i + 4] for i in range(r)]
        own = [
            sum(p for p, h in zip(shares, row, strict=True) if h == row[0])
            for row in hashes
        ]
        mean = Fraction(sum(own), r)
        estimates.append(Fraction(b, b - 1) * (mean - Fraction(1, b)))
    mean = sum(estimates) / len(estimates)
    variance = sum((x - mean) ** 2 for x in estimates) / len(estimates)
    p = mach.plan(
        4, 1, num_buckets=b, num_repetitions=r, class_distribution=[5, 2, 2, 1]
    )
    assert mean == shares[0] == Fraction(str(p.heavy_hitter_probability))
    assert p.variance == pytest.approx(float(variance), rel=1e-14)


def test_variance_of_the_hashes_in_use() -> None:
    """The formula, for the head's own hash functions, over many of them."""
    b, r, k, models = 20, 2, 200, 1500
    shares = np.arange(1.0, k + 1) ** -1.0
    shares /= shares.sum()
    estimates = []
    table = mach.bucket_table(np.arange(k), b, models * r, seed=1)
    for rows in table.reshape(models, r, k):
        in_bucket = [shares[row == row[0]].sum() for row in rows]
        estimates.append(b / (b - 1) * (np.mean(in_bucket) - 1 / b))
    p = mach.plan(k, 1, num_buckets=b, num_repetitions=r, class_distribution=1)
    # Fourth moments are not far from a normal's: a deviation of sqrt(2 / models).
    assert np.var(estimates) == pytest.approx(p.variance, rel=4 * math.sqrt(3 / models))
    assert abs(np.mean(estimates) - shares[0]) < 4 * math.sqrt(p.variance / models)


def meets(
    k: int, r: int, b: int, delta: float, others: float, max_variance: float
) -> bool:
    if min(1, Fraction(k * (k - 1), 2 * b**r)) > Fraction(delta):
        return False
    return others / (r * (b - 1)) <= max_variance


GRID = [
    {"k": k, "delta": delta, "snr": snr}
    for k in (10, 159, 983, 5000)
    for delta in (1.0, 0.5, 0.01, 1e-6)
    for snr in (None, 2.0, 10.0)
]


def targets_of(case: dict[str, Any]) -> tuple[dict[str, Any], float, float]:
    """Returns arguments, the other classes' squares, and the largest variance."""
    others = 0.25 / (case["k"] - 1)
    arguments = {
        "max_indistinguishable_probability": case["delta"],
        "min_snr": case["snr"],
        "heavy_hitter_probability": 0.5,
    }
    return arguments, others, (0.5 / case["snr"]) ** 2 if case["snr"] else math.inf


@pytest.mark.parametrize("case", GRID, ids=str)
@pytest.mark.parametrize("max_outputs", [7, 40, 150, 400, 2000])
def test_choice_within_a_budget(case: dict[str, Any], max_outputs: int) -> None:
    arguments, others, max_variance = targets_of(case)
    k = case["k"]
    allowed = [
        (r, -b)
        for r in range(4, max_outputs // 2 + 1)
        for b in range(2, max_outputs // r + 1)
        if meets(k, r, b, case["delta"], others, max_variance)
    ]
    arguments["parameter_budget"] = max_outputs * 65 + 64
    if not allowed:
        with pytest.raises(ValueError, match="no B and R within it have"):
            mach.plan(k, 64, **arguments)
        return
    p = mach.plan(k, 64, **arguments)
    assert (p.num_repetitions, -p.num_buckets) == min(allowed)
    assert p.parameters <= arguments["parameter_budget"]
    assert p.indistinguishable_bound <= case["delta"]
    assert case["snr"] is None or p.snr >= case["snr"] * (1 - 1e-15)


@pytest.mark.parametrize("case", GRID, ids=str)
def test_choice_by_targets(case: dict[str, Any]) -> None:
    arguments, others, max_variance = targets_of(case)
    k = case["k"]
    least = {}
    for r in range(4, 100):
        least[r] = next(
            b
            for b in itertools.count(2)
            if meets(k, r, b, case["delta"], others, max_variance)
        )
    saving = [r for r, b in least.items() if r * b < k]
    r = saving[0] if saving else min(least, key=lambda r: r * least[r])
    p = mach.plan(k, 64, **arguments)
    assert (p.num_repetitions, p.num_buckets) == (r, least[r])
    assert p.costs_more_than_softmax == (not saving)


def test_a_budget_that_is_too_small_names_what_would_do() -> None:
    # 4 repetitions need B = 84 = ceil((983 * 982 / 2 / 0.01) ** (1/4)); more
    # repetitions need fewer outputs, down to R = 18 of B = 3.
    with pytest.raises(ValueError, match="The smallest head that does has") as caught:
        mach.plan(983, 9, parameter_budget=400, max_indistinguishable_probability=0.01)
    least = min(
        (r * b, r, b)
        for r in range(4, 60)
        for b in range(2, 100)
        if meets(983, r, b, 0.01, 0, 0)
    )
    assert f"R = {least[1]} and B = {least[2]}: {least[0] * 10} parameters" in str(
        caught.value
    )
    enough = mach.plan(983, 9, parameter_budget=least[0] * 10)
    assert (enough.num_repetitions, enough.num_buckets) == least[1:]


def test_budgets_mean_the_same() -> None:
    plans = {
        mach.plan(1000, 9, parameter_budget=4000),
        mach.plan(1000, 9, softmax_share=0.4),
        mach.plan(1000, 9, byte_budget=16_000),
    }
    assert len(plans) == 1
    assert plans.pop().num_buckets == 100
    adam = mach.plan(1000, 9, byte_budget=48_000, optimizer_slots=2)
    assert adam.num_buckets == 100
    assert adam.training_bytes == 48_000
    assert mach.plan(1000, 9, byte_budget=8_000, dtype="float16").num_buckets == 100


def test_standard_deviation_and_snr_are_one_target() -> None:
    def choose(**target: float) -> mach.Plan:
        return mach.plan(10_000, 8, class_distribution=1.2, **target)

    by_noise = choose(max_standard_deviation=0.003)
    by_snr = choose(min_snr=by_noise.heavy_hitter_probability / 0.003)
    assert by_noise == by_snr
    assert by_noise.standard_deviation <= 0.003
    smaller = mach.plan(
        10_000,
        8,
        num_buckets=by_noise.num_buckets - 1,
        num_repetitions=4,
        class_distribution=1.2,
    )
    assert by_noise.num_repetitions == 4
    assert smaller.standard_deviation > 0.003


def test_fixed_buckets_or_repetitions() -> None:
    # R is what the budget gives, 159 / 2 / 10, or what the target needs.
    assert mach.plan(100, 1, num_buckets=10, parameter_budget=159).num_repetitions == 7
    by_target = mach.plan(
        10_000, 1, num_buckets=10, max_indistinguishable_probability=0.01
    )
    assert by_target.num_repetitions == 10  # 5e7 / 10^R <= 0.01
    noisy = mach.plan(
        10_000, 1, num_buckets=11, min_snr=20, heavy_hitter_probability=0.5
    )
    # The deviation is 0.025: R >= 0.25 / 9999 / 10 / 0.025^2, less than the target.
    assert noisy.num_repetitions == 10
    quiet = mach.plan(100, 1, num_buckets=11, min_snr=20, heavy_hitter_probability=0.2)
    # 0.64 / 99 / 10 / 0.01^2 = 6.46
    assert quiet.num_repetitions == 7
    fixed = mach.plan(1000, 1, num_repetitions=8, softmax_share=0.1)
    assert (fixed.num_repetitions, fixed.num_buckets) == (8, 12)
    assert mach.plan(1000, 1, num_repetitions=8, min_snr=1e-6).num_buckets == 10
    with pytest.raises(ValueError, match="with exactly 2 repetitions"):
        mach.plan(1000, 1, num_repetitions=2, softmax_share=0.1)
    with pytest.raises(ValueError, match="at least 4 repetitions of 50 buckets"):
        mach.plan(1000, 1, num_buckets=50, softmax_share=0.1)
    with pytest.raises(ValueError, match="Raise `num_repetitions` or relax"):
        mach.plan(10**6, 1, num_repetitions=1, min_snr=1)


@pytest.mark.parametrize(
    "target",
    ["min_snr", "max_standard_deviation", "max_indistinguishable_probability"],
)
@pytest.mark.parametrize("number", [np.float16, np.float32, np.float64])
def test_targets_of_numpy_are_those_of_python(target: str, number: Any) -> None:
    value = number(0.25)
    found = mach.plan(100_000, 16, **{target: value})
    assert found == mach.plan(100_000, 16, **{target: 0.25})


@pytest.mark.parametrize("integer", [np.int16, np.int32, np.int64, np.uint64])
def test_integers_of_numpy_are_those_of_python(integer: Any) -> None:
    sizes = {"num_buckets": 30_000, "num_repetitions": 32}
    plan = mach.plan(10**6, 1024, **{k: integer(v) for k, v in sizes.items()})
    # 30,000^32 is far beyond 64 bits, and the bytes beyond 32.
    assert plan.expected_indistinguishable_pairs == pytest.approx(
        float(Fraction(math.comb(10**6, 2), 30_000**32))
    )
    assert plan.bytes == 30_000 * 32 * 1025 * 4
    assert plan == mach.plan(10**6, 1024, **sizes)
    assert mach.plan(
        1000, 16, min_repetitions=integer(4), softmax_share=0.5
    ) == mach.plan(1000, 16, softmax_share=0.5)


def test_few_repetitions_unless_more_are_needed() -> None:
    assert mach.plan(60_416, 64, softmax_share=1 / 4).num_repetitions == 4
    assert mach.plan(983, 64, parameter_budget=400 * 65).num_buckets == 100
    # B = 77 of 4 would leave pairs with a probability of 0.0137.
    assert mach.plan(983, 64, parameter_budget=308 * 65).num_repetitions == 5
    # 482653 / 294^3 = 0.019, and 482653 / 442^2 > 1.
    fewer = mach.plan(
        983,
        64,
        softmax_share=0.9,
        min_repetitions=2,
        max_indistinguishable_probability=0.02,
    )
    assert (fewer.num_repetitions, fewer.num_buckets) == (3, 294)


@pytest.mark.parametrize(
    ("b", "r", "costs_more", "words"),
    [
        (100, 10, True, "MACH costs 1 times the full softmax: R B = 1,000 >= K = 1,0"),
        (500, 6, True, "costs 3 times the full softmax: R B = 3,000 >= K = 1,000. Use"),
        (111, 9, False, "MACH is 1 times smaller."),
        (10, 4, False, "MACH is 25 times smaller."),
    ],
)
def test_says_when_the_softmax_is_cheaper(
    b: int, r: int, costs_more: bool, words: str
) -> None:
    p = mach.plan(1000, 64, num_buckets=b, num_repetitions=r)
    assert p.costs_more_than_softmax == costs_more
    assert words in str(p)


def test_printed_plan() -> None:
    p = mach.plan(
        49_500_000,
        256,
        num_buckets=20_000,
        num_repetitions=32,
        optimizer_slots=2,
        class_distribution=1.0,
    )
    print(p)
    lines = str(p).splitlines()
    assert lines[0] == "MACH with R = 32 repetitions of B = 20,000 buckets"
    assert all(len(line) <= 88 and line == line.rstrip() for line in lines)
    # One column of names and two of numbers, flush to the right.
    assert {len(line) for line in lines[3:9]} == {78}
    text = str(p)
    assert "164,480,000" in text
    assert "658 MB" in text  # 4 bytes of 640,000 * 257
    assert "1.97 GB" in text  # with Adam's two
    assert "50.9 GB" in text
    assert "3.17 GB" in text  # 2 bytes * 32 * 49.5M
    assert "classes Zipf, exponent 1" in text
    # ln(49.5M) + 0.5772 = 18.295, whose inverse is the first class's share.
    assert "0.0547" in text


def test_units() -> None:
    assert str(mach.plan(10, 1, num_buckets=2, num_repetitions=1)).count("16 B") == 1
    assert "999 kB" in str(mach.plan(10, 249, num_buckets=999, num_repetitions=1))
    # 999.96 MB is 1 GB at three digits.
    assert " 1 GB" in str(mach.plan(10, 249, num_buckets=999_960, num_repetitions=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`plan` needs something to choose by"),
        ({"num_buckets": 10}, "`plan` needs something to choose by"),
        ({"num_classes": 1}, "`num_classes` must be an integer of at least 2"),
        ({"num_classes": 1e6}, "`num_classes` must be an integer.*1000000.0"),
        ({"embedding_dim": 0}, "`embedding_dim` must be an integer"),
        ({"num_buckets": 1}, "`num_buckets` must be an integer of at least 2 and at"),
        ({"num_buckets": 2**31}, "`num_buckets` must be .* at most 2,147,483,647"),
        ({"num_repetitions": 0}, "`num_repetitions` must be an integer"),
        ({"min_repetitions": 0}, "`min_repetitions` must be an integer"),
        ({"optimizer_slots": -1}, "`optimizer_slots` must be an integer of at least 0"),
        ({"dtype": "int8"}, "`dtype` must be one of .*'float16'.*'int8'"),
        ({"parameter_budget": 0.5}, "`parameter_budget` must be an integer"),
        ({"byte_budget": -5}, "`byte_budget` must be an integer"),
        ({"softmax_share": 1.5}, "`softmax_share` is a share"),
        ({"softmax_share": "1/4"}, "`softmax_share` is a share"),
        ({"softmax_share": 0.5, "byte_budget": 9}, "one budget, .*'byte_budget'"),
        ({"min_snr": 0}, "`min_snr` must be positive and finite"),
        ({"min_snr": "3"}, "`min_snr` must be positive and finite"),
        ({"max_standard_deviation": math.inf}, "`max_standard_deviation` must be pos"),
        (
            {"max_indistinguishable_probability": 0},
            r"`max_indistinguishable_probability` must be in \(0, 1\]",
        ),
        (
            {"max_indistinguishable_probability": 1.1},
            r"`max_indistinguishable_probability` must be in \(0, 1\]",
        ),
        (
            {"num_buckets": 10, "num_repetitions": 2, "softmax_share": 0.5},
            "leave nothing to choose",
        ),
        (
            {"num_buckets": 10, "num_repetitions": 2, "min_snr": 2},
            "leave nothing to choose",
        ),
        ({"softmax_share": 0.5, "class_distribution": "zipf"}, "`class_distribution`"),
        ({"parameter_budget": 10}, "The budget allows 0 outputs"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mach.plan(**{"num_classes": 1000, "embedding_dim": 64, **arguments})
