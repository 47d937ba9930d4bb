import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.datasets import MovieTable, UserTable
from tfrs_dhe.datasets.movielens_labels import OCCUPATIONS

MOVIES = {
    "movie_id": np.array(["a", "b", "c"]),
    "movie_title": np.array(["A", "B", "C"]),
    "movie_genres": [[2, 0], [], [1]],
    "genre_names": ("x", "y", "z"),
}


def test_movies():
    table = MovieTable(**MOVIES)
    np.testing.assert_array_equal(
        table.side_features, [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    )
    assert table.side_feature_names[1] == "movie_genres=y"
    dataset = table.dataset()
    assert dataset.cardinality() == 3
    spec = dataset.element_spec
    assert spec["movie_id"] == tf.TensorSpec([], tf.string)
    assert spec["movie_title"] == tf.TensorSpec([], tf.string)
    assert spec["movie_side_features"] == tf.TensorSpec([3], tf.float32)
    # As tensorflow-datasets has it: int64 of shape [None].
    genres = [example["movie_genres"] for example in dataset]
    assert [g.dtype for g in genres] == [tf.int64] * 3
    assert [g.numpy().tolist() for g in genres] == [[2, 0], [], [1]]
    batch = next(iter(dataset.batch(3)))
    assert batch["movie_genres"].to_list() == [[2, 0], [], [1]]
    assert next(iter(table.batches(2)))["movie_genres"].to_list() == [[2, 0], []]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"movie_id": np.array(["a", "b", "a"])}, r"`movie_id` must be distinct.*'a'"),
        ({"movie_id": np.array([1, 2, 3])}, r"`movie_id` must be a NumPy array of str"),
        ({"movie_id": ["a", "b", "c"]}, r"`movie_id` must be a NumPy array.*list"),
        ({"movie_title": np.array(["A"])}, r"`movie_title` must have one value a row"),
        ({"movie_genres": [[3], [], []]}, r"`movie_genres` must hold indices"),
        ({"movie_genres": [[-1], [], []]}, r"`movie_genres` must hold indices"),
    ],
)
def test_bad_movies(changes, message):
    with pytest.raises(ValueError, match=message):
        MovieTable(**(MOVIES | changes))


def test_users():
    table = UserTable(
        user_id=np.array(["a", "b"]),
        user_gender=np.array([True, False]),
        bucketized_user_age=np.array([18, 56], np.float32),
        user_occupation_label=np.array([0, 21]),
    )
    expected = np.zeros((2, 1 + 7 + 22), np.float32)
    expected[0, [0, 1 + 1, 8 + 0]] = 1
    expected[1, [1 + 6, 8 + 21]] = 1
    np.testing.assert_array_equal(table.side_features, expected)
    names = table.side_feature_names
    assert (names[0], names[2]) == ("user_gender", "bucketized_user_age=18")
    assert names[29] == f"user_occupation_label={OCCUPATIONS[21]}"
    spec = table.dataset().element_spec
    assert spec == {
        "user_id": tf.TensorSpec([], tf.string),
        "user_gender": tf.TensorSpec([], tf.bool),
        "bucketized_user_age": tf.TensorSpec([], tf.float32),
        "user_occupation_label": tf.TensorSpec([], tf.int64),
        "user_side_features": tf.TensorSpec([30], tf.float32),
    }


def test_users_of_whom_nothing_is_known():
    table = UserTable(user_id=np.array(["a", "b"]))
    assert table.side_features is None
    assert table.side_feature_names == ()
    assert set(table.dataset().element_spec) == {"user_id"}


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("user_gender", np.array([True]), "`user_gender` must have one value a row"),
        ("bucketized_user_age", np.array([18.0, 20.0]), r"Received: \[20.0\]"),
        ("user_occupation_label", np.array([0, 22]), "from 0 to 22"),
    ],
)
def test_bad_users(field, values, message):
    with pytest.raises(ValueError, match=message):
        UserTable(user_id=np.array(["a", "b"]), **{field: values})
