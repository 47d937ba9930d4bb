"""`read_folder`: MovieLens, or MovieTweetings, from the files as published."""

import dataclasses
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfrs_dhe.datasets.interactions import NO_TIMESTAMP, Interactions, pair_keys
from tfrs_dhe.datasets.movie_table import MovieTable
from tfrs_dhe.datasets.movielens_labels import (
    AGE_BUCKETS,
    GENRE_ALIASES,
    GENRES,
    GENRES_100K,
    OCCUPATION_ALIASES,
    OCCUPATIONS,
    OCCUPATIONS_1M,
)
from tfrs_dhe.datasets.text_files import TextFile, fail, parse_column, plain_number
from tfrs_dhe.datasets.user_table import UserTable

_logger = logging.getLogger(__name__)

# A parser for every column of a table of users, by the name of the column.
_UserParsers = Mapping[str, tuple[int, Callable[[str], Any], npt.DTypeLike]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one version of the data lies in its folder.

    Attributes:
      name: Name of the layout.
      movies: File of the movies; the id and the title are its first two fields.
      ratings: Files, one of which holds the ratings: user, movie, rating, time.
      rating_scale: Lowest and highest rating.
      genres: Turns the fields of a movie after the title into names of genres.
      genre_names: The genres there can be; None takes those of the file, sorted.
      users: File of the users, if there is one.
      user_parsers: Where in `users` each column is, its parser and its dtype.
      also: Files that tell this layout from a similar one.
      absent: Files that it does not have, likewise.
    """

    name: str
    movies: TextFile
    ratings: tuple[TextFile, ...]
    rating_scale: tuple[float, float]
    genres: Callable[[list[str]], list[str]]
    genre_names: tuple[str, ...] | None = GENRES
    users: TextFile | None = None
    user_parsers: _UserParsers = dataclasses.field(default_factory=dict)
    also: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def can_be_read(self, folder: Path) -> bool:
        """Whether the folder has the tables of this layout."""
        needed = [self.movies.name]
        if self.users is not None:
            needed.append(self.users.name)
        return all((folder / name).is_file() for name in needed) and any(
            (folder / file.name).is_file() for file in self.ratings
        )

    def is_in(self, folder: Path) -> bool:
        """Whether the files tell that the folder has this layout."""
        return (
            self.can_be_read(folder)
            and all((folder / name).is_file() for name in self.also)
            and not any((folder / name).exists() for name in self.absent)
        )

    def describe(self) -> str:
        """Names the files, for messages."""
        names = [self.movies.name]
        names += [self.users.name] if self.users else []
        names += [" or ".join(file.name for file in self.ratings), *self.also]
        without = f" without {', '.join(self.absent)}" if self.absent else ""
        return f"{self.name} ({', '.join(names)}{without})"


def _piped_genres(fields: list[str]) -> list[str]:
    names = fields[0].split("|") if fields[0] else []
    return [GENRE_ALIASES.get(name, name) for name in names]


def _flagged_genres(fields: list[str]) -> list[str]:
    flags = fields[3:]  # After release date, video release date and IMDb address.
    return [name for name, flag in zip(GENRES_100K, flags, strict=True) if _FLAGS[flag]]


def _age(age: str) -> int:
    return int(plain_number(age))


def _age_bucket(age: str) -> int:
    years = _age(age)
    return max((bucket for bucket in AGE_BUCKETS if bucket <= years), default=1)


def _occupation_text_1m(number: str) -> str:
    return _OCCUPATION_OF_NUMBER[number]


def _occupation_label(text: str) -> int:
    return OCCUPATIONS.index(OCCUPATION_ALIASES.get(text, text))


_FLAGS = {"0": False, "1": True}
_IS_MALE = {"M": True, "F": False}
_AGE_BUCKET_OF_TEXT = {str(age): age for age in AGE_BUCKETS}
_OCCUPATION_OF_NUMBER = {str(i): text for i, text in enumerate(OCCUPATIONS_1M)}

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="100k",
            movies=TextFile("u.item", 24, "|", "latin-1"),
            users=TextFile("u.user", 5, "|", "latin-1"),
            ratings=(TextFile("u.data", 4, "\t", "latin-1"),),
            rating_scale=(1, 5),
            genres=_flagged_genres,
            user_parsers={
                "raw_user_age": (1, _age, np.float32),
                "bucketized_user_age": (1, _age_bucket, np.float32),
                "user_gender": (2, _IS_MALE.__getitem__, np.bool_),
                "user_occupation_label": (3, _occupation_label, np.int64),
                "user_occupation_text": (3, str, np.object_),
                "user_zip_code": (4, str, np.object_),
            },
        ),
        Layout(
            name="1m",
            movies=TextFile("movies.dat", 3, "::", "latin-1"),
            users=TextFile("users.dat", 5, "::", "latin-1"),
            ratings=(
                TextFile("ratings.dat", 4, "::", "latin-1"),
                TextFile("ratings.tsv", 4, "\t", "latin-1"),
            ),
            rating_scale=(1, 5),
            genres=_piped_genres,
            user_parsers={
                "user_gender": (1, _IS_MALE.__getitem__, np.bool_),
                "bucketized_user_age": (
                    2,
                    _AGE_BUCKET_OF_TEXT.__getitem__,
                    np.float32,
                ),
                "user_occupation_label": (
                    3,
                    lambda number: _occupation_label(_occupation_text_1m(number)),
                    np.int64,
                ),
                "user_occupation_text": (3, _occupation_text_1m, np.object_),
                "user_zip_code": (4, str, np.object_),
            },
        ),
        Layout(
            name="10m",
            movies=TextFile("movies.dat", 3, "::", "utf-8-sig"),
            ratings=(TextFile("ratings.dat", 4, "::", "utf-8-sig"),),
            rating_scale=(0.5, 5),
            genres=_piped_genres,
            also=("tags.dat",),
            absent=("users.dat",),
        ),
        Layout(
            name="movietweetings",
            movies=TextFile("movies.dat", 3, "::", "utf-8-sig"),
            ratings=(TextFile("ratings.dat", 4, "::", "utf-8-sig"),),
            rating_scale=(0, 10),
            genres=_piped_genres,
            genre_names=None,
            absent=("users.dat", "tags.dat"),
        ),
        Layout(
            name="csv",
            movies=TextFile(
                "movies.csv", 3, ",", "utf-8-sig", ("movieId", "title", "genres")
            ),
            ratings=(
                TextFile(
                    "ratings.csv",
                    4,
                    ",",
                    "utf-8-sig",
                    ("userId", "movieId", "rating", "timestamp"),
                ),
            ),
            rating_scale=(0.5, 5),
            genres=_piped_genres,
        ),
    )
}


def read_folder(
    data_dir: str | Path,
    *,
    layout: str | None = None,
    genre_names: tuple[str, ...] | None = None,
) -> Interactions:
    """Reads ratings, movies and users from a folder as it was published.

    | layout           | files                                               |
    |------------------|-----------------------------------------------------|
    | `100k`           | `u.item u.user u.data`                              |
    | `1m`             | `movies.dat users.dat`, `ratings.dat` or `.tsv`     |
    | `10m`            | `movies.dat ratings.dat tags.dat`                   |
    | `csv`            | `movies.csv ratings.csv` (20m, 25m, latest)         |
    | `movietweetings` | `movies.dat ratings.dat` alone                      |

    Fields and classes are those of the tensorflow-datasets builder `movielens`,
    which need not be installed. `100k` and `1m` know their users' gender, age
    and occupation; the others know nothing of them. MovieTweetings has genres of
    its own, and ratings from 0 to 10.

    Nothing is left out: every line becomes a row, and a line that cannot is an
    error. A rating whose time is empty is kept with `NO_TIMESTAMP`, the number
    of such ratings is logged, and `split_by_time` decides what becomes of them.

    Example:
    >>> ratings = read_folder("ml-1m")  # doctest: +SKIP

    Args:
      data_dir: The folder.
      layout: A name of the table, where the files alone would mean another:
        "movietweetings" for a folder that also has that project's `users.dat`
        of Twitter ids, which is not read.
      genre_names: The genres there can be, in the order of their indices. By
        default the 21 of tensorflow-datasets; for MovieTweetings those of the
        file, sorted.

    Returns:
      The `Interactions`, in the order of the files.

    Raises:
      ValueError: If the folder has no known layout, or a line is wrong; the
        message names the file and the line.

    References:
      - [Harper and Konstan, 2015, The MovieLens Datasets: History and
        Context](https://doi.org/10.1145/2827872); formats in the README of
        every [version](https://grouplens.org/datasets/movielens/).
      - [Dooms et al., 2013, MovieTweetings: a movie rating dataset collected
        from Twitter](https://github.com/sidooms/MovieTweetings).
    """
    folder = Path(data_dir)
    kind = _layout(folder, layout)
    movies = _read_movies(folder, kind, genre_names or kind.genre_names)
    users = None if kind.users is None else _read_users(folder, kind, kind.users)
    ratings = _read_ratings(folder, kind, movies, users)
    num_untimed = int(np.count_nonzero(~ratings.has_timestamp))
    if num_untimed:
        _logger.info(
            "%d of %d ratings in %s have no timestamp; none is guessed.",
            num_untimed,
            len(ratings),
            folder,
        )
    return ratings


def _layout(folder: Path, name: str | None) -> Layout:
    """Finds the layout of a folder, or checks the one that was named."""
    known = "; ".join(layout.describe() for layout in LAYOUTS.values())
    if not folder.is_dir():
        raise ValueError(f"`data_dir` must be a folder. Received: {str(folder)!r}.")
    if name is not None:
        if name not in LAYOUTS:
            raise ValueError(
                f"`layout` must be one of {sorted(LAYOUTS)}. Received: {name!r}."
            )
        if not LAYOUTS[name].can_be_read(folder):
            raise ValueError(
                f"`data_dir` must hold the files of {LAYOUTS[name].describe()}. "
                f"Received {str(folder)!r} with {_listing(folder)}."
            )
        return LAYOUTS[name]
    fitting = [layout for layout in LAYOUTS.values() if layout.is_in(folder)]
    if len(fitting) != 1:
        raise ValueError(
            f"`data_dir` must hold the files of one layout among: {known}. Received "
            f"{str(folder)!r} with {_listing(folder)}, which fits "
            f"{[layout.name for layout in fitting] or 'none'}; name it with `layout`."
        )
    return fitting[0]


def _listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())[:20]


def _read_movies(
    folder: Path, layout: Layout, genre_names: tuple[str, ...] | None
) -> MovieTable:
    path = folder / layout.movies.name
    ids: dict[str, int] = {}
    titles, genres = [], []
    for line, (movie_id, title, *rest) in layout.movies.rows(folder):
        _add_id(path, line, "movie", movie_id, ids)
        titles.append(title)
        try:
            names = layout.genres(rest)
        except KeyError as error:
            fail(path, line, f"a genre's column must be 0 or 1, received {error}")
        if len(set(names)) < len(names):
            fail(path, line, f"a genre is named twice: {names}")
        genres.append((line, names))

    if genre_names is None:
        genre_names = tuple(sorted({name for _, names in genres for name in names}))
    index = {name: i for i, name in enumerate(genre_names)}
    for line, names in genres:
        for name in names:
            if name not in index:
                fail(
                    path,
                    line,
                    f"unknown genre {name!r}; known are {list(genre_names)}. Pass "
                    "`genre_names` if the data has others.",
                )
    return MovieTable(
        movie_id=np.array(list(ids), np.str_),
        movie_title=np.array(titles, np.str_),
        movie_genres=[[index[name] for name in names] for _, names in genres],
        genre_names=genre_names,
    )


def _read_users(folder: Path, layout: Layout, file: TextFile) -> UserTable:
    path = folder / file.name
    ids: dict[str, int] = {}
    rows = []
    for line, row in file.rows(folder):
        _add_id(path, line, "user", row[0], ids)
        rows.append(row)
    columns: dict[str, Any] = {}
    for name, (position, parse, dtype) in layout.user_parsers.items():
        texts = [row[position] for row in rows]
        values = parse_column(path, file.first_line, name, texts, parse, dtype)
        columns[name] = values.astype(np.str_) if dtype is np.object_ else values
    return UserTable(user_id=np.array(list(ids), np.str_), **columns)


def _read_ratings(
    folder: Path, layout: Layout, movies: MovieTable, users: UserTable | None
) -> Interactions:
    present = [file for file in layout.ratings if (folder / file.name).is_file()]
    if len(present) != 1:
        raise ValueError(
            "`data_dir` must hold one file of ratings, "
            f"{' or '.join(file.name for file in layout.ratings)}. Received "
            f"{str(folder)!r} with {[file.name for file in present]}."
        )
    (file,) = present
    path = folder / file.name
    movie_row = {str(movie_id): i for i, movie_id in enumerate(movies.movie_id)}
    user_row: dict[str, int]
    if users is None:
        # Without a file of users, their order is that of their first rating.
        numbers = itertools.count()
        user_row = defaultdict(numbers.__next__)
    else:
        user_row = {str(user_id): i for i, user_id in enumerate(users.user_id)}

    low, high = layout.rating_scale

    def parse_user(text: str) -> int:
        if not text:
            raise ValueError("the id is empty")
        try:
            return user_row[text]
        except KeyError:
            raise ValueError("the user is not in the file of users") from None

    def parse_movie(text: str) -> int:
        try:
            return movie_row[text]
        except KeyError:
            raise ValueError(f"the movie is not in {layout.movies.name}") from None

    def parse_rating(text: str) -> float:
        rating = float(plain_number(text))
        if not low <= rating <= high:
            raise ValueError(f"ratings lie between {low} and {high}")
        return rating

    parsers: dict[str, tuple[int, Callable[[str], Any], npt.DTypeLike]] = {
        "user_id": (0, parse_user, np.int32),
        "movie_id": (1, parse_movie, np.int32),
        "user_rating": (2, parse_rating, np.float32),
        "timestamp": (3, _parse_timestamp, np.int64),
    }
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in parsers}
    for first_line, rows in file.chunks(folder):
        fields = list(zip(*rows, strict=True))
        for name, (position, parse, dtype) in parsers.items():
            texts = fields[position]
            values = parse_column(path, first_line, name, texts, parse, dtype)
            parts[name].append(values)
    if not parts["user_id"]:
        fail(path, file.first_line, "there is no rating in the file")
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}

    _check_pairs(path, file.first_line, columns, movies)
    if users is None:
        for user_id, number in user_row.items():
            # Else "7 " would be another user than "7".
            if user_id != user_id.strip():
                line = file.first_line + int(np.argmax(columns["user_id"] == number))
                problem = f"the user id has white space around it: {user_id!r}"
                fail(path, line, problem)
        users = UserTable(user_id=np.array(list(user_row), np.str_))
    return Interactions(
        user_table=users,
        movie_table=movies,
        user_index=columns["user_id"],
        movie_index=columns["movie_id"],
        user_rating=columns["user_rating"],
        timestamp=columns["timestamp"],
        rating_scale=layout.rating_scale,
    )


def _parse_timestamp(text: str) -> int:
    if not text:
        return NO_TIMESTAMP
    seconds = int(plain_number(text))
    if seconds < 0:
        raise ValueError("times are seconds since 1970")
    return seconds


def _add_id(path: Path, line: int, what: str, key: str, ids: dict[str, int]) -> None:
    if not key:
        fail(path, line, f"the {what} id is empty")
    if key != key.strip():
        fail(path, line, f"the {what} id has white space around it: {key!r}")
    if key in ids:
        fail(path, line, f"the {what} id {key!r} is also in line {ids[key]}")
    ids[key] = line


def _check_pairs(
    path: Path, first_line: int, columns: dict[str, Any], movies: MovieTable
) -> None:
    keys = pair_keys(columns["user_id"], columns["movie_id"], movies)
    order = np.argsort(keys, kind="stable")
    repeats = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    if repeats.size:
        at = repeats[np.argmin(order[repeats + 1])]
        first, second = order[at], order[at + 1]
        fail(
            path,
            int(second) + first_line,
            f"the user has rated the movie already, in line {int(first) + first_line}",
        )
