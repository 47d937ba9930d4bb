"""Descriptions of streams whose distribution is known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analysis.pictures import assert_picture
from tests.analysis.test_sketches import zipf_stream
from tfrs_dhe import mach
from tfrs_dhe.analysis import describe_ids, size_models, sketch_ids
from tfrs_dhe.analysis.zipf import fit_zipf


def test_figures_by_hand() -> None:
    # 4 ids: 5, 3, 1 and 1 occurrences.
    d = describe_ids(["a"] * 5 + ["b"] * 3 + ["c", "d"])
    assert (d.num_occurrences, d.num_ids, d.num_ids_error) == (10, 4, 0)
    assert d.is_exact
    assert (d.num_singletons, d.singleton_share) == (2, 0.5)
    assert d.new_id_probability == 0.2
    assert [d.head_coverage(n) for n in (1, 2, 3, 4, 9)] == [0.5, 0.8, 0.9, 1, 1]
    assert [d.ids_for_coverage(s) for s in (0.1, 0.5, 0.51, 0.8, 0.9, 1)] == [
        1, 1, 2, 2, 3, 4,
    ]  # fmt: skip
    assert [d.num_heavy_hitters(s) for s in (0.5, 0.3, 0.1)] == [1, 2, 4]
    assert d.counts().tolist() == [5, 3, 1, 1]
    assert [(f.id, f.least, f.most) for f in d.frequent_ids[:2]] == [
        (b"a", 5, 5),
        (b"b", 3, 3),
    ]
    # - (-t)^1 2 - (-t)^3 1 - (-t)^5 1 for t = 1/2.
    new, error = d.expected_new_ids(0.5)
    assert new == pytest.approx(1 + 1 / 8 + 1 / 32)
    assert error == pytest.approx(math.sqrt(2 / 4 + 1 / 64 + 1 / 1024))
    assert "distinct ids" in str(d)
    assert "  a: 5" in str(d)


def test_counts_of_any_size_take_no_memory() -> None:
    sketch = sketch_ids([1, 1, 2])
    part = sketch_ids([1, 1, 1])
    for _ in range(40):  # 3 2^40 - 3 more of id 1
        sketch.merge(part)
        part.merge(part)
    d = describe_ids(sketch)
    assert (d.num_occurrences, d.num_singletons) == (3 * 2**40, 1)
    assert d.counts().tolist() == [3 * 2**40 - 1, 1]
    # - (-t) 1 - (-t)^j for an odd j beyond any power of a half, and for t = 1.
    assert d.expected_new_ids(0.5) == (0.5, 0.5)
    assert d.expected_new_ids(1) == (2, math.sqrt(2))
    assert "distinct ids" in str(d)


def test_spectrum_is_how_many_ids_occur_how_often() -> None:
    d = describe_ids(["a"] * 5 + ["b"] * 3 + ["c", "d"])
    assert d.spectrum.tolist() == [2, 0, 1, 0, 1]
    d = describe_ids(["a", "a", "b", "b"])
    assert (d.spectrum.tolist(), d.num_singletons) == ([0, 2], 0)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.4])
def test_zipf_exponent_is_found_again(exponent: float) -> None:
    stream = zipf_stream(1000, exponent, 500_000, seed=3)
    fit = describe_ids(stream).zipf
    assert abs(fit.exponent - exponent) < 4 * fit.standard_error
    assert fit.standard_error < 0.01
    assert fit.gap < 0.005


def test_zipf_counts_without_noise_are_fitted_exactly() -> None:
    counts = 1e9 * np.arange(1, 2001) ** -0.8
    fit = fit_zipf(counts)
    assert fit.exponent == pytest.approx(0.8, abs=1e-9)
    assert fit.gap < 1e-9


def test_what_is_no_zipf_law_has_a_gap() -> None:
    # Half of the occurrences on ten ids, the rest flat.
    counts = np.concatenate([np.full(10, 5000), np.full(1000, 50)])
    assert fit_zipf(counts).gap > 0.1
    assert fit_zipf(np.full(100, 70)).exponent == pytest.approx(0, abs=1e-9)
    nothing = fit_zipf(np.array([500, 3, 1]))
    assert math.isnan(nothing.exponent)
    assert str(nothing) == "no Zipf fit: 1 ids occur 10 times or more"


def test_estimates_of_a_sampled_stream() -> None:
    stream = zipf_stream(50_000, 1.0, 400_000)
    counts = np.sort(np.unique(stream, return_counts=True)[1])[::-1]
    d = describe_ids(sketch_ids(stream, capacity=8192))
    assert not d.is_exact
    assert abs(d.num_ids - len(counts)) < 4 * d.num_ids_error
    # Of the ids in the sample, a binomial number is singletons.
    held = d.num_ids / d.sampling_weight
    true = np.mean(counts == 1)
    assert abs(d.singleton_share - true) < 4 * math.sqrt(true * (1 - true) / held)
    for size in (1, 10, 100):  # by name, so to within the bounds of their counts
        slack = sum(f.most - f.least for f in d.frequent_ids[:size])
        exact = counts[:size].sum()
        assert abs(d.head_coverage(size) * len(stream) - exact) <= slack
    assert abs(d.head_coverage(5000) - counts[:5000].sum() / len(stream)) < 0.02
    assert d.head_coverage(10**6) == pytest.approx(1)
    assert sum(d.counts()) == pytest.approx(len(stream), rel=1e-3)


@pytest.mark.parametrize("capacity", [2**16, 4096])
def test_expected_growth_against_what_came(capacity: int) -> None:
    stream = zipf_stream(100_000, 0.9, 400_000, seed=5)
    d = describe_ids(stream[:200_000], capacity=capacity)
    for factor in (0.1, 0.5, 1.0):
        later = stream[200_000 : 200_000 + int(200_000 * factor)]
        came = len(np.setdiff1d(later, stream[:200_000]))
        expected, error = d.expected_new_ids(factor)
        assert abs(came - expected) < 4 * error + 4 * math.sqrt(came)
        assert error < expected / 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.head_coverage(0), "`num_ids` must be positive"),
        (lambda d: d.ids_for_coverage(0), "`share` must be in"),
        (lambda d: d.expected_new_ids(1.5), "`factor` must be in"),
        (lambda d: describe_ids(sketch_ids([1]), capacity=5), "takes no arguments"),
        (
            lambda d: describe_ids(np.arange(1000), capacity=1),
            "`capacity` must be large enough .* Received: 1, and of 1,000 occ",
        ),
        (lambda d: size_models(d, 0), "`embedding_dim` must be a positive integer"),
        (lambda d: size_models(d, 8, coverage=2), "`share` must be in"),
        (lambda d: size_models(d, 8, table_share=2), "`parameter_budget`"),
        (lambda d: size_models(describe_ids([1]), 8), "at least two ids"),
    ],
)
def test_errors_name_the_argument(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(describe_ids([1, 2, 2]))


def test_sizes_follow_from_the_counts(tmp_path: Path) -> None:
    stream = zipf_stream(5000, 1.0, 300_000)
    d = describe_ids(stream)
    sizes = size_models(d, 32)
    counts = np.unique(stream, return_counts=True)[1]
    assert sizes.plan == mach.plan(
        len(counts), 32, softmax_share=0.25, class_distribution=np.sort(counts)[::-1]
    )
    floor = 2 * sizes.plan.standard_deviation * len(stream)
    assert sizes.num_standing_out == np.count_nonzero(counts >= floor)
    assert 0 < sizes.num_standing_out < len(counts)
    ascending = np.sort(counts)[::-1].cumsum()
    assert ascending[sizes.num_rows - 1] >= 0.9 * len(stream)
    assert ascending[sizes.num_rows - 2] < 0.9 * len(stream)
    budget = 0.25 * len(counts) * 32
    assert sizes.network is not None
    assert 0.95 * budget <= sizes.network.parameters <= budget
    assert "Rows worth materializing" in str(sizes)
    assert_picture(sizes.plot(tmp_path / "sizes"), "MB of rows")


def test_network_has_the_parameters_that_the_layer_would_have() -> None:
    from tfrs_dhe.layers import DeepHashEmbedding

    size = size_models(describe_ids(zipf_stream(20_000, 1.0, 100_000)), 16).network
    assert size is not None
    layer = DeepHashEmbedding(
        16, list(size.hidden_dims), num_hidden_layers=3, num_hashes=256
    )
    layer(np.array([1]), training=False)
    assert layer.count_params() == size.parameters


def test_what_does_not_fit_says_why() -> None:
    sizes = size_models(describe_ids([1, 1, 2, 3]), 4)
    assert sizes.plan is None
    assert sizes.network is None
    assert "The budget allows 0 outputs" in str(sizes)
    assert "`parameter_budget`" in str(sizes)


def test_pictures(tmp_path: Path) -> None:
    d = describe_ids(zipf_stream(1000, 1.0, 20_000))
    assert_picture(d.plot(tmp_path / "ids.png"), "rank of the id", "distinct ids")


def test_no_estimate_of_growth_where_rare_ids_were_left_out(tmp_path: Path) -> None:
    # Good and Toulmin's series is -(-1)^10 * 100 here: as many ids fewer.
    d = describe_ids(np.repeat(np.arange(100), 10))
    assert d.expected_new_ids(1.0) == (-100, 10)
    for words in ("10% more", "twice the"):
        said = dict(d.figures())[f"new ids with {words} occurrences"]
        assert said == "no estimate: rare ids were left out"
    assert_picture(d.plot(tmp_path / "a"), "Growth; no id occurs once: no estimate")
    # -(-t)^1 * 1 - (-t)^4 * 100: one new id for few more occurrences, -99 for twice.
    d = describe_ids(np.append(np.repeat(np.arange(100), 4), 100))
    assert dict(d.figures())["new ids with 10% more occurrences"] == "0 ± 0"
    assert dict(d.figures())["new ids with twice the occurrences"].startswith("no")
    assert_picture(d.plot(tmp_path / "b"), "expected (Good-Toulmin)")
