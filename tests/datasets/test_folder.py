import importlib.util
import logging

import numpy as np
import pytest

from tfrs_dhe.datasets import NO_TIMESTAMP, load, read_folder
from tfrs_dhe.datasets.movielens_labels import GENRES, OCCUPATIONS

needs_tfds = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None
    or importlib.util.find_spec("importlib_resources") is None,
    reason="needs tensorflow-datasets",
)


def genre_names(table, row):
    return [table.genre_names[i] for i in table.movie_genres[row]]


def test_1m(folder, files_1m):
    data = read_folder(folder(files_1m))
    movies, users = data.movie_table, data.user_table
    assert movies.movie_id.tolist() == ["1", "2", "7"]
    assert movies.movie_title[1] == "Misérables, Les (1995)"
    assert movies.genre_names == GENRES
    # "Children's" is the class "Children" of the other versions.
    assert genre_names(movies, 0) == ["Animation", "Children", "Comedy"]
    assert users.user_id.tolist() == ["10", "20"]
    assert users.user_gender.tolist() == [False, True]
    assert users.bucketized_user_age.tolist() == [1.0, 56.0]
    assert users.user_occupation_text.tolist() == ["K-12 student", "self-employed"]
    labels = [OCCUPATIONS[i] for i in users.user_occupation_label]
    assert labels == ["student", "self-employed"]
    assert users.user_zip_code.tolist() == ["48067", "70072"]
    assert users.raw_user_age is None
    assert data.user_id.tolist() == ["20", "10", "10"]
    assert data.movie_id.tolist() == ["1", "2", "1"]
    assert data.user_rating.tolist() == [5.0, 3.0, 4.0]
    assert data.timestamp.tolist() == [100, 200, 300]
    assert data.rating_scale == (1, 5)


def test_100k(folder, files_100k):
    data = read_folder(folder(files_100k))
    movies, users = data.movie_table, data.user_table
    assert movies.movie_title.tolist() == ["Amélie (2001)", "unknown"]
    assert genre_names(movies, 0) == ["Comedy", "Drama"]
    assert genre_names(movies, 1) == ["Unknown"]
    assert users.raw_user_age.tolist() == [24.0, 17.0, 60.0]
    assert users.bucketized_user_age.tolist() == [18.0, 1.0, 56.0]
    assert users.user_gender.tolist() == [True, False, False]
    assert users.user_occupation_text.tolist() == ["technician", "none", "student"]
    labels = [OCCUPATIONS[i] for i in users.user_occupation_label]
    assert labels == ["technician/engineer", "other/not specified", "student"]
    assert data.user_id.tolist() == ["2", "1"]
    assert data.movie_id.tolist() == ["1", "2"]
    assert data.timestamp.tolist() == [881250949, 891717742]


def test_csv(folder, files_csv):
    data = read_folder(folder(files_csv, "utf-8-sig"))
    movies = data.movie_table
    assert movies.movie_title.tolist() == [
        "American President, The (1995)",
        "Œdipe (1990)",
    ]
    assert genre_names(movies, 0) == ["Comedy", "Romance"]
    assert genre_names(movies, 1) == ["(no genres listed)"]
    # Users are numbered by their first rating, and nothing is known of them.
    assert data.user_table.user_id.tolist() == ["5", "3"]
    assert data.user_table.side_features is None
    assert data.user_rating.tolist() == [0.5, 4.5]
    assert data.rating_scale == (0.5, 5)


def test_10m_has_tags(folder, files_1m):
    del files_1m["users.dat"]
    files_1m |= {"tags.dat": "", "ratings.dat": "20::1::0.5::100\n"}
    data = read_folder(folder(files_1m, "utf-8"))
    assert data.movie_table.movie_title[1] == "Misérables, Les (1995)"
    assert data.movie_table.genre_names == GENRES
    assert data.rating_scale == (0.5, 5)


