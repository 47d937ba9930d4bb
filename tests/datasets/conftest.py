"""Tiny data: folders in the layouts of the published sets, and hand-made tables."""

import numpy as np
import pytest

from tfrs_dhe.datasets import Interactions, MovieTable, UserTable

MOVIES_1M = (
    "1::Toy Story (1995)::Animation|Children's|Comedy\n"
    "2::Misérables, Les (1995)::Drama|Musical\n"
    "7::Heat (1995)::Action\n"
)
USERS_1M = "10::F::1::10::48067\n20::M::56::16::70072\n"
RATINGS_1M = "20::1::5::100\n10::2::3::200\n10::1::4::300\n"

# Release date, video release date, IMDb address, then 19 flags.
FLAGS = {"none": "1" + "|0" * 18, "comedy_drama": "0|0|0|0|0|1|0|0|1" + "|0" * 10}


@pytest.fixture
def folder(tmp_path):
    """Returns a function that writes files, and gives their folder."""

    def write(files, encoding="latin-1"):
        for name, text in files.items():
            (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path

    return write


@pytest.fixture
def files_1m():
    return {
        "movies.dat": MOVIES_1M,
        "users.dat": USERS_1M,
        "ratings.dat": RATINGS_1M,
    }


@pytest.fixture
def files_100k():
    return {
        "u.item": (
            f"1|Amélie (2001)|01-Jan-2001||http://a|{FLAGS['comedy_drama']}\n"
            f"2|unknown||||{FLAGS['none']}\n"
        ),
        "u.user": "1|24|M|technician|85711\n2|17|F|none|94043\n3|60|F|student|1\n",
        "u.data": "2\t1\t3\t881250949\n1\t2\t5\t891717742\n",
    }


@pytest.fixture
def files_csv():
    return {
        "movies.csv": (
            "movieId,title,genres\n"
            '1,"American President, The (1995)",Comedy|Romance\n'
            "9,Œdipe (1990),(no genres listed)\n"
        ),
        "ratings.csv": (
            "userId,movieId,rating,timestamp\n5,9,0.5,1147880044\n3,1,4.5,1147868817\n"
        ),
    }


@pytest.fixture
def make_interactions():
    """Returns a function that makes `Interactions` of rows.

    A row is (user, movie, rating, timestamp).
    """

    def make(rows, num_users=3, num_movies=3, **users):
        user, movie, rating, timestamp = zip(*rows, strict=True)
        user_ids = np.array([f"u{i}" for i in range(num_users)])
        return Interactions(
            user_table=UserTable(user_ids, **users),
            movie_table=MovieTable(
                movie_id=np.array([f"m{i}" for i in range(num_movies)]),
                movie_title=np.array([f"Movie {i}" for i in range(num_movies)]),
                movie_genres=[[1] * i for i in range(2)] + [[0, 1]] * (num_movies - 2),
                genre_names=("Action", "Drama"),
            ),
            user_index=np.array(user, np.int32),
            movie_index=np.array(movie, np.int32),
            user_rating=np.array(rating, np.float32),
            timestamp=np.array(timestamp, np.int64),
            rating_scale=(1, 5),
        )

    return make
