"""`load_movielens`: MovieLens as tensorflow-datasets downloads and builds it."""

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tfrs_dhe.datasets.interactions import Interactions
from tfrs_dhe.datasets.movie_table import MovieTable
from tfrs_dhe.datasets.movielens_labels import OCCUPATIONS
from tfrs_dhe.datasets.user_table import UserTable

_logger = logging.getLogger(__name__)

#: Versions, and roughly what building them takes on two cores.
VERSIONS = {
    "100k": "half a minute",
    "latest-small": "half a minute",
    "1m": "four minutes",
    "20m": "more than an hour",
    "25m": "more than an hour",
}

_RATING_SCALES = {"100k": (1.0, 5.0), "1m": (1.0, 5.0)}
_HALF_STARS = (0.5, 5.0)

_USER_STRINGS = ("user_occupation_text", "user_zip_code")
_USER_FIELDS = (
    "user_gender",
    "bucketized_user_age",
    "user_occupation_label",
    "raw_user_age",
    *_USER_STRINGS,
)
_BATCH = 8192


def load_movielens(
    version: str = "100k", *, tfds_data_dir: str | Path | None = None
) -> Interactions:
    """Loads MovieLens through tensorflow-datasets.

    The first call downloads the data and builds it; tensorflow-datasets shows
    the progress. Later calls read what was built.

    Args:
      version: "100k", "1m", "20m", "25m" or "latest-small".
      tfds_data_dir: Where tensorflow-datasets keeps what it builds; by default
        its own `~/tensorflow_datasets`.

    Returns:
      The `Interactions`, with all movies of the version.

    Raises:
      ValueError: If there is no such version.
      ImportError: If tensorflow-datasets is not installed.

    References:
      - [Harper and Konstan, 2015, The MovieLens Datasets: History and
        Context](https://doi.org/10.1145/2827872)
      - [The builder](https://www.tensorflow.org/datasets/catalog/movielens)
    """
    if version not in VERSIONS:
        raise ValueError(
            f"`version` must be one of {sorted(VERSIONS)}. Received: {version!r}."
        )
    tfds = _import_tfds()
    movies = _load(tfds, f"movielens/{version}-movies", version, tfds_data_dir)
    genre_lists = movies.pop("movie_genres")
    movie_table = MovieTable(
        movie_id=_strings(movies["movie_id"]),
        movie_title=_strings(movies["movie_title"]),
        movie_genres=genre_lists["values"],
        genre_names=genre_lists["names"],
    )
    ratings = _load(tfds, f"movielens/{version}-ratings", version, tfds_data_dir)
    names = ratings.pop("movie_genres")["names"]
    if names != movie_table.genre_names:
        raise ValueError(
            f"tensorflow-datasets gives the movies the genres "
            f"{movie_table.genre_names} and the ratings {names}."
        )
    user_id, first, user_index = np.unique(
        _strings(ratings["user_id"]), return_index=True, return_inverse=True
    )
    by_id = np.argsort(movie_table.movie_id)
    movie_id = _strings(ratings["movie_id"])
    found = np.searchsorted(movie_table.movie_id, movie_id, sorter=by_id)
    movie_index = by_id[np.minimum(found, len(by_id) - 1)]
    unknown = np.setdiff1d(movie_id, movie_table.movie_id)
    if unknown.size:
        raise ValueError(
            f"movielens/{version}-ratings has {unknown.size} movies that "
            f"movielens/{version}-movies lacks, among them {unknown[:5].tolist()}; "
            "delete both from `tfds_data_dir` and build them again."
        )
    demographics: dict[str, Any] = {
        name: _strings(ratings[name][first])
        if name in _USER_STRINGS
        else ratings[name][first]
        for name in _USER_FIELDS
        if name in ratings
    }
    return Interactions(
        user_table=UserTable(user_id=user_id, **demographics),
        movie_table=movie_table,
        user_index=user_index.astype(np.int32),
        movie_index=movie_index.astype(np.int32),
        user_rating=ratings["user_rating"],
        timestamp=ratings["timestamp"],
        rating_scale=_RATING_SCALES.get(version, _HALF_STARS),
    )


def _import_tfds() -> ModuleType:
    try:
        # tensorflow-datasets needs it to build, and does not declare it.
        import importlib_resources  # noqa: F401
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            "Downloading MovieLens needs tensorflow-datasets and importlib_resources. "
            f"Of these could not be imported: {error}. Install them with `pip install "
            "tensorflow-datasets importlib_resources`, or pass `data_dir`, a folder of "
            "MovieLens's files."
        ) from error
    return tensorflow_datasets


def _load(
    tfds: ModuleType, config: str, version: str, tfds_data_dir: str | Path | None
) -> dict[str, Any]:
    """Builds one configuration and returns its columns.

    `movie_genres` is a dict of the class names and, for a table of movies, the
    lists of classes; the ratings would only repeat those.
    """
    builder = tfds.builder(config, data_dir=tfds_data_dir)
    if not builder.is_prepared():
        _logger.warning(
            "Downloading and building %s once; its size asks for about %s.",
            config,
            VERSIONS[version],
        )
        builder.download_and_prepare()
    labels = builder.info.features
    if "user_occupation_label" in labels:
        names = tuple(labels["user_occupation_label"].names)
        if names != OCCUPATIONS:
            raise ValueError(
                f"{config} numbers occupations as {names}, and tfrs_dhe as "
                f"{OCCUPATIONS}; install tensorflow-datasets 4.9."
            )
    data = builder.as_dataset(split="train", shuffle_files=False)
    genres: dict[str, Any] = {
        "names": tuple(labels["movie_genres"].feature.names),
    }
    if config.endswith("-movies"):
        genres["values"] = [
            example["movie_genres"].tolist() for example in tfds.as_numpy(data)
        ]
    flat = data.map(
        lambda example: {k: v for k, v in example.items() if k != "movie_genres"}
    )
    batches = list(tfds.as_numpy(flat.batch(_BATCH)))
    columns: dict[str, Any] = {
        name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]
    }
    return {**columns, "movie_genres": genres}


def _strings(values: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    return np.array([value.decode("utf-8") for value in values], np.str_)
