"""Explanations of scores whose classes have known probabilities."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.pictures import assert_picture
from tfrs_dhe import mach
from tfrs_dhe.analysis import explain, explain_error, explain_examples
from tfrs_dhe.analysis._class_shares import class_shares
from tfrs_dhe.layers import MACHHead, factorized_top_k

QUERY = tf.zeros([1, 3])


def make_index(
    ids: Any, shares: Any, num_buckets: int, num_repetitions: int, **kwargs: Any
) -> Any:
    """Returns an index whose head gives buckets the sums of its classes' shares."""
    head = MACHHead(
        num_buckets, num_repetitions, embedding_dim=3, kernel_initializer="zeros"
    )
    masses = np.full((num_repetitions, num_buckets), 1e-9)
    for row, buckets in zip(masses, head.bucket_table(ids), strict=True):
        np.add.at(row, buckets, shares)
    head.bias.assign(np.log(masses).reshape(-1))
    return factorized_top_k.MACH(head, **kwargs).index(ids)


def identifiable() -> tuple[Any, np.ndarray]:
    """Returns classes whose shares follow from the probabilities of the buckets."""
    ids = np.arange(20)
    shares = np.array([0.3, 0.25, *[0.45 / 18] * 18])
    table = mach.bucket_table(ids, 30, 4)
    equations = np.concatenate([np.eye(30)[row].T for row in table])
    assert np.linalg.matrix_rank(equations) == 20
    return ids, shares


def test_shares_that_are_determined_are_found() -> None:
    ids, shares = identifiable()
    table = mach.bucket_table(ids, 30, 4)
    masses = np.stack([np.bincount(row, shares, minlength=30) for row in table])
    assert class_shares(masses, table) == pytest.approx(shares, abs=1e-4)
    # Twice as much in all buckets is twice as much of each class.
    assert class_shares(2 * masses, table) == pytest.approx(2 * shares, abs=2e-4)


def test_explanation_by_hand() -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4, aggregation="unbiased_mean")
    table = index.head.bucket_table(ids)
    explanation = explain(index, QUERY, 0)
    assert (explanation.identifier, explanation.rank, explanation.num_classes) == (
        0,
        1,
        20,
    )
    assert (explanation.best, explanation.margin_to_best) == (0, 0)
    estimates = []
    for r, row in enumerate(explanation.buckets):
        inside = np.flatnonzero(table[r] == table[r, 0])
        mass = shares[inside].sum()
        assert (row.repetition, row.bucket) == (r, table[r, 0])
        assert row.probability == pytest.approx(mass, rel=1e-5)
        assert row.num_sharing == len(inside) - 1
        assert row.own_part == pytest.approx(0.3 / mass, abs=1e-3)
        masses = np.bincount(table[r], shares, minlength=30)
        assert row.rank == 1 + np.count_nonzero(masses > mass + 1e-9)
        estimates.append((mass - 1 / 30) * 30 / 29)
    assert explanation.probability == pytest.approx(np.mean(estimates), rel=1e-4)
    assert explanation.score == pytest.approx(np.mean(estimates), rel=1e-4)
    assert explanation.standard_error == pytest.approx(
        np.std(estimates, ddof=1) / 2, rel=1e-4
    )
    scores, found = index(QUERY, k=20)
    assert explanation.next == found[0, 1]
    assert explanation.margin == pytest.approx(float(scores[0, 0] - scores[0, 1]))
    sharing = {one.identifier: one for one in explanation.sharing}
    assert set(sharing) == set(
        np.flatnonzero((table[:, 1:] == table[:, :1]).any(0)) + 1
    )
    whole = sum(row.probability for row in explanation.buckets)
    for c, one in sharing.items():
        common = [r for r in range(4) if table[r, c] == table[r, 0]]
        assert one.repetitions == tuple(common)
        assert one.part == pytest.approx(len(common) * shares[c] / whole, abs=1e-3)
    assert explanation.own_part == pytest.approx(4 * 0.3 / whole, abs=1e-3)
    assert explanation.own_part + sum(
        s.part for s in explanation.sharing
    ) == pytest.approx(1)


