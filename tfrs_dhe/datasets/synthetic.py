"""`make_synthetic`: ratings made in memory, from a seed."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tfrs_dhe.datasets.checks import check_share
from tfrs_dhe.datasets.interactions import Interactions
from tfrs_dhe.datasets.movie_table import MovieTable
from tfrs_dhe.datasets.movielens_labels import AGE_BUCKETS, GENRES, OCCUPATIONS
from tfrs_dhe.datasets.user_table import UserTable

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_START = 1_577_836_800  # 2020-01-01, UTC.
_DURATION = 2 * 365 * 86_400
_DRAWN_GENRES = tuple(
    i
    for i, name in enumerate(GENRES)
    if name not in ("IMAX", "Unknown", "(no genres listed)")
)
# Shares of 1, 2, 3, 4 and 5 stars; about those of MovieLens 1m.
_RATING_SHARES = (0.06, 0.11, 0.26, 0.35, 0.22)
# Users whose affinities to all movies are held in memory at once.
_CHUNK = 256


def make_synthetic(
    *,
    num_users: int = 6_000,
    num_movies: int = 3_000,
    num_ratings: int = 200_000,
    taste_dim: int = 8,
    taste_strength: float = 2.0,
    genre_share: float = 0.6,
    demographics_share: float = 0.5,
    movie_skew: float = 0.8,
    user_skew: float = 0.8,
    new_user_share: float = 0.3,
    new_movie_share: float = 0.3,
    seed: int = 0,
) -> Interactions:
    """Makes ratings that have what a recommender is to learn.

    Every user u and movie i has a latent vector of taste, p_u and q_i, of
    variance 1 in each of D dimensions. A share of q_i is the sum of its genres'
    vectors and a share of p_u that of the user's age, gender and occupation, so
    side features tell something of ids never seen. With the affinity
    a_ui = <p_u, q_i> / sqrt(D), of variance about 1,

    * user u rates n_u movies, n_u falling with a power of the user's rank;
    * they are drawn without repetition with odds w_i exp(s a_ui), where w_i
      falls with a power of the movie's rank and s is `taste_strength`;
    * the rating rises with a_ui and a quality of the movie, plus noise, with
      the shares of stars of MovieLens 1m;
    * users join and movies come out over two years, and no rating is older
      than either.

    Ids are strings with gaps, such as "user_48213" and "item_7731". The same
    arguments give the same data under the same NumPy. Results on it say that a
    model learns; they say nothing of real data.

    Example:
    >>> ratings = make_synthetic(num_users=50, num_movies=100, num_ratings=500)
    >>> len(ratings), ratings.rating_scale
    (500, (1, 5))
    >>> ratings.user_table.side_features.shape
    (50, 30)

    Args:
      num_users: Number of users; each has at least one rating.
      num_movies: Number of movies.
      num_ratings: Number of ratings.
      taste_dim: D, the dimension of taste.
      taste_strength: s; 0 leaves nothing but popularity.
      genre_share: Share of a movie's taste vector that its genres explain, in
        [0, 1).
      demographics_share: Share of a user's taste vector that age, gender and
        occupation explain, in [0, 1).
      movie_skew: Exponent of the power law of the movies' popularity.
      user_skew: Exponent of the power law of the users' activity.
      new_user_share: Share of the users who join after the start, in [0, 1).
      new_movie_share: Share of the movies that come out after the start, in
        [0, 1).
      seed: Seed of everything.

    Returns:
      The `Interactions`, by time, with ratings from 1 to 5 and all fields of
      MovieLens 1m but `user_zip_code`.

    Raises:
      ValueError: If an argument is out of range, or `num_ratings` is more than
        can be placed.
    """
    sizes = {"num_users": num_users, "num_movies": num_movies, "taste_dim": taste_dim}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be a positive integer. Received: {size}.")
    strengths = {
        "taste_strength": taste_strength,
        "movie_skew": movie_skew,
        "user_skew": user_skew,
    }
    for name, strength in strengths.items():
        if not (strength >= 0 and math.isfinite(strength)):
            raise ValueError(
                f"`{name}` must be a finite number >= 0. Received: {strength}."
            )
    check_share("genre_share", genre_share)
    check_share("demographics_share", demographics_share)
    check_share("new_user_share", new_user_share)
    check_share("new_movie_share", new_movie_share)

    rng = np.random.Generator(np.random.PCG64(seed))
    genres = _draw_genres(rng, num_movies)
    movie_release = _arrivals(rng, num_movies, new_movie_share)
    movie_taste = _mix(rng, _mean_taste(rng, genres, taste_dim), genre_share)
    user_table, demographics = _draw_users(rng, num_users)
    user_arrival = _arrivals(rng, num_users, new_user_share)
    user_taste = _mix(
        rng, _mean_taste(rng, demographics, taste_dim), demographics_share
    )
    # Who joins is active for a while, not till the end.
    stay = rng.exponential(0.6, num_users).clip(0.02, None) * _DURATION
    user_leave = np.minimum(user_arrival + stay, _DURATION)

    # A quarter of the movies out at the time, at most: a choice must be left.
    released = np.searchsorted(np.sort(movie_release), user_leave, side="right")
    activity = _activity(rng, num_ratings, released // 4, user_skew)
    weight = -movie_skew * np.log(rng.permutation(num_movies) + 10.0)

    user_index, movie_index, affinity = [], [], []
    # Users of like activity together, so that a chunk sorts no more than it needs.
    order = np.argsort(-activity, kind="stable")
    for start in range(0, num_users, _CHUNK):
        users = order[start : start + _CHUNK]
        # einsum, for BLAS may add up otherwise on another machine.
        liking = np.einsum("ud,md->um", user_taste[users], movie_taste)
        liking /= math.sqrt(taste_dim)
        # The largest of odds with Gumbel noise are a draw without repetition.
        keys = weight + taste_strength * liking + rng.gumbel(size=liking.shape)
        keys[movie_release > user_leave[users, np.newaxis]] = -np.inf
        most = int(activity[users].max())
        top = np.argpartition(-keys, most - 1, axis=1)[:, :most]
        by_key = np.argsort(-np.take_along_axis(keys, top, axis=1), axis=1)
        top = np.take_along_axis(top, by_key, axis=1)
        row, rank = np.nonzero(np.arange(most) < activity[users, np.newaxis])
        user_index.append(users[row])
        movie_index.append(top[row, rank])
        affinity.append(liking[row, top[row, rank]])
    user_of = np.concatenate(user_index)
    movie_of = np.concatenate(movie_index)

    quality = rng.normal(size=num_movies)
    noise = rng.normal(size=num_ratings)
    score = np.concatenate(affinity) + 0.5 * quality[movie_of] + 0.5 * noise
    earliest = np.maximum(user_arrival[user_of], movie_release[movie_of])
    moment = earliest + rng.random(num_ratings) * (user_leave[user_of] - earliest)
    timestamp = _START + moment.astype(np.int64)

    by_time = np.lexsort((movie_of, user_of, timestamp))
    return Interactions(
        user_table=user_table,
        movie_table=_movie_table(rng, genres, movie_release),
        user_index=user_of[by_time].astype(np.int32),
        movie_index=movie_of[by_time].astype(np.int32),
        user_rating=_stars(score)[by_time],
        timestamp=timestamp[by_time],
        rating_scale=(1, 5),
    )


def _draw_genres(rng: np.random.Generator, num_movies: int) -> npt.NDArray[np.bool_]:
    """Draws one to three genres a movie: bool of shape [num_movies, num_genres]."""
    odds = -0.7 * np.log(np.arange(len(_DRAWN_GENRES)) + 1.0)
    keys = rng.permutation(odds) + rng.gumbel(size=(num_movies, len(_DRAWN_GENRES)))
    order = np.argsort(-keys, axis=1)
    count = rng.choice(3, size=num_movies, p=[0.4, 0.4, 0.2]) + 1
    genres = np.zeros((num_movies, len(GENRES)), bool)
    rows, ranks = np.nonzero(np.arange(3) < count[:, np.newaxis])
    genres[rows, np.array(_DRAWN_GENRES)[order[rows, ranks]]] = True
    return genres


def _draw_users(
    rng: np.random.Generator, num_users: int
) -> tuple[UserTable, npt.NDArray[np.bool_]]:
    """Draws users, and bool of shape [num_users, ...] with who they are."""
    gender = rng.random(num_users) < 0.6
    age = rng.choice(
        len(AGE_BUCKETS), num_users, p=[0.04, 0.18, 0.34, 0.2, 0.1, 0.08, 0.06]
    )
    occupation = rng.integers(len(OCCUPATIONS), size=num_users)
    table = UserTable(
        user_id=_ids(rng, "user", num_users),
        user_gender=gender,
        bucketized_user_age=np.array(AGE_BUCKETS, np.float32)[age],
        user_occupation_label=occupation.astype(np.int64),
        user_occupation_text=np.array(OCCUPATIONS)[occupation],
    )
    groups = [
        gender[:, np.newaxis] == [False, True],
        age[:, np.newaxis] == np.arange(len(AGE_BUCKETS)),
        occupation[:, np.newaxis] == np.arange(len(OCCUPATIONS)),
    ]
    return table, np.concatenate(groups, axis=1)


def _mean_taste(
    rng: np.random.Generator, groups: npt.NDArray[np.bool_], taste_dim: int
) -> _Floats:
    """Sums a random vector for every group that a row belongs to."""
    vectors = rng.normal(size=(groups.shape[1], taste_dim))
    return np.einsum("rg,gd->rd", groups.astype(np.float64), vectors)


def _mix(rng: np.random.Generator, explained: _Floats, share: float) -> _Floats:
    """Adds what is a row's own, so that `share` of the variance is explained."""
    explained = explained - explained.mean(axis=0)
    spread = math.sqrt(float(np.mean(explained**2))) or 1.0
    own = rng.normal(size=explained.shape)
    return math.sqrt(share) * explained / spread + math.sqrt(1 - share) * own


