"""`Interactions`: ratings of movies by users, in memory."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfrs_dhe.datasets.batching import Column, batched_dataset, example_dataset
from tfrs_dhe.datasets.checks import check_length
from tfrs_dhe.datasets.movie_table import MovieTable
from tfrs_dhe.datasets.user_table import UserTable

#: Stands in `timestamp` where the source has none. No time is ever guessed.
NO_TIMESTAMP = -1

# Four fifths of the way up the scale: 4 of 5 stars, 8 of 10 points.
_POSITIVE_SHARE_OF_SCALE = 0.8


@dataclasses.dataclass(frozen=True, eq=False)
class Interactions:
    """Ratings, with the tables of the users and movies that they refer to.

    A rating holds the row numbers of its user and movie; `user_id` and
    `movie_id` look the ids up. No user has rated a movie twice.

    Example:
    >>> from tfrs_dhe.datasets import load
    >>> ratings = load("synthetic", num_users=100, num_movies=200, num_ratings=2_000)
    >>> len(ratings), len(ratings.user_table), len(ratings.movie_table)
    (2000, 100, 200)
    >>> batch = next(iter(ratings.batches(256, shuffle=True)))
    >>> batch["movie_side_features"].shape
    TensorShape([256, 21])

    Attributes:
      user_table: The users.
      movie_table: The catalogue. Movies without a rating belong to it.
      user_index: int32 of shape [num_ratings], rows of `user_table`.
      movie_index: int32 of shape [num_ratings], rows of `movie_table`.
      user_rating: float32 of shape [num_ratings].
      timestamp: int64 of shape [num_ratings], seconds since 1970 (UTC), or
        `NO_TIMESTAMP`.
      rating_scale: Lowest and highest rating that can be given.
    """

    user_table: UserTable
    movie_table: MovieTable
    user_index: npt.NDArray[np.int32]
    movie_index: npt.NDArray[np.int32]
    user_rating: npt.NDArray[np.float32]
    timestamp: npt.NDArray[np.int64]
    rating_scale: tuple[float, float]

    def __post_init__(self) -> None:
        num_ratings = len(self.user_index)
        for name in ("movie_index", "user_rating", "timestamp"):
            check_length(name, getattr(self, name), num_ratings)
        if not num_ratings:
            raise ValueError(
                "`Interactions` needs at least one rating. Received none; check the "
                "file of ratings or the selection that was made."
            )
        _check_range("user_index", self.user_index, 0, len(self.user_table) - 1)
        _check_range("movie_index", self.movie_index, 0, len(self.movie_table) - 1)
        _check_range("user_rating", self.user_rating, *self.rating_scale)
        _check_range("timestamp", self.timestamp, NO_TIMESTAMP, np.inf)
        pairs = np.sort(pair_keys(self.user_index, self.movie_index, self.movie_table))
        num_repeated = int(np.count_nonzero(pairs[1:] == pairs[:-1]))
        if num_repeated:
            raise ValueError(
                "A user rates a movie at most once. Received "
                f"{num_repeated} repeated pairs of `user_index` and `movie_index`; "
                "keep one rating of each."
            )

    def __len__(self) -> int:
        return len(self.user_index)

    @property
    def user_id(self) -> npt.NDArray[np.str_]:
        """Id of every rating's user: strings of shape [num_ratings]."""
        return self.user_table.user_id[self.user_index]

    @property
    def movie_id(self) -> npt.NDArray[np.str_]:
        """Id of every rating's movie: strings of shape [num_ratings]."""
        return self.movie_table.movie_id[self.movie_index]

    @property
    def has_timestamp(self) -> npt.NDArray[np.bool_]:
        """Whether the time of a rating is known: bool of shape [num_ratings]."""
        return self.timestamp != NO_TIMESTAMP

    @property
    def ratings(self) -> tf.data.Dataset:
        """All ratings, as `dataset()` gives them."""
        return self.dataset()

    @property
    def movies(self) -> tf.data.Dataset:
        """The catalogue, as `MovieTable.dataset()` gives it."""
        return self.movie_table.dataset()

    @property
    def users(self) -> tf.data.Dataset:
        """The users, as `UserTable.dataset()` gives them."""
        return self.user_table.dataset()

    def columns(self) -> dict[str, Column]:
        """Returns the fields of `dataset` and their values."""
        users, movies = self.user_table.columns(), self.movie_table.columns()
        return {
            **{name: Column(c.values, self.user_index) for name, c in users.items()},
            **{name: Column(c.values, self.movie_index) for name, c in movies.items()},
            "user_rating": Column(self.user_rating),
            "timestamp": Column(self.timestamp),
        }

    def dataset(self, fields: Iterable[str] | None = None) -> tf.data.Dataset:
        """Returns the ratings as a dataset of single examples, in order.

        Args:
          fields: Names of the fields wanted; None gives all.

        Returns:
          A `tf.data.Dataset` of dicts: each rating with the fields of its user
          (`UserTable.dataset`) and movie (`MovieTable.dataset`), `user_rating`
          (float32, shape []) and `timestamp` (int64, shape []). These are the
          fields of the tensorflow-datasets configurations `movielens/*-ratings`
          and the two dense vectors of side features. To train, take `batches`:
          `dataset().shuffle(...).batch(...)` is some ten times slower.
        """
        return example_dataset(self.columns(), len(self), fields=fields)

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_remainder: bool = False,
        fields: Iterable[str] | None = None,
    ) -> tf.data.Dataset:
        """Returns the ratings in batches; faster than `dataset().batch(...)`.

        Args:
          batch_size: Ratings in a batch.
          shuffle: Whether every pass has a new, complete shuffle.
          seed: Seed of the shuffle: the same seed, the same passes.
          drop_remainder: Whether a smaller last batch is left out.
          fields: Names of the fields wanted; None gives all.

        Returns:
          A `tf.data.Dataset` of dicts with tensors of shape [batch_size, ...].
        """
        return batched_dataset(
            self.columns(),
            len(self),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
            fields=fields,
        )

    def select(self, rows: npt.NDArray[Any]) -> "Interactions":
        """Returns the ratings at `rows`, with the same users and movies.

        Args:
          rows: Row numbers, or bool of shape [num_ratings].

        Returns:
          Fewer, or reordered, `Interactions`.
        """
        return dataclasses.replace(
            self,
            user_index=self.user_index[rows],
            movie_index=self.movie_index[rows],
            user_rating=self.user_rating[rows],
            timestamp=self.timestamp[rows],
        )

    def positives(self, min_rating: float | None = None) -> "Interactions":
        """Returns the ratings that count as "liked", for implicit feedback.

        Args:
          min_rating: Lowest rating that counts. By default four fifths of the
            highest one: 4 of 5 stars, 8 on MovieTweetings' scale to 10.

        Returns:
          The `Interactions` with `user_rating >= min_rating`.

        Raises:
          ValueError: If `min_rating` lies outside the scale, or no rating is as
            high.
        """
        low, high = self.rating_scale
        if min_rating is None:
            min_rating = _POSITIVE_SHARE_OF_SCALE * high
        if not low <= min_rating <= high:
            raise ValueError(
                f"`min_rating` must lie on the rating scale, from {low} to {high}. "
                f"Received: {min_rating}."
            )
        liked = self.user_rating >= min_rating
        if not liked.any():
            raise ValueError(
                f"No rating is as high as `min_rating`. Received: {min_rating}; the "
                f"highest rating in the data is {self.user_rating.max()}."
            )
        return self.select(liked)


def pair_keys(
    user_index: npt.NDArray[np.int32],
    movie_index: npt.NDArray[np.int32],
    movie_table: MovieTable,
) -> npt.NDArray[np.int64]:
    """Returns one integer for each pair of a user and a movie."""
    return user_index.astype(np.int64) * len(movie_table) + movie_index


def _check_range(name: str, values: npt.NDArray[Any], low: float, high: float) -> None:
    # Written so that NaN fails too.
    if not np.all((values >= low) & (values <= high)):
        raise ValueError(
            f"`{name}` must lie between {low} and {high}. Received values from "
            f"{values.min()} to {values.max()}."
        )
