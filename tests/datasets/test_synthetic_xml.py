import hashlib

import numpy as np
import pytest

from tfrs_dhe.datasets import XMLRepository, make_synthetic_xml

SMALL = {"num_train": 200, "num_test": 50, "num_features": 300, "num_labels": 90}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    paths = make_synthetic_xml(tmp_path_factory.mktemp("xml"))
    return [XMLRepository(path).read() for path in paths]


GOLDEN = ["92300e6f656f8b2d", "97b7b3d36b1c41f7"]


def dense(examples):
    features = np.zeros([len(examples), examples.num_features], np.float32)
    rows = np.repeat(np.arange(len(examples)), np.diff(examples.feature_splits))
    features[rows, examples.feature_ids] = np.log1p(examples.feature_values)
    return features


def label_matrix(examples):
    labels = np.zeros([len(examples), examples.num_labels], bool)
    rows = np.repeat(np.arange(len(examples)), np.diff(examples.label_splits))
    labels[rows, examples.labels] = True
    return labels


def test_default_sizes(data):
    train, test = data
    assert (len(train), len(test)) == (8_000, 2_000)
    assert (train.num_features, train.num_labels) == (5_000, 3_000)
    labels = np.diff(train.label_splits)
    assert labels.min() >= 1
    assert 2.2 < labels.mean() < 2.5
    words = np.add.reduceat(train.feature_values, train.feature_splits[:-1])
    assert words.min() >= 1
    assert words.mean() == pytest.approx(30, abs=4 * np.sqrt(29 / 8_000))
    # Nearly all labels and words occur.
    assert len(np.unique(train.labels)) > 2_700
    assert len(np.unique(train.feature_ids)) > 4_900


def test_labels_are_skewed(data):
    counts = np.sort(np.bincount(data[0].labels, minlength=3_000))[::-1]
    assert 0.3 < counts[:300].sum() / counts.sum() < 0.6


def test_words_tell_the_labels(tmp_path):
    """The nearest mean of the examples of a label, against the commonest label."""
    paths = make_synthetic_xml(
        tmp_path,
        num_train=2_000,
        num_test=500,
        num_features=1_000,
        num_labels=300,
        num_topics=20,
    )
    data = [XMLRepository(path).read() for path in paths]
    train, test = map(dense, data)
    labels, expected = map(label_matrix, data)
    rarity = np.log(len(train) / (1 + np.count_nonzero(train, axis=0)))
    train, test = train * rarity, test * rarity
    train /= np.linalg.norm(train, axis=1, keepdims=True)
    means = labels.T.astype(np.float32) @ train
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    best = np.argmax(test @ means.T, axis=1)
    found = np.mean(expected[np.arange(len(test)), best])
    popular = np.mean(expected[:, labels.sum(axis=0).argmax()])
    assert popular < 0.15
    assert 0.5 < found < 0.9


def test_same_seed_same_files(tmp_path):
    def digests(name, **options):
        paths = make_synthetic_xml(tmp_path / name, **SMALL, **options)
        return [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths]

    first = digests("first")
    assert first == digests("second") == GOLDEN
    assert first[0] != first[1]
    assert not set(first) & set(digests("third", seed=1))


def test_smallest(tmp_path):
    paths = make_synthetic_xml(
        tmp_path / "new" / "folder",
        num_train=1,
        num_test=1,
        num_features=1,
        num_labels=1,
        num_topics=1,
        mean_labels=1,
        mean_words=1,
        label_skew=0,
    )
    assert [path.read_text() for path in paths] == ["1 1 1\n0 0:1\n"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": 0}, "`num_train` must be a positive integer. Received: 0"),
        ({"num_labels": -1}, "`num_labels` must be a positive integer"),
        ({"mean_labels": 0.5}, "`mean_labels` must be a number >= 1. Received: 0.5"),
        ({"mean_words": np.inf}, "`mean_words` must be a number >= 1"),
        ({"label_skew": -1}, "`label_skew` must be a finite number >= 0"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_synthetic_xml(tmp_path, **arguments)