@pytest.mark.parametrize("aggregation", mach.AGGREGATIONS)
def test_every_class_has_the_rank_and_score_of_the_index(aggregation: str) -> None:
    rng = np.random.default_rng(1)
    ids = [f"item_{i}" for i in range(40)]
    index = make_index(ids, rng.dirichlet(np.ones(40)), 8, 3, aggregation=aggregation)
    scores, found = index(QUERY, k=40)
    for place in (0, 1, 7, 39):
        explanation = explain(index, QUERY, found[0, place].numpy())
        assert explanation.score == float(scores[0, place])
        assert explanation.rank == 1 + np.count_nonzero(scores[0] > scores[0, place])
        behind = float(scores[0, 0]) - float(scores[0, place])
        assert explanation.margin_to_best == behind
    assert explain(index, QUERY).identifier == found[0, 0]
    last = explain(index, QUERY, found[0, 39].numpy())
    assert last.next is None or last.margin == 0


@pytest.mark.filterwarnings("ignore:.*have the same buckets")
def test_error_of_the_estimate_over_hash_functions() -> None:
    # The formula is the variance over hash functions: heads with many seeds.
    ids = np.arange(60)
    shares = np.random.default_rng(2).dirichlet(np.full(60, 0.3))
    estimates, predicted = [], []
    for seed in range(100):
        head = MACHHead(10, 4, seed=seed, embedding_dim=3, kernel_initializer="zeros")
        table = head.bucket_table(ids)
        masses = np.stack([np.bincount(t, shares, minlength=10) for t in table]) + 1e-12
        head.bias.assign(np.log(masses).reshape(-1))
        index = factorized_top_k.MACH(head, aggregation="unbiased_mean")
        explanation = explain(index.index(ids), QUERY, 5)
        estimates.append(explanation.probability)
        predicted.append(explanation.predicted_error)
    true = math.sqrt((np.sum(shares**2) - shares[5] ** 2) / (4 * 9))
    assert abs(np.mean(estimates) - shares[5]) < 4 * true / math.sqrt(100)
    # The spread of 100 draws, which are not normal: within a factor of 1.3.
    assert true / 1.3 < np.std(estimates) < true * 1.3
    assert true / 1.3 < math.sqrt(np.mean(np.square(predicted))) < true * 1.3


def test_a_new_class_has_a_score_as_if_it_were_indexed() -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4)
    new = explain(index, QUERY, 777)
    assert not new.is_indexed
    assert "not in the index" in str(new)
    index.add([777])
    again = explain(index, QUERY, 777)
    assert again.is_indexed
    assert (again.rank, again.buckets) == (new.rank, new.buckets)
    assert again.score == pytest.approx(new.score, rel=1e-6)


def test_sigmoid_parts_add_up_in_logarithms() -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4, activation="sigmoid")
    table = index.head.bucket_table(ids)
    # Each class is in an example with a probability p, independently.
    absent = np.stack(
        [np.bincount(row, np.log1p(-shares), minlength=30) for row in table]
    )
    share = np.clip(-np.expm1(absent), 1e-12, None)
    index.head.bias.assign((np.log(share) - np.log1p(-share)).reshape(-1))
    explanation = explain(index, QUERY, 1)
    for r, row in enumerate(explanation.buckets):
        inside = np.flatnonzero(table[r] == table[r, 1])
        expected = math.log1p(-0.25) / np.log1p(-shares[inside]).sum()
        assert row.own_part == pytest.approx(expected, abs=1e-3)
    assert math.isnan(explanation.predicted_error)


def collision() -> tuple[int, int, int]:
    """Returns a class that shares two buckets of four with each of two others."""
    table = mach.bucket_table(np.arange(400), 16, 4)
    for a, b in itertools.combinations(range(20), 2):
        if (table[:, a] == table[:, b]).any():
            continue
        with_a, with_b = table == table[:, [a]], table == table[:, [b]]
        found = np.flatnonzero((with_a.sum(0) == 2) & (with_b.sum(0) == 2))
        if len(found):
            return int(found[0]), a, b
    raise AssertionError("no such classes")