def test_movietweetings(folder):
    files = {
        "movies.dat": (
            "0002844::Fantômas (1913)::Crime|Biography\n0005078::The Cheat (1915)::\n"
        ),
        "ratings.dat": "2::0005078::0::100\n1::0002844::10::50\n",
    }
    data = read_folder(folder(files, "utf-8"))
    assert data.movie_table.movie_title[0] == "Fantômas (1913)"
    assert data.movie_table.genre_names == ("Biography", "Crime")
    assert [list(genres) for genres in data.movie_table.movie_genres] == [[1, 0], []]
    np.testing.assert_array_equal(data.movie_table.side_features, [[1, 1], [0, 0]])
    assert data.movie_id.tolist() == ["0005078", "0002844"]
    assert data.rating_scale == (0, 10)
    assert "user_side_features" not in data.dataset().element_spec
    # Eight tenths of the scale.
    assert data.positives().user_id.tolist() == ["1"]


def test_movietweetings_with_its_file_of_twitter_ids(folder):
    files = {
        "movies.dat": "0002844::Fantômas (1913)::Crime\n",
        "users.dat": "1::177651718\n",
        "ratings.dat": "1::0002844::10::50\n",
    }
    path = folder(files, "utf-8")
    with pytest.raises(ValueError, match=r"users\.dat, line 1: expected 5 fields"):
        read_folder(path)
    data = read_folder(path, layout="movietweetings")
    assert data.user_table.user_id.tolist() == ["1"]


def test_empty_times_are_kept_and_counted(folder, files_1m, caplog):
    del files_1m["ratings.dat"]
    files_1m["ratings.tsv"] = "20\t1\t5\t100\n10\t2\t3\t\n10\t1\t4\t300\n"
    with caplog.at_level(logging.INFO, "tfrs_dhe.datasets"):
        data = read_folder(folder(files_1m))
    assert data.timestamp.tolist() == [100, NO_TIMESTAMP, 300]
    assert data.has_timestamp.tolist() == [True, False, True]
    assert "1 of 3 ratings" in caplog.text


def test_windows_line_ends(folder, files_1m):
    files = {name: text.replace("\n", "\r\n") for name, text in files_1m.items()}
    data = read_folder(folder(files))
    assert data.timestamp.tolist() == [100, 200, 300]
    assert data.user_table.user_zip_code.tolist() == ["48067", "70072"]


def test_many_lines_are_read_in_chunks(folder, files_1m, monkeypatch):
    monkeypatch.setattr("tfrs_dhe.datasets.text_files._CHUNK", 2)
    assert read_folder(folder(files_1m)).timestamp.tolist() == [100, 200, 300]
    files_1m["ratings.dat"] += "10::7::9::5\n"
    with pytest.raises(ValueError, match=r"ratings\.dat, line 4: `user_rating`"):
        read_folder(folder(files_1m))


