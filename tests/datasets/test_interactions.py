import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.datasets import NO_TIMESTAMP

ROWS = [(2, 0, 5, 10), (0, 1, 3, 20), (0, 2, 4, NO_TIMESTAMP), (1, 1, 1, 40)]


def test_examples(make_interactions):
    gender = np.array([True, False, True])
    data = make_interactions(ROWS, user_gender=gender)
    assert len(data) == 4
    assert data.user_id.tolist() == ["u2", "u0", "u0", "u1"]
    assert data.movie_id.tolist() == ["m0", "m1", "m2", "m1"]
    assert data.has_timestamp.tolist() == [True, True, False, True]
    dataset = data.ratings
    assert dataset.cardinality() == 4
    spec = dataset.element_spec
    assert spec["user_rating"] == tf.TensorSpec([], tf.float32)
    assert spec["timestamp"] == tf.TensorSpec([], tf.int64)
    examples = list(dataset.as_numpy_iterator())
    assert [e["user_id"] for e in examples] == [b"u2", b"u0", b"u0", b"u1"]
    assert [bool(e["user_gender"]) for e in examples] == [True, True, True, False]
    assert [e["movie_genres"].tolist() for e in examples] == [[], [1], [0, 1], [1]]
    assert [e["movie_side_features"].tolist() for e in examples][2] == [1.0, 1.0]
    assert [e["user_side_features"].tolist() for e in examples][3] == [0.0]
    assert data.movies.cardinality() == 3
    assert data.users.cardinality() == 3


def test_batches_hold_what_examples_hold(make_interactions):
    data = make_interactions(ROWS)
    first, last = data.batches(3)
    assert first["user_id"].numpy().tolist() == [b"u2", b"u0", b"u0"]
    assert last["movie_genres"].to_list() == [[1]]
    assert first["movie_side_features"].shape == [3, 2]
    assert len(list(data.batches(3, drop_remainder=True))) == 1
    fixed = data.batches(3, drop_remainder=True).element_spec["user_id"]
    assert fixed == tf.TensorSpec([3], tf.string)
    only = data.batches(2, fields=("user_id", "timestamp")).element_spec
    assert set(only) == {"user_id", "timestamp"}


def test_shuffle_is_complete_and_repeats_with_its_seed(make_interactions):
    rows = [(user, movie, 3, 10) for user in range(30) for movie in range(30)]
    data = make_interactions(rows, num_users=30, num_movies=30)

    def passes(seed):
        dataset = data.batches(64, shuffle=True, seed=seed, fields=["user_id"])
        return [
            np.concatenate([batch["user_id"].numpy() for batch in dataset]).tolist()
            for _ in range(2)
        ]

    first, second = passes(1)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(data.user_id.astype("S").tolist())
    assert passes(1) == [first, second]
    assert passes(2)[0] != first


def test_positives(make_interactions):
    data = make_interactions(ROWS)
    assert data.positives().user_rating.tolist() == [5.0, 4.0]
    assert data.positives(3).user_rating.tolist() == [5.0, 3.0, 4.0]
    assert len(data.positives().movie_table) == 3
    with pytest.raises(ValueError, match=r"`min_rating` must lie.*from 1 to 5.*: 8"):
        data.positives(8)
    with pytest.raises(ValueError, match="No rating is as high"):
        data.select(np.array([1, 3])).positives(4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_index": np.array([0, 1, 2, 3])}, "`user_index` must lie between 0"),
        ({"movie_index": np.array([0, 1, 2, -1])}, "`movie_index` must lie between"),
        ({"user_rating": np.array([1, 2, 3, 6])}, "`user_rating` must lie between 1"),
        ({"user_rating": np.array([1, 2, 3, np.nan])}, "`user_rating` must lie"),
        ({"timestamp": np.array([1, 2, 3, -2])}, "`timestamp` must lie between -1"),
        ({"timestamp": np.array([1])}, "`timestamp` must have one value a row"),
        ({"movie_index": np.array([0, 1, 1, 1])}, "1 repeated pairs"),
    ],
)
def test_bad_interactions(make_interactions, changes, message):
    data = make_interactions(ROWS)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(data, **changes)


def test_bad_requests(make_interactions):
    data = make_interactions(ROWS)
    with pytest.raises(ValueError, match="at least one rating"):
        data.select(np.zeros(4, bool))
    with pytest.raises(ValueError, match=r"`fields` names \['user_name'\].*'user_id'"):
        data.dataset(fields=["user_id", "user_name"])
    with pytest.raises(ValueError, match="`batch_size` must be a positive"):
        data.batches(0)
