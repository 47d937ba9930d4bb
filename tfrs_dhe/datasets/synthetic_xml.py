"""`make_synthetic_xml`: texts with many labels, made from a seed."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfrs_dhe.datasets.sparse_examples import SparseExamples
from tfrs_dhe.datasets.xml_writer import write_xml_repository

_Ints = npt.NDArray[np.int64]

# Where a word comes from: one of the example's labels, its topic, or anywhere.
_WORD_SHARES = (0.35, 0.3, 0.35)
_LABEL_WORDS = 8
_TOPIC_WORDS = 60
# Share of an example's further labels that are of its topic.
_SAME_TOPIC = 0.8


def make_synthetic_xml(
    folder: str | Path,
    *,
    num_train: int = 8_000,
    num_test: int = 2_000,
    num_features: int = 5_000,
    num_labels: int = 3_000,
    num_topics: int = 100,
    mean_labels: float = 2.5,
    mean_words: float = 30.0,
    label_skew: float = 1.0,
    seed: int = 0,
) -> tuple[Path, Path]:
    """Writes bags of words with labels that can be learned from them.

    Topics have words and labels, and a label has words of its own, most of them
    words of its topic. An example

    * has a first label, drawn with odds that fall with a power of the label's rank
      (Zipf), and further ones, four fifths of them of the same topic;
    * has words, 35 % of them from its labels, 30 % from its topic, and the others
      from all words, whose odds fall with their rank too. The value of a
      word is how often it was drawn.

    The same arguments give the same files under the same NumPy. Results on them
    say that a model learns; they say nothing of real data.

    Example:
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> train, test = make_synthetic_xml(folder, num_train=50, num_test=10)
    >>> train.name, test.name
    ('train.txt', 'test.txt')
    >>> train.read_text().splitlines()[0]
    '50 5000 3000'

    Args:
      folder: Where `train.txt` and `test.txt` are written; made if it is absent.
      num_train: Number of examples to train on.
      num_test: Number of other examples, of the same topics and labels.
      num_features: D, the number of words.
      num_labels: L.
      num_topics: Number of topics.
      mean_labels: Labels of an example on average, at least 1, before repeated
        ones are dropped.
      mean_words: Words of an example on average, at least 1, each counted.
      label_skew: Exponent of the power law of the labels' frequencies.
      seed: Seed of everything.

    Returns:
      The paths of the two files, for `XMLRepository`.

    Raises:
      ValueError: If an argument is out of range.
    """
    sizes = {
        "num_train": num_train,
        "num_test": num_test,
        "num_features": num_features,
        "num_labels": num_labels,
        "num_topics": num_topics,
    }
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be a positive integer. Received: {size}.")
    for name, mean in (("mean_labels", mean_labels), ("mean_words", mean_words)):
        if not (mean >= 1 and math.isfinite(mean)):
            raise ValueError(f"`{name}` must be a number >= 1. Received: {mean}.")
    if not (label_skew >= 0 and math.isfinite(label_skew)):
        raise ValueError(
            f"`label_skew` must be a finite number >= 0. Received: {label_skew}."
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    world = _World(rng, num_features, num_labels, num_topics, label_skew)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    train, test = (
        write_xml_repository(
            folder / name, world.examples(rng, count, mean_labels, mean_words)
        )
        for name, count in (("train.txt", num_train), ("test.txt", num_test))
    )
    return train, test


class _World:
    """The words of topics and labels."""

    def __init__(
        self,
        rng: np.random.Generator,
        num_features: int,
        num_labels: int,
        num_topics: int,
        label_skew: float,
    ) -> None:
        self.num_features = num_features
        self.num_labels = num_labels
        odds = (np.arange(num_labels) + 5.0) ** -label_skew
        self.label_odds = _cumulative(rng.permutation(odds))
        self.word_odds = _cumulative(1 / (rng.permutation(num_features) + 10.0))
        self.topic_of = rng.integers(num_topics, size=num_labels)
        self.topic_words = rng.integers(num_features, size=(num_topics, _TOPIC_WORDS))
        # Three quarters of a label's words are of its topic, the others anyone's.
        shape = (num_labels, _LABEL_WORDS)
        ours = self.topic_words[
            self.topic_of[:, np.newaxis], rng.integers(_TOPIC_WORDS, size=shape)
        ]
        others = rng.integers(num_features, size=shape)
        self.label_words = np.where(rng.random(shape) < 0.75, ours, others)
        # Labels by topic, and where a topic's begin.
        self.by_topic = np.argsort(self.topic_of, kind="stable")
        self.first_of = np.searchsorted(
            self.topic_of[self.by_topic], np.arange(num_topics + 1)
        )

    def examples(
        self,
        rng: np.random.Generator,
        count: int,
        mean_labels: float,
        mean_words: float,
    ) -> SparseExamples:
        """Draws examples."""
        first = np.searchsorted(self.label_odds, rng.random(count), side="right")
        more = rng.poisson(mean_labels - 1, size=count)
        row = np.concatenate([np.arange(count), np.repeat(np.arange(count), more)])
        label = np.concatenate([first, self._further_labels(rng, first, more)])
        row, label, _ = _distinct(row, label, self.num_labels)
        label_splits = np.searchsorted(row, np.arange(count + 1))

        length = 1 + rng.poisson(mean_words - 1, size=count)
        owner = np.repeat(np.arange(count), length)
        total = len(owner)
        # One of the example's labels for every word, should it need one.
        pick = rng.random(total) * np.diff(label_splits)[owner]
        chosen = label[label_splits[owner] + pick.astype(np.int64)]
        from_label = self.label_words[chosen, rng.integers(_LABEL_WORDS, size=total)]
        topic = self.topic_of[first[owner]]
        from_topic = self.topic_words[topic, rng.integers(_TOPIC_WORDS, size=total)]
        anywhere = np.searchsorted(self.word_odds, rng.random(total), side="right")
        source = rng.choice(3, size=total, p=_WORD_SHARES)
        word = np.choose(source, [from_label, from_topic, anywhere])
        owner, word, times = _distinct(owner, word, self.num_features)
        return SparseExamples(
            feature_splits=np.searchsorted(owner, np.arange(count + 1)),
            feature_ids=word,
            feature_values=times.astype(np.float32),
            label_splits=label_splits,
            labels=label,
            num_features=self.num_features,
            num_labels=self.num_labels,
        )

    def _further_labels(
        self, rng: np.random.Generator, first: _Ints, more: _Ints
    ) -> _Ints:
        topic = np.repeat(self.topic_of[first], more)
        start, end = self.first_of[topic], self.first_of[topic + 1]
        same = self.by_topic[start + rng.integers(end - start)]
        other = np.searchsorted(self.label_odds, rng.random(len(topic)), side="right")
        return np.where(rng.random(len(topic)) < _SAME_TOPIC, same, other)


def _cumulative(odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns cumulated shares; the last one is 1 exactly, above any draw."""
    sums = np.cumsum(odds)
    return np.asarray(sums / sums[-1])


def _distinct(rows: _Ints, values: _Ints, size: int) -> tuple[_Ints, _Ints, _Ints]:
    """Returns each pair of a row and a value once, in order, with its count."""
    keys, counts = np.unique(rows * size + values, return_counts=True)
    return keys // size, keys % size, counts
