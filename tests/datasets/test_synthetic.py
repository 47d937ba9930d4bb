import hashlib

import numpy as np
import pytest

from tfrs_dhe.datasets import load, make_synthetic

SMALL = {"num_users": 200, "num_movies": 150, "num_ratings": 4_000}


@pytest.fixture(scope="module")
def data():
    return load()


def digest(data):
    """Hash of all that is not a float that rounding might move."""
    parts = [data.user_id, data.movie_id, data.user_rating, data.timestamp]
    text = "\n".join(" ".join(map(str, part.tolist())) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_default_sizes(data):
    assert len(data) == 200_000
    assert len(data.user_table) == 6_000
    assert len(data.movie_table) == 3_000
    assert len(set(data.user_id)) == 6_000
    assert data.rating_scale == (1, 5)
    assert np.all(np.diff(data.timestamp) >= 0)


def test_ids_are_strings_with_gaps(data):
    for ids, prefix in [
        (data.user_table.user_id, "user_"),
        (data.movie_table.movie_id, "item_"),
    ]:
        assert all(i.startswith(prefix) for i in ids.tolist())
        numbers = np.sort([int(i.removeprefix(prefix)) for i in ids.tolist()])
        assert np.mean(np.diff(numbers)) > 10


def test_same_seed_same_data():
    assert digest(make_synthetic(**SMALL)) == digest(make_synthetic(**SMALL))
    assert digest(make_synthetic(**SMALL)) != digest(make_synthetic(**SMALL, seed=1))


def test_golden():
    data = make_synthetic(**SMALL)
    assert digest(data) == "47b9734062122e10"


def test_activity_and_popularity_are_skewed(data):
    for index in (data.user_index, data.movie_index):
        counts = np.sort(np.bincount(index))[::-1]
        top = counts[: len(counts) // 10].sum() / counts.sum()
        assert 0.3 < top < 0.6
        # A power law is a line in logarithms: rank 30 to rank a third of all.
        ranks = np.unique(np.geomspace(30, len(counts) / 3, 20).astype(int))
        slope, _ = np.polyfit(np.log(ranks), np.log(counts[ranks]), 1)
        assert -1.2 < slope < -0.5


def test_ids_arrive_over_time(data):
    """In every tenth of the time after the first, new users and movies appear."""
    times = data.timestamp
    edges = np.linspace(times.min(), times.max() + 1, 11)
    for index in (data.user_index, data.movie_index):
        ids, first = np.unique(index, return_index=True)  # Rows are by time.
        arrived = np.histogram(times[first], edges)[0]
        assert len(ids) == arrived.sum()
        assert np.all(arrived[1:] > 0.005 * len(ids))
        assert 0.3 < arrived[0] / len(ids) < 0.9


def test_new_ids_are_as_many_as_asked_for():
    options = {**SMALL, "num_ratings": 6_000}
    data = make_synthetic(**options, new_user_share=0, new_movie_share=0)
    late = data.timestamp > np.quantile(data.timestamp, 0.9)
    assert not set(data.user_index[late]) - set(data.user_index[~late])


def test_stars_have_the_shares_of_movielens(data):
    stars = np.bincount(data.user_rating.astype(int))[1:] / len(data)
    np.testing.assert_allclose(stars, [0.06, 0.11, 0.26, 0.35, 0.22], atol=1e-4)


def halves(data):
    """Splits every user's movies at random into two halves."""
    return np.random.default_rng(0).random(len(data)) < 0.5


def test_genres_tell_what_a_user_likes(data):
    """A profile of genres from half a user's choices picks out the other half."""
    known = halves(data)
    genres = data.movie_table.side_features
    genres = genres - genres[data.movie_index].mean(axis=0)
    profile = np.zeros((len(data.user_table), genres.shape[1]))
    np.add.at(profile, data.user_index[known], genres[data.movie_index[known]])

    users, chosen = data.user_index[~known], data.movie_index[~known]
    # As popular as the chosen ones: choices of other users.
    other = np.random.default_rng(1).permutation(chosen)
    score = np.einsum("ng,ng->n", profile[users], genres[chosen])
    score_of_other = np.einsum("ng,ng->n", profile[users], genres[other])
    assert np.mean(score > score_of_other) > 0.6


def test_demographics_tell_what_a_user_likes(data):
    """Genres liked by an occupation and age are liked by its other users."""
    known = np.random.default_rng(0).random(len(data.user_table)) < 0.5
    genres = data.movie_table.side_features
    genres = genres - genres[data.movie_index].mean(axis=0)
    features = data.user_table.side_features
    is_known = known[data.user_index]
    users, chosen = data.user_index[~is_known], data.movie_index[~is_known]
    profile = (
        features[data.user_index[is_known]].T @ genres[data.movie_index[is_known]]
    ) / (features[data.user_index[is_known]].sum(axis=0)[:, np.newaxis] + 1e-9)
    other = np.random.default_rng(1).permutation(chosen)
    taste = (features @ profile)[users]
    better = np.sum(taste * genres[chosen], 1) > np.sum(taste * genres[other], 1)
    assert np.mean(better) > 0.55


def test_ratings_follow_taste(data):
    """A user's mean rating of a genre predicts his other ratings beyond the movie."""
    known = halves(data)
    genres = data.movie_table.side_features
    mean = np.bincount(data.movie_index, data.user_rating) / np.maximum(
        np.bincount(data.movie_index), 1
    )
    excess = data.user_rating - mean[data.movie_index]
    profile = np.zeros((len(data.user_table), genres.shape[1]))
    rows = data.movie_index[known]
    np.add.at(profile, data.user_index[known], genres[rows] * excess[known, None])
    guess = np.einsum(
        "ng,ng->n", profile[data.user_index[~known]], genres[data.movie_index[~known]]
    )
    assert np.corrcoef(guess, excess[~known])[0, 1] > 0.1


def test_without_taste_there_is_nothing_to_learn():
    options = {"num_users": 1_000, "num_movies": 500, "num_ratings": 20_000}
    test_like = make_synthetic(**options, taste_strength=0)
    with pytest.raises(AssertionError):
        test_genres_tell_what_a_user_likes(test_like)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_users": 0}, "`num_users` must be a positive integer"),
        ({"taste_dim": 0}, "`taste_dim` must be a positive integer"),
        ({"taste_strength": -1}, "`taste_strength` must be a finite number"),
        ({"movie_skew": float("nan")}, "`movie_skew` must be a finite number"),
        ({"genre_share": 1}, "`genre_share` is a share"),
        ({"new_user_share": -0.5}, "`new_user_share` is a share"),
        ({"num_ratings": 10}, r"`num_ratings` must allow.*Received: 10;"),
        ({"num_ratings": 10**6}, r"`num_ratings` must allow"),
        ({"num_movies": 2}, "at least four movies"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        make_synthetic(**(SMALL | options))
