"""`MovieTable`: the catalogue, one row a movie."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfrs_dhe.datasets.batching import Column, batched_dataset, example_dataset
from tfrs_dhe.datasets.checks import check_length, check_unique


@dataclasses.dataclass(frozen=True, eq=False)
class MovieTable:
    """Movies with their titles and genres.

    Example:
    >>> movies = MovieTable(
    ...     movie_id=np.array(["m1", "m2"]),
    ...     movie_title=np.array(["Heat (1995)", "Untitled"]),
    ...     movie_genres=[[1, 0], []],
    ...     genre_names=("Action", "Crime"),
    ... )
    >>> movies.side_features
    array([[1., 1.],
           [0., 0.]], dtype=float32)

    Attributes:
      movie_id: Distinct strings of shape [num_movies].
      movie_title: Strings of shape [num_movies].
      movie_genres: For every movie the indices of its genres in `genre_names`,
        in the order of the source; an empty list where none is known.
      genre_names: Names of the genres.
    """

    movie_id: npt.NDArray[np.str_]
    movie_title: npt.NDArray[np.str_]
    movie_genres: Sequence[Sequence[int]]
    genre_names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_unique("movie_id", self.movie_id)
        check_length("movie_title", self.movie_title, len(self.movie_id))
        check_length("movie_genres", self.movie_genres, len(self.movie_id))
        genres = self._flat_genres
        if genres.size and not (
            genres.min() >= 0 and genres.max() < len(self.genre_names)
        ):
            raise ValueError(
                "`movie_genres` must hold indices into `genre_names`, which has "
                f"{len(self.genre_names)} names. Received indices from "
                f"{genres.min()} to {genres.max()}."
            )

    def __len__(self) -> int:
        return len(self.movie_id)

    @functools.cached_property
    def _genre_counts(self) -> npt.NDArray[np.int64]:
        return np.array([len(genres) for genres in self.movie_genres], np.int64)

    @functools.cached_property
    def _flat_genres(self) -> npt.NDArray[np.int64]:
        return np.array([g for genres in self.movie_genres for g in genres], np.int64)

    @functools.cached_property
    def side_features(self) -> npt.NDArray[np.float32]:
        """Multi-hot genres: float32 of shape [num_movies, num_genres]."""
        features = np.zeros((len(self), len(self.genre_names)), np.float32)
        rows = np.repeat(np.arange(len(self)), self._genre_counts)
        features[rows, self._flat_genres] = 1.0
        return features

    @property
    def side_feature_names(self) -> tuple[str, ...]:
        """What each column of `side_features` stands for."""
        return tuple(f"movie_genres={name}" for name in self.genre_names)

    def columns(self) -> dict[str, Column]:
        """Returns the fields of `dataset` and their values."""
        return {
            "movie_id": Column(self.movie_id),
            "movie_title": Column(self.movie_title),
            "movie_genres": Column(
                tf.RaggedTensor.from_row_lengths(self._flat_genres, self._genre_counts)
            ),
            "movie_side_features": Column(self.side_features),
        }

    def dataset(self, fields: Iterable[str] | None = None) -> tf.data.Dataset:
        """Returns the movies as a dataset of single examples.

        Args:
          fields: Names of the fields wanted; None gives all.

        Returns:
          A `tf.data.Dataset` of dicts with the fields of the tensorflow-datasets
          configurations `movielens/*-movies`,

            * `movie_id`, `movie_title`: string, shape [],
            * `movie_genres`: int64, shape [None], genre indices (batched, a
              `tf.RaggedTensor`),

          and `movie_side_features`: float32, shape [num_genres], the genres
          multi-hot.
        """
        return example_dataset(self.columns(), len(self), fields=fields)

    def batches(
        self, batch_size: int, fields: Iterable[str] | None = None
    ) -> tf.data.Dataset:
        """Returns the movies in batches, with the fields of `dataset`."""
        return batched_dataset(self.columns(), len(self), batch_size, fields=fields)
