"""Splits and negatives of the study of quality."""

import data
import numpy as np
import pytest


def interactions(**options: object) -> data.Interactions:
    """40 users with from 1 to 40 of 50 items; item 0 is everyone's first."""
    generator = np.random.default_rng(3)
    pairs = [
        (f"u{user}", f"i{item}")
        for user in range(40)
        for item in [0, *(1 + generator.permutation(49)[:user])]
    ]
    users, items = np.array(pairs).T
    return data.Interactions(users, items, np.ones(len(users), np.float32), **options)


def keys(pairs: data.Pairs) -> list[tuple[int, int]]:
    return list(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True))


def positives(pairs: data.Pairs) -> data.Pairs:
    return pairs.take(pairs.labels == 1)


def test_splits_are_the_interactions_and_hold_two_of_each_user_out() -> None:
    read = interactions()
    prepared = data.prepare(read, is_explicit=False)
    parts = [prepared.train, *map(positives, (prepared.validation, prepared.test))]
    found = [
        (prepared.user_ids[user], prepared.item_ids[item])
        for part in parts
        for user, item in keys(part)
    ]
    assert sorted(found) == sorted(zip(read.users, read.items, strict=True))
    # The user with one interaction keeps it, that with two keeps one.
    assert len(parts[1]) == 38
    assert len(parts[2]) == 39
    for part in parts[1:]:
        assert len(set(part.users.tolist())) == len(part)


def test_a_given_test_split_is_kept() -> None:
    size = len(interactions().users)
    is_test = np.arange(size) % 7 == 0
    prepared = data.prepare(interactions(is_test=is_test), is_explicit=False)
    assert len(positives(prepared.test)) == is_test.sum()


def test_negatives_are_of_the_same_users_and_never_taken() -> None:
    prepared = data.prepare(interactions(), is_explicit=False)
    every = set()
    for part in (prepared.train, prepared.validation, prepared.test):
        every |= set(keys(positives(part)))
    epochs = [prepared.epoch(np.random.default_rng(seed)) for seed in range(20)]
    for pairs in [*epochs, prepared.validation, prepared.test]:
        negatives = pairs.take(pairs.labels == 0)
        assert sorted(negatives.users) == sorted(positives(pairs).users)
        assert not every & set(keys(negatives))
    assert keys(epochs[0]) != keys(epochs[1])
    explicit = data.prepare(interactions(), is_explicit=True)
    epochs.append(explicit.epoch(np.random.default_rng(0)))
    sizes = {prepared.pairs_per_epoch, explicit.pairs_per_epoch}
    assert sizes == {len(epochs[0]), len(epochs[-1])}


def test_new_items_are_in_the_test_alone_but_for_a_share_of_validation() -> None:
    prepared = data.prepare(interactions(), is_explicit=False, with_new_items=True)
    known = set(prepared.candidates.tolist())
    assert len(known) == 45  # of 50
    for seed in range(20):
        assert set(prepared.epoch(np.random.default_rng(seed)).items) <= known
    whole = data.prepare(interactions(), is_explicit=False)
    moved = [key for key in keys(whole.train) if key[1] not in known]
    tested = keys(positives(prepared.test))
    assert sorted(tested) == sorted(keys(positives(whole.test)) + moved)


def test_split_by_time_keeps_the_order() -> None:
    read = interactions()
    prepared = data.prepare(read, is_explicit=False, is_by_time=True)
    _, users = np.unique(read.users, return_inverse=True)
    _, items = np.unique(read.items, return_inverse=True)
    in_order = list(zip(users.tolist(), items.tolist(), strict=True))
    ends = [8 * len(users) // 10, 9 * len(users) // 10]
    assert sorted(keys(prepared.train)) == sorted(in_order[: ends[0]])
    assert keys(positives(prepared.validation)) == in_order[ends[0] : ends[1]]
    assert keys(positives(prepared.test)) == in_order[ends[1] :]
    seen = set(items[: ends[0]].tolist())
    assert set(prepared.candidates.tolist()) == seen


def test_features_are_ones_at_the_categories_of_an_item() -> None:
    read = interactions(categories={"i3": {"b", "a"}, "i1": {"c"}, "absent": {"d"}})
    prepared = data.prepare(read, is_explicit=False)
    rows = dict(zip(prepared.item_ids.tolist(), prepared.item_features, strict=True))
    assert rows["i3"].tolist() == [1, 1, 0, 0]
    assert rows["i1"].tolist() == [0, 0, 1, 0]
    assert prepared.item_features.sum() == 3


def test_synthetic_set_needs_no_files() -> None:
    prepared = data.load(None, "synthetic+new")
    assert prepared.item_features.shape[1] > 0
    assert set(np.unique(prepared.train.labels)) == {0, 1}
    with pytest.raises(ValueError, match="`name` must be one of"):
        data.load(None, "netflix")
