"""Sweeps whose best point follows from a formula."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.pictures import assert_picture
from tests.processes import ROOT
from tfrs_dhe.analysis import Sweep, SweepPoint, in_sample, sweep

CASES = str(ROOT / "tests" / "analysis" / "sweep_cases.py")


def test_grid_is_evaluated_in_processes(tmp_path: Path) -> None:
    result = sweep(
        f"{CASES}:evaluate", {"b": [10, 100], "r": [1, 4]}, tmp_path, data_share=0.5
    )
    found = {(p.settings["b"], p.settings["r"]): p for p in result.points}
    assert set(found) == {(10, 1), (10, 4), (100, 1), (100, 4)}
    for (b, r), point in found.items():
        assert point.quality == pytest.approx(0.5 * b * r / (b * r + 100))
        assert point.num_bytes == 4 * b * r
        assert point.figures["seconds"] >= 0
    assert len({p.figures["pid"] for p in result.points}) == 4


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    flag = str(tmp_path / "flag")
    grid = {"flag": [flag], "x": [0, 1, 2]}
    with pytest.raises(RuntimeError, match=r"1 of 3 points failed(.|\n)*disk is full"):
        sweep(f"{CASES}:fail_until_told", grid, tmp_path / "runs")
    Path(flag).touch()
    result = sweep(f"{CASES}:fail_until_told", grid, tmp_path / "runs")
    assert [p.quality for p in result.points] == [0, 1, 2]
    calls = [Path(f"{flag}.{x}").read_text() for x in range(3)]
    assert calls == [".", "..", "."]
    # A larger grid takes over what is there.
    sweep(f"{CASES}:fail_until_told", {**grid, "x": [2, 3]}, tmp_path / "runs")
    assert Path(f"{flag}.2").read_text() == "."
    # Another part of the data is another point.
    sweep(
        f"{CASES}:fail_until_told",
        {**grid, "x": [3]},
        tmp_path / "runs",
        data_share=0.5,
    )
    assert Path(f"{flag}.3").read_text() == ".."


def test_processes_run_at_a_time(tmp_path: Path) -> None:
    points = [
        {"folder": str(tmp_path), "me": 1, "other": 2},
        {"folder": str(tmp_path), "me": 2, "other": 1},
    ]
    result = sweep(f"{CASES}:rendezvous", points, tmp_path / "runs", processes=2)
    assert len(result.points) == 2


def points(rows: list[tuple[int, int, float]], **others: Any) -> Sweep:
    return Sweep(
        tuple(SweepPoint({"b": b, "r": r}, q, b * r, {}) for b, r, q in rows), **others
    )


def test_front_and_recommendation_by_hand() -> None:
    result = points([(1, 1, 0.2), (2, 1, 0.6), (3, 1, 0.5), (8, 1, 0.61), (9, 1, 0.61)])
    assert [one.settings["b"] for one in result.front] == [1, 2, 8]
    assert result.best.settings["b"] == 8
    assert result.recommended().settings["b"] == 2  # within .0122 of .61
    assert result.recommended(tolerance=0.01).settings["b"] == 8
    # Of equal memory, only the best one is on it.
    equal = points([(2, 1, 0.5), (1, 2, 0.6), (4, 1, 0.7), (2, 2, 0.65)])
    assert [one.quality for one in equal.front] == [0.6, 0.7]
    loss = points([(1, 1, 0.9), (2, 1, 0.5), (4, 1, 0.495)], higher_is_better=False)
    assert [one.settings["b"] for one in loss.front] == [1, 2, 4]
    assert loss.recommended().settings["b"] == 2
    equal = points([(2, 1, 0.6), (1, 2, 0.5)], higher_is_better=False)
    assert [one.quality for one in equal.front] == [0.5]


def test_seeds_are_repetitions() -> None:
    rows = [(1, 0, 0.50), (1, 1, 0.54), (4, 0, 0.55), (4, 1, 0.59)]
    result = Sweep(tuple(SweepPoint({"b": b, "seed": s}, q, b, {}) for b, s, q in rows))
    small, large = result.means
    assert (small.settings, small.num_seeds) == ({"b": 1}, 2)
    assert small.quality == pytest.approx(0.52)
    assert large.error == pytest.approx(0.02)
    # .57 - .52 is more than one standard error, .02, and than 2 %.
    assert result.recommended() == large
    assert result.recommended(tolerance=0.1) == small


def test_effects_by_hand() -> None:
    # Quality is b / 10 + r / 100, and a point of r = 3 has no counterpart.
    rows = [(b, r, b / 10 + r / 100) for b in (1, 2) for r in (1, 2)] + [(1, 3, 0.9)]
    by_name = {effect.setting: effect for effect in points(rows).effects}
    assert by_name["b"].values == (1, 2)
    assert by_name["b"].qualities == pytest.approx((0.115, 0.215))
    assert by_name["b"].spread == pytest.approx(0.1)
    assert by_name["r"].spread == pytest.approx(0.79)
    assert by_name["r"].values == (1, 2, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_what_diverged_is_left_out(value: float, higher_is_better: bool) -> None:
    rows = [(b, r, 0.1 * b + 0.01 * r) for b in (1, 2) for r in (1, 2)]
    finite = points(rows, higher_is_better=higher_is_better)
    # Of least, of middle and of most memory.
    diverged = [(0, 1, value), (0, 2, value), (3, 1, value), (3, 2, value)]
    result = points(rows + diverged, higher_is_better=higher_is_better)
    assert result.front == finite.front
    assert result.best == finite.best
    assert result.recommended() == finite.recommended()
    assert result.effects == finite.effects
    assert "Left out, without a finite quality: 4\n" in str(result)
    assert "Left out" not in str(finite)


def test_where_all_diverged_nothing_is_recommended(tmp_path: Path) -> None:
    result = points([(1, 1, math.nan), (2, 1, math.inf)])
    assert result.front == result.effects == ()
    for call in (result.recommended, lambda: result.plot(tmp_path / "a")):
        with pytest.raises(ValueError, match=r"`points` must .* finite.*\[nan, inf\]"):
            call()
    assert str(result).endswith("Left out, without a finite quality: 2")


def test_a_seed_that_diverged_leaves_its_settings_out() -> None:
    rows = [(1, 0, 0.5), (1, 1, math.nan), (2, 0, 0.4), (2, 1, 0.4)]
    result = Sweep(tuple(SweepPoint({"b": b, "seed": s}, q, b, {}) for b, s, q in rows))
    assert [one.settings for one in result.front] == [{"b": 2}]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_point_of_unknown_memory_hides_no_other(value: float) -> None:
    rows = [(1, 1000.0, 0.5), (2, value, 0.6), (3, 500.0, 0.55), (4, 2000.0, 0.7)]
    for order in itertools.permutations(rows):
        result = Sweep(tuple(SweepPoint({"b": b}, q, n, {}) for b, n, q in order))
        # b = 3 is better than b = 1, and smaller.
        assert [one.settings["b"] for one in result.front] == [3, 4]
        assert "Left out, without a finite memory: 1\n" in str(result)


def test_what_is_not_finite_is_kept_in_strict_json(tmp_path: Path) -> None:
    qualities = ["nan", "inf", "-inf"]
    result = sweep(f"{CASES}:parse", {"quality": qualities}, tmp_path)
    assert [str(p.quality) for p in result.points] == qualities

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for path in tmp_path.glob("*.json"):
        assert json.loads(path.read_text(), parse_constant=refuse)
    again = sweep(f"{CASES}:parse", {"quality": qualities}, tmp_path)
    assert [str(p.quality) for p in again.points] == qualities


def test_values_of_any_kind_are_told_apart(tmp_path: Path) -> None:
    qualities = {"[64, 64]": 0.5, "[32]": 0.4, "True": 0.3, "1": 0.2, "None": 0.1}
    values = [[64, 64], [32], True, 1, None]
    result = Sweep(
        tuple(SweepPoint({"h": v}, qualities[str(v)], 1000, {}) for v in values)
    )
    (effect,) = result.effects
    assert dict(zip(map(str, effect.values), effect.qualities, strict=True)) == (
        qualities
    )
    assert effect.spread == pytest.approx(0.4)
    assert_picture(result.plot(tmp_path / "a"), "h = [64, 64]", "h = True", "h = 1")


def test_seeds_alone_are_one_point(tmp_path: Path) -> None:
    result = Sweep(tuple(SweepPoint({"seed": s}, 0.1 * s, 10, {}) for s in range(3)))
    (one,) = result.front
    assert (one.quality, one.num_seeds) == (pytest.approx(0.1), 3)
    assert_picture(result.plot(tmp_path / "a"), "a point")


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [(999, "999 B"), (999_499, "999 kB"), (999_600, "1 MB"), (1.0004e6, "1 MB")],
)
def test_memory_in_words(num_bytes: float, words: str) -> None:
    result = Sweep((SweepPoint({"b": 1}, 0.5, num_bytes, {}),))
    assert str(result.best).endswith(f", {words}")


def test_samples_are_nested_and_of_their_size() -> None:
    ids = tf.constant([f"user_{i}" for i in range(20_000)])
    small, large = in_sample(ids, 0.1).numpy(), in_sample(ids, 0.4).numpy()
    assert abs(small.mean() - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 20_000)
    assert abs(large.mean() - 0.4) < 4 * math.sqrt(0.4 * 0.6 / 20_000)
    assert not (small & ~large).any()
    assert in_sample(ids, 1.0).numpy().all()
    other = in_sample(ids, 0.1, seed=1).numpy()
    both = np.mean(small & other)  # independent
    assert abs(both - 0.01) < 4 * math.sqrt(0.01 / 20_000)
    kept = tf.data.Dataset.from_tensor_slices(ids).filter(lambda i: in_sample(i, 0.1))
    assert len(list(kept)) == small.sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"evaluate": "module"}, "`evaluate` must be module:function"),
        ({"evaluate": "none.py:f"}, "`evaluate` must be .* of a file that is there"),
        ({"grid": []}, "`grid` must have at least one point"),
        ({"grid": {"x": []}}, "`grid` must have at least one point"),
        ({"grid": [{"x": 1}, {"y": 1}]}, "the same settings in each point"),
        ({"grid": {"x": "10"}}, r"a list of values.*Received: x = '10'"),
        ({"grid": {"x": [1, 2, 1]}}, r"each point once. Received twice: {'x': 1}"),
        ({"grid": [{"x": 1}, {"x": 1}]}, "each point once"),
        ({"grid": {"data_share": [0.1, 1.0]}}, "must not have the setting data_share"),
        ({"grid": {"x": [math.nan]}}, "values that JSON has.*x = nan"),
        ({"grid": {"x": [np.int64(1)]}}, "values that JSON has.*x = .*int64"),
        ({"data_share": 0}, r"`data_share` must be in \(0, 1\]"),
        ({"processes": 0}, "`processes` must be a positive integer"),
        ({"evaluate": f"{CASES}:nothing"}, r"`quality` and `bytes`.*without \['bytes'"),
    ],
)
def test_errors_name_the_argument(tmp_path: Path, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(
            **{
                "evaluate": f"{CASES}:evaluate",
                "grid": {"x": [1]},
                "directory": tmp_path,
                **arguments,
            }
        )
    with pytest.raises(ValueError, match=r"`share` must be in \(0, 1\]"):
        in_sample(tf.range(3), 1.5)


def test_text_and_picture(tmp_path: Path) -> None:
    result = points([(1, 1, 0.2), (2, 1, 0.6), (1, 2, 0.5), (2, 2, 0.61)])
    assert "Recommended: b = 2, r = 1" in str(result)
    assert_picture(
        result.plot(tmp_path / "a", quality="recall@20"), "recall@20", "recommended"
    )
    with pytest.raises(ValueError, match=r"`by` must be one of the settings"):
        result.plot(tmp_path / "b", by="k")
