"""New classes in heads whose scores are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.pictures import assert_picture
from tests.analysis.test_explanation import QUERY, identifiable, make_index
from tests.analysis.test_sketches import zipf_stream
from tfrs_dhe import mach
from tfrs_dhe._keras import keras
from tfrs_dhe.analysis import (
    ClassRanks,
    NewClassRanks,
    RankStages,
    borrow_buckets,
    rank_new_classes,
    retraining_age,
    sketch_ids,
)
from tfrs_dhe.layers import MACHHead, factorized_top_k


@pytest.mark.filterwarnings("ignore:.*have the same buckets")
def test_ranks_are_those_of_the_index() -> None:
    rng = np.random.default_rng(0)
    head = MACHHead(12, 3, embedding_dim=5, kernel_initializer="random_normal")
    index = factorized_top_k.MACH(head).index(np.arange(50))
    queries = rng.normal(size=[40, 5]).astype(np.float32)
    true = rng.integers(0, 50, size=40)
    batches = tf.data.Dataset.from_tensor_slices((queries, true)).batch(7)
    ranks = rank_new_classes(index, batches, trained_ids=np.arange(30), ks=(1, 5))
    scores, found = index(queries, k=50)
    scores, found = scores.numpy(), found.numpy()
    own = np.stack(
        [row[ids == t] for row, ids, t in zip(scores, found, true, strict=True)]
    )
    expected = 1 + (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2
    assert ranks.trained.ranks.tolist() == expected[true < 30].tolist()
    assert ranks.new.ranks.tolist() == expected[true >= 30].tolist()
    assert ranks.new.recall(5) == np.mean(expected[true >= 30] <= 5)
    assert ranks.new.median == np.median(expected[true >= 30])
    assert ranks.new.percentile == pytest.approx(
        np.mean((expected[true >= 30] - 1) / 49)
    )
    lead = (own[:, 0] - scores.mean(1))[true < 30].mean()
    assert ranks.trained.lead == pytest.approx(lead, rel=1e-4)
    text = str(ranks)
    assert "recall@5" in text
    assert "0.1000" in text  # 5 of 50 by chance


def test_indistinguishable_classes_share_the_middle_rank() -> None:
    head = MACHHead(4, 2, embedding_dim=3, kernel_initializer="zeros")
    index = factorized_top_k.MACH(head).index(["a", "b", "c"])
    ranks = rank_new_classes(index, [(QUERY, ["b"])], trained_ids=["a"])
    assert ranks.new.ranks.tolist() == [2]
    assert np.isnan(ranks.trained.recall(1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_class_without_a_finite_score_is_the_last(value: float) -> None:
    head = MACHHead(4, 2, embedding_dim=3)
    index = factorized_top_k.MACH(head).index(["a", "b", "c"])
    query = np.array([[1, value, 1], [1, 1, 1]], np.float32)
    ranks = rank_new_classes(index, [(query, ["b", "b"])], trained_ids=["a"])
    of_finite = rank_new_classes(index, [(query[1:], ["b"])], trained_ids=["a"])
    assert ranks.new.ranks.tolist() == [3, *of_finite.new.ranks]


def test_a_class_with_borrowed_buckets_is_where_its_model_is() -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4)
    before = dict(
        zip(*(x.numpy()[0].tolist() for x in index(QUERY, k=20)[::-1]), strict=True)
    )
    assert borrow_buckets(index, [900, 901], [[0], [1]]) is index
    scores, found = index(QUERY, k=22)
    after = dict(
        zip(found.numpy()[0].tolist(), scores.numpy()[0].tolist(), strict=True)
    )
    assert after[900] == before[0]
    assert after[901] == before[1]
    # No other class has another score.
    assert {c: after[c] for c in before} == before


def test_several_similar_classes_take_turns() -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4, aggregation="unbiased_mean")
    table = index.head.bucket_table(ids)
    borrow_buckets(index, [900], [[0, 1, 2]])
    own = index._tables.buckets.numpy()[:, 20]
    assert own.tolist() == [table[0, 0], table[1, 1], table[2, 2], table[3, 0]]
    masses = np.stack([np.bincount(row, shares, minlength=30) for row in table])
    expected = (masses[np.arange(4), own].mean() - 1 / 30) * 30 / 29
    scores, found = index(QUERY, k=21)
    (score,) = scores[0][found[0] == 900].numpy()
    assert score == pytest.approx(expected, rel=1e-4)
    # Both ways of decoding find it.
    exact = mach.class_scores(
        mach.bucket_values(index.head(QUERY), "unbiased_mean"),
        tf.constant(index._tables.buckets.numpy().T),
        "unbiased_mean",
    )
    assert sorted(exact[0].numpy().tolist(), reverse=True) == scores[0].numpy().tolist()


def test_own_buckets_come_back() -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4).add([900])
    own = index._tables.buckets.numpy()[:, 20].tolist()
    borrow_buckets(index, [900], [[0]])
    assert index._tables.buckets.numpy()[:, 20].tolist() != own
    assert len(index.identifiers()) == 21
    index.remove([900]).add([900])
    assert index._tables.buckets.numpy()[:, 20].tolist() == own


@pytest.mark.filterwarnings("ignore:.*have the same buckets")
@pytest.mark.parametrize("as_file", [True, False])
def test_borrowed_buckets_of_a_balanced_head_are_back_after_loading(
    tmp_path: Path, as_file: bool
) -> None:
    head = MACHHead(12, 3, embedding_dim=5, balanced=True)
    head.balance(np.arange(20))
    index = factorized_top_k.MACH(head).index(np.arange(20))
    borrow_buckets(index, [900], [[3, 4]])
    queries = tf.constant(np.random.default_rng(0).normal(size=(4, 5)), tf.float32)
    expected = index(queries)
    if as_file:
        index.save(tmp_path / "index.keras")
        loaded = keras.models.load_model(tmp_path / "index.keras")
    else:
        path = tf.train.Checkpoint(index=index).write(str(tmp_path / "index"))
        loaded = factorized_top_k.MACH(MACHHead(12, 3, embedding_dim=5, balanced=True))
        tf.train.Checkpoint(index=loaded).read(path).assert_consumed()
    for found, of_index in zip(loaded(queries), expected, strict=True):
        np.testing.assert_array_equal(found, of_index)
    # Other boundaries are noticed as ever.
    loaded.head.balance(np.arange(100, 120))
    with pytest.raises(ValueError, match="the head was balanced"):
        loaded(queries)


def ranks_by_hand(trained: list[float], new: list[float]) -> NewClassRanks:
    return NewClassRanks(
        ClassRanks("trained", np.array(trained), 0.0, 11),
        ClassRanks("new", np.array(new), 0.0, 11),
        (2, 5),
    )


def test_stages_by_hand(tmp_path: Path) -> None:
    stages = RankStages(
        {
            "before": ranks_by_hand([1, 3], [6, 11, 2, 9]),
            "after": ranks_by_hand([1, 1], [1, 2, 6, 3]),
        }
    )
    cells = [line.split() for line in str(stages).split("\n")[1:]]
    # Ahead of ranks 6, 11, 2 and 9 are 5, 10, 1 and 8 of ten others: 60 %.
    assert cells == [
        ["before", "new", "4", "0.2500", "0.2500", "8", "60.0%"],
        ["before", "trained", "2", "0.5000", "1.0000", "2", "10.0%"],
        ["after", "new", "4", "0.5000", "0.7500", "2", "20.0%"],
        ["after", "trained", "2", "1.0000", "1.0000", "1", "0.0%"],
    ]
    ranks, shares = stages.stages["before"].new.curve()
    assert ranks.tolist() == [2, 6, 9, 11]
    assert shares.tolist() == [25, 50, 75, 100]
    assert_picture(
        stages.plot(tmp_path / "a"), "new: after", "trained: before", "by chance"
    )


@pytest.mark.parametrize(
    "stages",
    [{}, {"a": ranks_by_hand([1], [2]), "b": ranks_by_hand([1], [2, 3])}],
)
def test_stages_are_of_the_same_examples(stages: Any) -> None:
    with pytest.raises(ValueError, match="`stages` must be one or more"):
        RankStages(stages)


def test_share_of_unseen_ids_by_hand() -> None:
    windows = [
        ["a", "b", "a"],
        ["b", "c"],
        ["c", "c", "d", "a"],
        ["e", "d", "a", "a"],
    ]
    age = retraining_age(windows, min_training_windows=1, max_unseen_share=0.5)
    unseen: dict[int, list[float]] = {}
    for end in range(1, 4):
        known = set().union(*windows[:end])
        for w in range(end, 4):
            share = np.mean([i not in known for i in windows[w]])
            unseen.setdefault(w - end + 1, []).append(float(share))
    assert age.ages == (1, 2, 3)
    assert age.unseen == pytest.approx([np.mean(unseen[a]) for a in (1, 2, 3)])
    assert age.spread[:2] == pytest.approx([np.std(unseen[a], ddof=1) for a in (1, 2)])
    assert np.isnan(age.spread[2])


def test_age_at_which_to_retrain() -> None:
    # Each window brings a tenth of new ids, and old ones stay as frequent.
    windows = [np.concatenate([np.arange(i * 10, i * 10 + 100)] * 3) for i in range(20)]
    age = retraining_age(windows, max_unseen_share=0.25, quality=(0.4, 0.1))
    assert age.unseen[:4] == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert age.retrain_after == 2
    assert age.quality is not None
    assert age.quality[0] == pytest.approx(0.9 * 0.4 + 0.1 * 0.1)
    assert "Retrain after 2 windows" in str(age)
    assert retraining_age(windows, max_unseen_share=0.05).retrain_after == 0
    assert retraining_age(windows, max_unseen_share=1.0).retrain_after is None
    assert "no more than 100.0%" in str(retraining_age(windows, max_unseen_share=1.0))


def test_sampled_windows_estimate_the_share() -> None:
    stream = zipf_stream(40_000, 0.7, 200_000, seed=2)
    parts = np.split(stream, 4)
    exact = retraining_age(parts, min_training_windows=2)
    sampled = retraining_age(
        [sketch_ids(part, capacity=4096) for part in parts], min_training_windows=2
    )
    assert sampled.unseen == pytest.approx(exact.unseen, rel=0.1)
    assert sampled.unseen != exact.unseen


def test_a_window_of_which_nothing_is_known_gives_no_verdict() -> None:
    first = sketch_ids(np.arange(60_000), capacity=1024)
    held = first.sample.holds(np.arange(60_000, 60_100))
    new = 60_000 + np.flatnonzero(~held)[:4]
    windows = [first, *(sketch_ids(part, capacity=1024) for part in (new[:2], new[2:]))]
    with pytest.raises(ValueError, match=r"none in window 2 of 3, among 2 occ.*larger"):
        retraining_age(windows)
    exact = [sketch_ids(w) for w in (np.arange(60_000), new[:2], new[2:])]
    assert retraining_age(exact).retrain_after == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: borrow_buckets(i, [900], [[77]]), "not: 77"),
        (lambda i: borrow_buckets(i, [900], [1]), r"of shape \[1, m\]"),
        (lambda i: borrow_buckets(i, [900, 901], [[1]]), r"of shape \[2, m\]"),
        (lambda i: borrow_buckets(i, ["a"], [[1]]), "`new_ids` must have the dtype"),
        (lambda i: borrow_buckets(i, [900, 900], [[1], [2]]), "must be distinct"),
        (lambda i: borrow_buckets(i.head, [900], [[1]]), "`index` must be a layers"),
        (lambda i: rank_new_classes(i, [], [1]), "`examples` must have at least one"),
        (lambda i: rank_new_classes(i, [(QUERY, [99])], [1]), "not: 99"),
        (
            lambda i: rank_new_classes(i, [(np.repeat(QUERY, 3, axis=0), [1])], [1]),
            "`examples`.*1 class_ids for 3 queries",
        ),
        (
            lambda i: rank_new_classes(i, [(QUERY, [1, 2])], [1]),
            "`examples`.*2 class_ids for 1 queries",
        ),
        (lambda i: rank_new_classes(i.head, [], [1]), "`index` must be a layers"),
        (lambda i: retraining_age([[1]]), "`windows` must be more than"),
        (
            lambda i: retraining_age([[1], [2]], max_unseen_share=2),
            "`max_unseen_share`",
        ),
        (
            lambda i: retraining_age([sketch_ids([1], seed=1), sketch_ids([1])]),
            "the same capacity and seed",
        ),
    ],
)
def test_errors_name_the_argument(call: Any, message: str) -> None:
    ids, shares = identifiable()
    with pytest.raises(ValueError, match=message):
        call(make_index(ids, shares, 30, 4))


def test_pictures(tmp_path: Path) -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4)
    ranks = rank_new_classes(index, [(QUERY, [3]), (QUERY, [0])], [0])
    assert_picture(ranks.plot(tmp_path / "a"), "new classes", "by chance")
    age = retraining_age([["a"], ["a", "b"], ["b"]])
    assert_picture(age.plot(tmp_path / "b"), "windows after the end of training")