@needs_tfds
@pytest.mark.parametrize("version", ["1m", "100k", "csv"])
def test_agrees_with_the_parser_of_tensorflow_datasets(version, folder, request):
    from tensorflow_datasets.structured import movielens_parsing as parsing

    files = request.getfixturevalue(f"files_{version}")
    path = folder(files, "utf-8" if version == "csv" else "latin-1")
    name = "current" if version == "csv" else version
    parse = getattr(parsing, f"parse_{name}_ratings_data")
    expected = [example for _, example in parse(str(path))]

    data = read_folder(path)
    actual = list(data.dataset().as_numpy_iterator())
    assert len(actual) == len(expected)
    classes = {"movie_genres": GENRES, "user_occupation_label": OCCUPATIONS}
    for ours, theirs in zip(actual, expected, strict=True):
        sides = {name for name in ours if name.endswith("_side_features")}
        assert set(ours) - sides == set(theirs)
        for name, value in theirs.items():
            got = ours[name]
            if name == "movie_genres":
                got = [classes[name][i] for i in got]
            elif name in classes:
                got = classes[name][got]
            elif isinstance(got, bytes):
                got = got.decode()
            elif isinstance(value, str):  # Numbers that their parser leaves as text.
                value = float(value)
            assert got == value, name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("movies.dat", "1::A", r"movies\.dat, line 4: expected 3 fields"),
        ("movies.dat", "1::A::Drama", r"movies\.dat, line 4: .*also in line 1"),
        ("movies.dat", "8::A::Opera", r"movies\.dat, line 4: unknown genre 'Opera'"),
        ("movies.dat", "8::A::Drama|Drama", r"line 4: a genre is named twice"),
        ("movies.dat", "::A::Drama", r"line 4: the movie id is empty"),
        ("users.dat", "10::F::1::10::4", r"users\.dat, line 3: .*also in line 1"),
        ("users.dat", "30::X::1::10::4", r"users\.dat, line 3: `user_gender`.*'X'"),
        ("users.dat", "30::F::2::10::4", r"line 3: `bucketized_user_age`.*'2'"),
        ("users.dat", "30::F::1::21::4", r"line 3: `user_occupation_.*'21'"),
        ("ratings.dat", "10::8::5::1", r"ratings\.dat, line 4: .*not in movies\.dat"),
        ("ratings.dat", "99::7::5::1", r"ratings\.dat, line 4: .*file of users"),
        ("ratings.dat", "10::7::six::1", r"line 4: `user_rating`.*'six'"),
        ("ratings.dat", "10::7::nan::1", r"line 4: `user_rating`.*between 1 and 5"),
        ("ratings.dat", "10::7::5::-3", r"line 4: `timestamp`.*'-3'"),
        ("ratings.dat", "10::7::5::9999999999999999999", r"line 4: `timestamp`"),
        ("ratings.dat", "10::7::5::1_00", r"line 4: `timestamp`.*'1_00'"),
        ("ratings.dat", "10::7::0_5::1", r"line 4: `user_rating`.*'0_5'"),
        ("ratings.dat", "10::2::5::1", r"line 4: .*already, in line 2"),
        ("ratings.dat", "", r"line 4: expected 4 fields"),
    ],
)
def test_a_bad_line_is_named(folder, files_1m, name, text, message):
    files_1m[name] += text + "\n"
    with pytest.raises(ValueError, match=message):
        read_folder(folder(files_1m))


def test_a_bad_flag_is_named(folder, files_100k):
    files_100k["u.item"] = files_100k["u.item"].replace("|0\n", "|2\n")
    with pytest.raises(ValueError, match=r"u\.item, line 1: .*0 or 1.*'2'"):
        read_folder(folder(files_100k))


def test_wrong_encoding_is_named(folder, files_csv):
    files_csv["movies.csv"] = files_csv["movies.csv"].replace("Œ", "É")
    with pytest.raises(ValueError, match=r"movies\.csv, line 3: .*utf-8"):
        read_folder(folder(files_csv, "latin-1"))


def test_wrong_header_is_named(folder, files_csv):
    files_csv["ratings.csv"] = "5,9,0.5,1147880044\n"
    with pytest.raises(ValueError, match=r"ratings\.csv, line 1: expected the header"):
        read_folder(folder(files_csv, "utf-8"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        # As one movie of the title `Broken (2000),Comedy\n6,Other (2001)"`, movie 6
        # would be lost.
        ('5,"Broken (2000),Comedy\n6,"Other (2001)",Drama', "line 4: .*csv"),
        ('5,"Broken (2000),Comedy\n6,Other (2001)",Drama', "line 4: a quote is opened"),
        ('5,"Two\nlines (2000)",Comedy\n6,Other (2001),Opera', "line 4: a quote is"),
        ('5,"Not closed (2000),Comedy\n6,Other (2001),Drama', "line 4: .*csv"),
        ('5,"Quoted" (2000),Comedy', "line 4: .*csv"),
        (f"5,{'x' * 200_000},Comedy", "line 4: .*csv.*field limit"),
        ('5,"Fine, ""it"" is",Comedy\n6,Other (2001),Opera', "line 5: unknown genre"),
    ],
)
def test_a_quote_ends_in_its_line(folder, files_csv, lines, message):
    files_csv["movies.csv"] += lines + "\n"
    with pytest.raises(ValueError, match=rf"movies\.csv, {message}"):
        read_folder(folder(files_csv, "utf-8"))


