"""`load`: any of the data sets by its name."""

from pathlib import Path
from typing import Any

from tfrs_dhe.datasets.folder import read_folder
from tfrs_dhe.datasets.interactions import Interactions
from tfrs_dhe.datasets.movielens import VERSIONS, load_movielens
from tfrs_dhe.datasets.synthetic import make_synthetic

_MOVIELENS = "movielens/"
_LAYOUT_OF_VERSION = {"20m": "csv", "25m": "csv", "latest-small": "csv"}


def load(
    name: str = "synthetic", data_dir: str | Path | None = None, **options: Any
) -> Interactions:
    """Loads ratings with their users and movies.

    Example:
    >>> ratings = load()  # Made in memory: no network, no files.
    >>> from tfrs_dhe.datasets import split_by_time
    >>> split = split_by_time(ratings.positives())
    >>> load("movielens/1m")  # doctest: +SKIP
    >>> load("movielens/1m", data_dir="ml-1m")  # doctest: +SKIP
    >>> load(data_dir="movietweetings")  # doctest: +SKIP

    Args:
      name: "synthetic", or "movielens/" and one of "100k", "1m", "20m", "25m"
        and "latest-small".
      data_dir: A folder of files as GroupLens or MovieTweetings publish them.
        With it nothing is downloaded and tensorflow-datasets is not needed. A
        MovieLens name says which layout the folder has; otherwise its files do.
      **options: Arguments of `make_synthetic`, of `load_movielens`, or, with
        `data_dir`, of `read_folder`.

    Returns:
      The `Interactions`.

    Raises:
      ValueError: If there is no data set of that name, or for what
        `make_synthetic`, `load_movielens` or `read_folder` refuse.
    """
    version = name.removeprefix(_MOVIELENS)
    is_movielens = name.startswith(_MOVIELENS) and version in VERSIONS
    if name != "synthetic" and not is_movielens:
        names = ["synthetic", *(_MOVIELENS + version for version in VERSIONS)]
        raise ValueError(f"`name` must be one of {names}. Received: {name!r}.")
    if data_dir is not None:
        if is_movielens:
            layout = _LAYOUT_OF_VERSION.get(version, version)
            options = {"layout": layout, **options}
        return read_folder(data_dir, **options)
    if is_movielens:
        return load_movielens(version, **options)
    return make_synthetic(**options)
