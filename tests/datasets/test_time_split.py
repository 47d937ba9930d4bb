import logging

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.datasets import NO_TIMESTAMP, load, split_by_time

NONE_UNSEEN = {"unseen_user_share": 0, "unseen_movie_share": 0}


@pytest.fixture(scope="module")
def data():
    return load(num_users=400, num_movies=300, num_ratings=10_000)


def pairs(part):
    return set(zip(part.user_id.tolist(), part.movie_id.tolist(), strict=True))


def test_by_hand(make_interactions):
    # Eleven ratings a second apart, unsorted; times 9 and 10 are the last fifth.
    rows = [
        (i % 3, i // 3, 4, t) for i, t in enumerate([5, 10, 3, 0, 1, 9, 2, 8, 7, 6])
    ]
    rows.append((1, 3, 4, 4))
    data = make_interactions(rows, num_movies=5)
    split = split_by_time(data, test_share=0.2, validation_share=0.2, **NONE_UNSEEN)
    assert split.train_interactions.timestamp.tolist() == list(range(7))
    assert split.validation_interactions.timestamp.tolist() == [7, 8]
    assert split.test_interactions.timestamp.tolist() == [9, 10]
    assert [e["timestamp"] for e in split.test.as_numpy_iterator()] == [9, 10]
    assert split.train.cardinality() == 7
    assert split.validation.cardinality() == 2
    assert split.num_held_out == split.num_without_timestamp == 0
    assert split.train_user_ids.tolist() == ["u0", "u1", "u2"]
    # Times 0 to 6 are movies m1 m1 m2 m0 m3 m0 m3.
    assert split.train_movie_counts.tolist() == [2, 2, 1, 2, 0]
    assert split.train_movie_ids.tolist() == ["m0", "m1", "m2", "m3"]
    seen = {
        e["movie_id"].decode(): bool(e["movie_is_seen"])
        for e in split.movies.as_numpy_iterator()
    }
    assert seen == {"m0": True, "m1": True, "m2": True, "m3": True, "m4": False}


def test_ratings_of_one_second_stay_together(make_interactions):
    times = [1, 2, 3, 4, 5, 5, 5, 5, 9]
    rows = [(i // 3, i % 3, 4, t) for i, t in enumerate(times)]
    data = make_interactions(rows)
    # Two ratings are asked for; the second last shares its time with three more.
    split = split_by_time(data, test_share=0.22, **NONE_UNSEEN)
    assert split.train_interactions.timestamp.tolist() == [1, 2, 3, 4]
    assert split.test_interactions.timestamp.tolist() == [5, 5, 5, 5, 9]


def test_no_leakage(data):
    split = split_by_time(
        data,
        test_share=0.2,
        validation_share=0.1,
        unseen_user_share=0.1,
        unseen_movie_share=0.2,
        seed=3,
    )
    train, validation = split.train_interactions, split.validation_interactions
    test = split.test_interactions
    assert train.timestamp.max() < validation.timestamp.min()
    assert validation.timestamp.max() < test.timestamp.min()
    for part in (train, validation, test):
        assert np.all(np.diff(part.timestamp) >= 0)
    assert not pairs(train) & pairs(test)
    assert not pairs(train) & pairs(validation)
    assert not pairs(validation) & pairs(test)

    # Exactly the shares of the users and movies that have ratings.
    assert len(split.held_out_user_ids) == round(0.1 * len(set(data.user_id)))
    assert len(split.held_out_movie_ids) == round(0.2 * len(set(data.movie_id)))
    assert not set(split.held_out_user_ids) & set(train.user_id)
    assert not set(split.held_out_movie_ids) & set(train.movie_id)
    assert set(split.train_user_ids) == set(train.user_id)
    assert set(split.train_movie_ids) == set(train.movie_id)

    # Every rating is in one part or accounted for.
    assert pairs(train) | pairs(validation) | pairs(test) <= pairs(data)
    total = len(train) + len(validation) + len(test)
    assert total + split.num_held_out == len(data)
    # No second is so crowded that a part grows by one in a hundred.
    assert len(test) == pytest.approx(0.2 * len(data), rel=0.01)
    assert len(validation) == pytest.approx(0.1 * len(data), rel=0.01)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_labels(data, part):
    split = split_by_time(data, validation_share=0.1)
    users, movies = set(split.train_user_ids), set(split.train_movie_ids)
    labels = []
    for example in getattr(split, part).as_numpy_iterator():
        user_is_seen = example["user_id"].decode() in users
        movie_is_seen = example["movie_id"].decode() in movies
        assert example["user_is_seen"] == user_is_seen
        assert example["movie_is_seen"] == movie_is_seen
        labels.append((user_is_seen, movie_is_seen))
    assert {(True, True), (True, False), (False, True)} <= set(labels)
    if part == "test":
        expected = list(zip(split.user_is_seen, split.movie_is_seen, strict=True))
        assert labels == expected
        assert split.sizes["test_unseen_user"] == sum(not user for user, _ in labels)
    batches = getattr(split, f"{part}_batches")(100)
    batched = np.concatenate([batch["movie_is_seen"].numpy() for batch in batches])
    assert batched.tolist() == [movie for _, movie in labels]
    spec = getattr(split, part).element_spec
    assert spec["user_is_seen"] == tf.TensorSpec([], tf.bool)
    assert "user_is_seen" not in split.train.element_spec


def test_seed(data):
    def ids(seed):
        split = split_by_time(data, seed=seed)
        return split.held_out_user_ids.tolist(), split.held_out_movie_ids.tolist()

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)


def test_catalogue_holds_unseen_movies_with_side_features(data):
    split = split_by_time(data)
    movies = list(split.movies.as_numpy_iterator())
    assert len(movies) == len(data.movie_table)
    unseen = [movie for movie in movies if not movie["movie_is_seen"]]
    assert {m["movie_id"].decode() for m in unseen} >= set(split.held_out_movie_ids)
    assert all(movie["movie_side_features"].any() for movie in unseen)


def test_train_batches(data):
    split = split_by_time(data)
    batches = split.train_batches(512, seed=5, fields=["user_id", "movie_id"])
    got = [
        pair
        for batch in batches.as_numpy_iterator()
        for pair in zip(
            batch["user_id"].astype(str), batch["movie_id"].astype(str), strict=True
        )
    ]
    assert len(got) == len(split.train_interactions)
    assert set(got) == pairs(split.train_interactions)


def test_ratings_without_a_time(make_interactions, caplog):
    rows = [(i // 3, i % 3, 4, t) for i, t in enumerate([1, 2, 3, 4, NO_TIMESTAMP])]
    rows.append((2, 0, 4, NO_TIMESTAMP))
    data = make_interactions(rows)
    half = {"test_share": 0.5, **NONE_UNSEEN}

    split = split_by_time(data, **half)
    assert split.train_interactions.timestamp.tolist() == [1, 2]
    assert split.test_interactions.timestamp.tolist() == [3, 4]
    assert split.num_without_timestamp == 2
    assert split.sizes["left_out_without_timestamp"] == 2
    assert "2 of 6 ratings have no timestamp and are left out" in caplog.text
    # "u2" has no rating with a time, so training never sees it.
    assert split.train_user_ids.tolist() == ["u0"]

    split = split_by_time(data, missing_timestamps="train", **half)
    assert sorted(split.train_interactions.timestamp.tolist()) == [-1, -1, 1, 2]
    assert split.test_interactions.timestamp.tolist() == [3, 4]
    assert split.num_without_timestamp == 0
    assert "go to training" in caplog.text

    with pytest.raises(ValueError, match="2 of 6 ratings have no timestamp"):
        split_by_time(data, missing_timestamps="error", **half)
    with pytest.raises(ValueError, match="no timestamp at all"):
        split_by_time(data.select(~data.has_timestamp))


def test_complete_times_are_no_message(data, caplog):
    with caplog.at_level(logging.INFO):
        split_by_time(data)
    assert not caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_share": 0}, "`test_share` must be positive"),
        ({"test_share": 1.0}, r"`test_share` is a share.*1\.0"),
        ({"test_share": 0.6, "validation_share": 0.4}, "leave room for training"),
        ({"validation_share": -0.1}, "`validation_share` is a share"),
        ({"unseen_user_share": 1.5}, "`unseen_user_share` is a share"),
        ({"unseen_movie_share": float("nan")}, "`unseen_movie_share` is a share"),
        ({"missing_timestamps": "guess"}, "`missing_timestamps` must be .*'guess'"),
        ({"unseen_movie_share": 0.9999}, "no rating for the train part"),
    ],
)
def test_bad_arguments(data, options, message):
    with pytest.raises(ValueError, match=message):
        split_by_time(data, **options)


def test_no_validation_part(data):
    split = split_by_time(data)
    assert split.validation is None
    with pytest.raises(ValueError, match="no validation part"):
        split.validation_batches(10)


def test_all_ratings_at_once(make_interactions):
    data = make_interactions([(0, 0, 4, 7), (1, 1, 4, 7)])
    with pytest.raises(ValueError, match="no rating for the train part"):
        split_by_time(data, **NONE_UNSEEN)