def test_an_age_is_a_plain_number(folder, files_100k):
    files_100k["u.user"] = files_100k["u.user"].replace("|24|", "|2_4|")
    with pytest.raises(ValueError, match=r"u\.user, line 1: `raw_user_age`.*'2_4'"):
        read_folder(folder(files_100k))


def test_an_empty_user_id_is_named(folder, files_csv):
    files_csv["ratings.csv"] += ",1,3,1\n"
    with pytest.raises(ValueError, match=r"ratings\.csv, line 4: `user_id`.*empty"):
        read_folder(folder(files_csv, "utf-8"))


@pytest.mark.parametrize("marked", ["movies.dat", "ratings.dat"])
def test_a_mark_of_utf8_is_no_part_of_an_id(folder, marked):
    files = {
        "movies.dat": "1::Œdipe (1990)::Drama\n2::B (1990)::\n",
        "ratings.dat": "7::1::5::30\n8::2::5::40\n7::2::1::50\n",
    }
    data = read_folder(folder({**files, marked: "\ufeff" + files[marked]}, "utf-8"))
    assert data.movie_table.movie_id.tolist() == ["1", "2"]
    assert data.user_id.tolist() == ["7", "8", "7"]


def test_ids_with_white_space_are_named(folder, files_csv, files_1m):
    ratings = "userId,movieId,rating,timestamp\n7,1,5,30\n7 ,9,4,40\n"
    with pytest.raises(ValueError, match=r"ratings\.csv, line 3: the user id .*'7 '"):
        read_folder(folder({**files_csv, "ratings.csv": ratings}, "utf-8"))
    files_csv["movies.csv"] = files_csv["movies.csv"].replace("\n9,", "\n 9,")
    with pytest.raises(ValueError, match=r"movies\.csv, line 3: the movie id .*' 9'"):
        read_folder(folder(files_csv, "utf-8"))


def test_no_ratings(folder, files_1m):
    files_1m["ratings.dat"] = ""
    with pytest.raises(ValueError, match="no rating in the file"):
        read_folder(folder(files_1m))


def test_genres_can_be_given(folder, files_1m):
    files_1m["movies.dat"] += "8::A::Opera\n"
    data = read_folder(folder(files_1m), genre_names=(*GENRES, "Opera"))
    assert data.movie_table.movie_genres[3] == [len(GENRES)]


def test_unknown_folders(folder, files_1m, files_csv, tmp_path):
    with pytest.raises(ValueError, match="must be a folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"100k \(u\.item.*fits none"):
        read_folder(tmp_path)
    folder(files_1m)
    with pytest.raises(ValueError, match=r"`layout` must be one of.*'2m'"):
        read_folder(tmp_path, layout="2m")
    with pytest.raises(ValueError, match=r"files of 100k \(u\.item"):
        load("movielens/100k", data_dir=tmp_path)
    folder(files_csv, "utf-8")
    with pytest.raises(ValueError, match=r"fits \['1m', 'csv'\]"):
        read_folder(tmp_path)
    assert len(load("movielens/1m", data_dir=tmp_path)) == 3
    assert len(load("movielens/25m", data_dir=tmp_path)) == 2


def test_two_files_of_ratings(folder, files_1m):
    files_1m["ratings.tsv"] = "20\t1\t5\t100\n"
    with pytest.raises(ValueError, match=r"one file of ratings.*ratings\.tsv"):
        read_folder(folder(files_1m))
