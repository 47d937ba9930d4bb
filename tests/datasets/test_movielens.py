import importlib.util
import logging
import shutil
import sys

import numpy as np
import pytest

from tfrs_dhe.datasets import load, load_movielens, read_folder

needs_tfds = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None
    or importlib.util.find_spec("importlib_resources") is None,
    reason="needs tensorflow-datasets",
)


@needs_tfds
@pytest.mark.parametrize("version", ["100k", "1m", "latest-small"])
def test_builds_and_reads(version, folder, request, tmp_path, monkeypatch, caplog):
    """The real builder, given a folder in place of the download."""
    import tensorflow_datasets as tfds

    key = "csv" if version == "latest-small" else version
    encoding = "utf-8" if key == "csv" else "latin-1"
    path = folder(request.getfixturevalue(f"files_{key}"), encoding)
    local = read_folder(path)
    shutil.copytree(path, path / f"ml-{version}", ignore=lambda *_: ["ml-" + version])
    monkeypatch.setattr(
        tfds.download.DownloadManager,
        "download_and_extract",
        lambda self, url: str(path),
    )
    built = tmp_path / "built"
    data = load(f"movielens/{version}", tfds_data_dir=built)
    assert f"building movielens/{version}-ratings" in caplog.text

    def rows(interactions):
        # The builder shuffles; the contents must agree.
        examples = list(interactions.dataset().as_numpy_iterator())
        return sorted(examples, key=lambda e: (e["user_id"], e["movie_id"]))

    assert data.rating_scale == local.rating_scale
    assert sorted(data.movie_table.movie_id) == sorted(local.movie_table.movie_id)
    actual, expected = rows(data), rows(local)
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
            assert np.asarray(ours[name]).dtype == np.asarray(theirs[name]).dtype

    caplog.clear()
    with caplog.at_level(logging.WARNING, "tfrs_dhe.datasets"):
        again = load(f"movielens/{version}", tfds_data_dir=built)
    assert len(again) == len(data)
    assert "building" not in caplog.text


@pytest.mark.parametrize("missing", ["tensorflow_datasets", "importlib_resources"])
def test_says_what_to_install(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ImportError, match=r"pip install tensorflow-datasets importlib_resources"
    ):
        load("movielens/100k")


def test_unknown_names():
    with pytest.raises(ValueError, match=r"`name` must be one of.*'movielens/2m'"):
        load("movielens/2m")
    with pytest.raises(ValueError, match=r"`name` must be one of.*'100k'"):
        load("100k")
    with pytest.raises(ValueError, match=r"`version` must be one of.*'2m'"):
        load_movielens("2m")