def test_an_error_by_collisions_is_told() -> None:
    wrong, a, b = collision()
    # The wrong class has little; its buckets are those of the two others, so its score
    # is .01 + .495, and theirs is that in two buckets and .495 in two.
    ids = np.array([wrong, a, b])
    index = make_index(ids, [0.01, 0.495, 0.495], 16, 4, aggregation="unbiased_mean")
    error = explain_error(index, QUERY, a)
    assert error.wrong.identifier == wrong
    assert error.cause == "collisions"
    assert [row.owner in (a, b) for row in error.buckets] == [True] * 4
    assert all(row.owner_part > 0.9 for row in error.buckets)
    assert math.isnan(error.clean_lead)
    assert "no repetition is without a collision" in str(error)


def test_an_error_of_the_model_is_told() -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4)
    error = explain_error(index, QUERY, 7)
    assert (error.wrong.identifier, error.cause) == (0, "model")
    assert error.lead == pytest.approx(error.wrong.score - error.true.score)
    assert np.mean([row.lead for row in error.buckets]) == pytest.approx(
        error.lead, rel=1e-5
    )
    assert error.clean_lead > 0


def test_indistinguishable_classes_are_told() -> None:
    table = mach.bucket_table(np.arange(200), 4, 2)
    twins = next(
        (i, j)
        for i, j in itertools.combinations(range(200), 2)
        if (table[:, i] == table[:, j]).all()
    )
    with pytest.warns(UserWarning, match="same buckets"):
        index = make_index(np.array(twins), [0.9, 0.1], 4, 2)
    error = explain_error(index, QUERY, twins[1])
    assert error.cause == "indistinguishable"
    assert error.lead == 0


@pytest.mark.filterwarnings("ignore:.*have the same buckets")
def test_one_repetition_divides_by_the_number_of_classes() -> None:
    ids = np.arange(30)
    index = make_index(ids, np.full(30, 1 / 30), 5, 1)
    (row,) = explain(index, QUERY, 3).buckets
    assert row.own_part == pytest.approx(1 / (row.num_sharing + 1))
    assert math.isnan(explain(index, QUERY, 3).standard_error)


def test_examples_right_and_wrong() -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4)
    examples = [(QUERY, true) for true in (5, 0, 6, 0, 7, 0)]
    found = list(explain_examples(index, examples, num_right=2, num_wrong=1))
    assert [type(one).__name__ for one in found] == [
        "ErrorExplanation",
        "Explanation",
        "Explanation",
    ]


def diverged(index: Any) -> Any:
    """Returns the index with a head whose weights are nan."""
    index.head.set_weights([weight * np.nan for weight in index.head.get_weights()])
    return index


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: explain(i.head, QUERY, 0), "`index` must be a layers.factorized"),
        (lambda i: explain(i, tf.zeros([2, 3]), 0), "`query` must be a batch of one"),
        (lambda i: explain(i, QUERY, "a"), "`identifier` must have the dtype"),
        (lambda i: explain(diverged(i), QUERY), "`index` must have scores to explain"),
        (lambda i: explain_error(diverged(i), QUERY, 3), "`index` must have scores"),
        (
            lambda i: explain_error(i, QUERY, 0),
            "`true_identifier` must be a class that",
        ),
    ],
)
def test_errors_name_the_argument(call: Any, message: str) -> None:
    ids, shares = identifiable()
    with pytest.raises(ValueError, match=message):
        call(make_index(ids, shares, 30, 4))


def test_text_and_pictures(tmp_path: Path) -> None:
    ids, shares = identifiable()
    index = make_index(ids, shares, 30, 4)
    explanation = explain(index, QUERY, 2)
    assert str(explanation).startswith("2: score ")
    assert_picture(explanation.plot(tmp_path / "a"), "repetition", "Who is in its")
    error = explain_error(index, QUERY, 7)
    assert "Cause, model" in str(error)
    assert_picture(error.plot(tmp_path / "b"), "Whose the wrong class", "collision")