def _arrivals(rng: np.random.Generator, count: int, late_share: float) -> _Floats:
    """Draws seconds after the start: 0, or for a share of the rows any time."""
    moments = rng.random(count) * (0.98 * _DURATION)
    moments[rng.permutation(count) >= round(late_share * count)] = 0.0
    return moments


def _activity(
    rng: np.random.Generator, num_ratings: int, most: _Ints, skew: float
) -> _Ints:
    """Draws the number of ratings of every user: at least 1, at most `most`."""
    num_users = len(most)
    if not num_users <= num_ratings <= most.sum() or most.min() < 1:
        raise ValueError(
            "`num_ratings` must allow each user one rating, and be no more than "
            "a quarter of the movies that are out for each. Received: "
            f"{num_ratings}; it must lie between {num_users} and {most.sum()}, with "
            "at least four movies out from the start."
        )
    odds = (rng.permutation(num_users) + 10.0) ** -skew
    # The factor by which the odds, between 1 and the most, sum to num_ratings.
    low, high = 0.0, float(most.max() / odds.min())
    for _ in range(100):
        middle = (low + high) / 2
        if np.clip(np.floor(middle * odds), 1, most).sum() > num_ratings:
            high = middle
        else:
            low = middle
    activity: _Ints = np.clip(np.floor(low * odds), 1, most).astype(np.int64)
    # Rounding leaves a few over; they go to users who can take one more.
    while missing := num_ratings - int(activity.sum()):
        room = np.flatnonzero(activity < most)
        activity[rng.permutation(room)[:missing]] += 1
    return activity


