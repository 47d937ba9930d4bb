"""Summaries of streams against exact counts."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.analysis import (
    CountMinSketch,
    DistinctSample,
    HeavyHitters,
    IdSketch,
    compare_ids,
    retraining_age,
    sketch_ids,
)
from tfrs_dhe.analysis.count_min_sketch import mixed


def zipf_stream(num_ids: int, exponent: float, length: int, seed: int = 0) -> Any:
    shares = np.arange(1, num_ids + 1.0) ** -exponent
    rng = np.random.default_rng(seed)
    return rng.choice(num_ids, size=length, p=shares / shares.sum())


STREAM = zipf_stream(20_000, 1.0, 200_000)
EXACT = Counter(STREAM.tolist())


def test_keys_are_mixed_as_in_graphs() -> None:
    keys = np.array([0, 1, -1, 2**62, -(2**63)])
    expected = hashing.mix_keys(tf.bitcast(tf.constant(keys), tf.uint64)).numpy()
    assert mixed(keys).tolist() == expected.tolist()


def test_count_min_is_never_too_small_and_rarely_too_large() -> None:
    sketch = CountMinSketch(width=2000, depth=4)
    for part in np.array_split(STREAM, 7):
        sketch.update(part)
    keys = np.array(sorted(EXACT))
    errors = sketch.estimate(keys) - [EXACT[key] for key in keys.tolist()]
    assert sketch.num_occurrences == len(STREAM)
    assert errors.min() >= 0
    assert sketch.error_bound == math.e * len(STREAM) / 2000
    # Each id exceeds the bound with a probability of at most e^-4: so many do on the
    # average, and more than twice as many with a probability of at most 1/2 (Markov).
    assert np.mean(errors > sketch.error_bound) <= 2 * math.exp(-4)


def test_count_min_merges_as_if_it_had_seen_all() -> None:
    whole, first, second = (CountMinSketch(500, 3, seed=9) for _ in range(3))
    whole.update(STREAM)
    first.update(STREAM[:70_000])
    second.update(*np.unique(STREAM[70_000:], return_counts=True))
    first.merge(second)
    assert np.array_equal(first.counters, whole.counters)
    with pytest.raises(ValueError, match=r"same width, depth and seed.*\(500, 3, 1\)"):
        first.merge(CountMinSketch(500, 3, seed=1))


@pytest.mark.parametrize("order", ["random", "ascending", "rare_first"])
def test_heavy_hitters_keep_every_frequent_id(order: str) -> None:
    stream = {
        "random": STREAM,
        "ascending": np.sort(STREAM),
        "rare_first": np.sort(STREAM)[::-1],
    }[order]
    hitters = HeavyHitters(capacity=200)
    for part in np.array_split(stream, 23):
        hitters.update(part, part)
    counted = dict(zip(hitters.ids(), hitters.counts.tolist(), strict=True))
    assert len(counted) <= 200
    assert hitters.error <= len(stream) / 201
    for key, true in EXACT.items():
        assert counted.get(key, 0) <= true <= counted.get(key, 0) + hitters.error
    assert {key for key, n in EXACT.items() if n > len(stream) / 201} <= set(counted)


def test_merged_heavy_hitters_keep_their_promise() -> None:
    first, second = HeavyHitters(100), HeavyHitters(100)
    first.update(STREAM[:50_000], STREAM[:50_000])
    second.update(STREAM[50_000:], STREAM[50_000:])
    first.merge(second)
    counted = dict(zip(first.ids(), first.counts.tolist(), strict=True))
    assert first.error <= len(STREAM) / 101
    for key, true in EXACT.items():
        assert counted.get(key, 0) <= true <= counted.get(key, 0) + first.error


def test_distinct_sample_is_exact_while_it_holds_all() -> None:
    sample = DistinctSample(capacity=len(EXACT))
    for part in np.array_split(STREAM, 5):
        sample.update(part)
    held = dict(zip(sample.keys.tolist(), sample.counts.tolist(), strict=True))
    assert held == dict(EXACT)
    assert (sample.level, sample.num_ids_error) == (0, 0)


def test_distinct_sample_counts_what_it_holds_exactly() -> None:
    sample = DistinctSample(capacity=1000)
    for part in np.array_split(STREAM, 5):
        sample.update(part)
    assert 500 - 100 < len(sample.keys) <= 1000
    for key, count in zip(sample.keys.tolist(), sample.counts.tolist(), strict=True):
        assert EXACT[key] == count
    assert abs(sample.num_ids - len(EXACT)) < 4 * sample.num_ids_error


def test_distinct_estimates_have_no_bias_and_the_stated_error() -> None:
    keys = np.arange(10_000)
    estimates, stated = [], []
    for seed in range(100):
        sample = DistinctSample(capacity=500, seed=seed)
        sample.update(keys)
        estimates.append(sample.num_ids)
        stated.append(sample.num_ids_error)
    # The mean of 100 lies within 4 standard errors, their spread within those of a
    # chi-squared distribution of 99 degrees of freedom (0.1 % on either side).
    assert abs(np.mean(estimates) - 10_000) < 4 * np.mean(stated) / 10
    assert 61 < 99 * np.var(estimates) / np.mean(np.square(stated)) < 149


def test_merged_samples_are_that_of_the_whole() -> None:
    whole, first, second = (DistinctSample(800, seed=4) for _ in range(3))
    whole.update(STREAM)
    first.update(STREAM[:1000])
    second.update(STREAM[1000:])
    first.merge(second)
    assert first.level == whole.level
    assert np.array_equal(first.keys, whole.keys)
    assert np.array_equal(first.counts, whole.counts)


def test_growth_is_the_number_of_ids_so_far() -> None:
    growth = sketch_ids(tf.data.Dataset.from_tensor_slices(STREAM)).growth
    assert len(growth) >= 20
    assert growth[-1] == (len(STREAM), len(EXACT))
    for occurrences, ids in growth:
        assert ids == len(np.unique(STREAM[:occurrences]))
    sampled = sketch_ids(STREAM, capacity=2000).growth
    for (_, exact), (_, estimate) in zip(growth, sampled, strict=True):
        # Every 16th id is held at the end, more before: 4 standard errors.
        assert abs(estimate - exact) < 4 * np.sqrt(16 * exact)


STRINGS = [b"a", b"\xff", b"", "häuser".encode(), b"a"]


@pytest.mark.parametrize(
    "ids",
    [
        STREAM[:5000],
        STREAM[:5000].reshape(50, 100),
        tf.data.Dataset.from_tensor_slices(STREAM[:5000]),
        tf.data.Dataset.from_tensor_slices(STREAM[:5000]).batch(300),
        tf.RaggedTensor.from_row_lengths(tf.constant(STREAM[:5000]), [4000, 0, 1000]),
        tf.data.Dataset.from_tensor_slices(STREAM[:5000]).ragged_batch(70),
    ],
)
def test_streams_of_any_form_are_one(ids: Any) -> None:
    sketch = sketch_ids(ids)
    exact = Counter(STREAM[:5000].tolist())
    assert sketch.num_occurrences == 5000
    assert dict(
        zip(sketch.sample.keys.tolist(), sketch.sample.counts.tolist(), strict=True)
    ) == dict(exact)


@pytest.mark.parametrize("ids", [STRINGS, [3, -1, 3]])
def test_saved_sketches_go_on(tmp_path: Path, ids: list[Any]) -> None:
    sketch = IdSketch(capacity=100, num_heavy_hitters=3, width=64, seed=2**63).update(
        ids
    )
    sketch.save(tmp_path / "new folder" / "sketch.npz")
    loaded = IdSketch.load(tmp_path / "new folder" / "sketch.npz").update(ids)
    once = IdSketch(capacity=100, num_heavy_hitters=3, width=64, seed=2**63)
    once.update(ids).update(ids)
    assert loaded.heavy.ids() == once.heavy.ids()
    assert loaded.heavy.counts.tolist() == once.heavy.counts.tolist()
    assert loaded.heavy.error == once.heavy.error
    assert np.array_equal(loaded.sample.counts, once.sample.counts)
    assert np.array_equal(loaded.counts.counters, once.counts.counters)
    assert loaded.growth == once.growth


def test_large_ids_are_saved(tmp_path: Path) -> None:
    unsigned = np.array([2**64 - 1, 2**64 - 1, 2**63, 2**63 - 1, 0], np.uint64)
    sketch = IdSketch().update(unsigned).update(np.array([-2, -(2**63) + 1] * 3))
    sketch.save(tmp_path / "sketch.npz")
    loaded = IdSketch.load(tmp_path / "sketch.npz").heavy.ids()
    assert loaded == sketch.heavy.ids()
    assert set(loaded) == {*unsigned.tolist(), -2, -(2**63) + 1}


def test_merged_sketches_are_that_of_the_whole() -> None:
    whole, first, second = (IdSketch(capacity=500) for _ in range(3))
    whole.update(STREAM)
    first.update(STREAM[:90_000]).merge(second.update(STREAM[90_000:]))
    assert first.num_occurrences == whole.num_occurrences
    assert np.array_equal(first.sample.counts, whole.sample.counts)
    assert np.array_equal(first.counts.counters, whole.counts.counters)


@pytest.mark.parametrize(
    ("ids", "mask", "counted"),
    [(STRINGS, "", 4), (STRINGS, "a", 3), ([[1, 0], [0, 0]], 0, 1)],
)
def test_padding_is_not_counted(ids: Any, mask: Any, counted: int) -> None:
    assert sketch_ids(ids, mask_value=mask).num_occurrences == counted


@pytest.mark.parametrize(
    ("ids", "arguments", "message"),
    [
        ([1.5], {}, "`ids` must be strings or integers"),
        ([], {}, "must be strings or integers|at least one"),
        (np.zeros(0, np.int64), {}, "`ids` must be at least one"),
        (["a"], {"mask_value": 0}, "`mask_value` must be of the type of the ids"),
        (["a"], {"capacity": 0}, "`capacity` must be a positive integer. Received: 0"),
        (["a"], {"num_heavy_hitters": 0}, "`capacity` must be a positive integer"),
        (["a"], {"width": 1}, "`width` must be an integer from 2"),
        (["a"], {"depth": 0}, "`depth` must be a positive integer"),
        (["a"], {"seed": -1}, "`seed` must be an integer"),
        (
            tf.data.Dataset.from_tensors({"user": 1}),
            {},
            "choose the feature by `map`",
        ),
    ],
)
def test_errors_name_the_argument(ids: Any, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sketch_ids(ids, **arguments)


def state(sketch: IdSketch) -> dict[str, Any]:
    """Returns all that a sketch has."""
    return {
        "counters": sketch.counts.counters.tolist(),
        "sample": [sketch.sample.keys.tolist(), sketch.sample.counts.tolist()],
        "heavy": [sketch.heavy.ids(), sketch.heavy.counts.tolist(), sketch.heavy.error],
        "growth": list(sketch.growth),
        "num_occurrences": sketch.num_occurrences,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"capacity": 7},
        {"num_heavy_hitters": 7},
        {"width": 7},
        {"depth": 7},
        {"seed": 7},
        {"mask_value": 7},
    ],
)
def test_a_merge_that_is_refused_changes_nothing(arguments: Any) -> None:
    sketch, other = IdSketch().update([1, 2, 7]), IdSketch(**arguments).update([2, 3])
    before = state(sketch)
    with pytest.raises(ValueError, match=f"`other` must .*'{next(iter(arguments))}'"):
        sketch.merge(other)
    assert state(sketch) == before


def test_strings_and_integers_are_not_mixed(tmp_path: Path) -> None:
    for first, second, kind in (
        ([7, 8], ["7"], "integers"),
        (["7", "8"], [7], "strings"),
    ):
        sketch = IdSketch().update(first)
        before = state(sketch)
        with pytest.raises(ValueError, match=f"`ids` must be {kind}, as the ids bef"):
            sketch.update(second)
        with pytest.raises(ValueError, match=f"`other` must be {kind}"):
            sketch.merge(IdSketch().update(second))
        with pytest.raises(ValueError, match=f"`live` must be {kind}, as `reference`"):
            compare_ids(first, second)
        with pytest.raises(ValueError, match="`windows` must all be of strings or"):
            retraining_age([first, second])
        assert state(sketch) == before
        sketch.save(tmp_path / "a.npz")
        assert state(IdSketch.load(tmp_path / "a.npz")) == before
    assert IdSketch().kind is None


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    IdSketch().update(STREAM).save(path)
    whole = path.read_bytes()
    contents = [whole[: len(whole) * part // 10] for part in range(10)]
    contents += [b"user item\n1 2\n", whole[:100] + b"x" * 1000 + whole[1100:]]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"`path` must be a whole .*other\.npz"):
            IdSketch.load(path)
    for arrays in ({"a": np.zeros(1)}, {"format": np.array("abc")}):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=r"`path` must be a whole .*other\.npz"):
            IdSketch.load(path)
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match=r"`path` must be a whole .*other\.npz"):
        IdSketch.load(path)
    with pytest.raises(FileNotFoundError):
        IdSketch.load(tmp_path / "none.npz")