def _stars(score: _Floats) -> npt.NDArray[np.float32]:
    """Cuts scores into 1 to 5 stars with fixed shares."""
    rank = np.empty(len(score), np.int64)
    rank[np.argsort(score, kind="stable")] = np.arange(len(score))
    cuts = np.cumsum(_RATING_SHARES)[:-1] * len(score)
    return (1 + np.searchsorted(cuts, rank, side="right")).astype(np.float32)


def _movie_table(
    rng: np.random.Generator, genres: npt.NDArray[np.bool_], release: _Floats
) -> MovieTable:
    ids = _ids(rng, "item", len(genres))
    lists: list[list[int]] = [np.flatnonzero(row).tolist() for row in genres]
    years = np.where(
        release > 0,
        2020 + (release // (365 * 86_400)).astype(np.int64),
        rng.integers(1950, 2020, size=len(genres)),
    )
    titles: list[Any] = [
        f"{GENRES[indices[0]]} {movie_id.removeprefix('item_')} ({year})"
        for movie_id, indices, year in zip(ids.tolist(), lists, years, strict=True)
    ]
    return MovieTable(
        movie_id=ids,
        movie_title=np.array(titles, np.str_),
        movie_genres=lists,
        genre_names=GENRES,
    )


def _ids(rng: np.random.Generator, prefix: str, count: int) -> npt.NDArray[np.str_]:
    """Draws distinct ids with gaps between their numbers."""
    numbers = rng.choice(20 * count, size=count, replace=False) + 1
    return np.array([f"{prefix}_{number}" for number in numbers], np.str_)
