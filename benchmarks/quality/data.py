"""Labelled pairs of users and items, split for training, validation and test.

`synthetic`: ratings that the package makes, for trials; treated as those of ml-1m.
`ml-1m`: ratings of 4 and 5 are positive, 1 and 2 negative, those of 3 are dropped.
`amazon-book`, `ciao`, `gowalla`: what a user did is positive, and for each there is a
negative, an item drawn evenly among those that the user did not take in any split.
Negatives of training are drawn anew in every epoch; those of validation and test are
the same for all.

Of each user's interactions two random ones are held out, one to validate and one to
test. Where a set comes with a test split, that is the test, and one interaction is
held out to validate.

`ml-1m+new` and so on: a tenth of the items are new. What was done with them is not
trained on, neither as positive nor as negative, and is tested beside the other pairs.

`movietweetings`: who rated a movie is positive, as above, but split by time: the first
80 % are trained on, the next 10 % validate, and the last 10 % test. Negatives of
training are drawn among the movies that had been seen by then.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from tfrs_dhe import datasets

SETS = ("ml-1m", "amazon-book", "ciao", "gowalla")
#: The set that needs no files.
SYNTHETIC = "synthetic"
#: What the name of a set ends in if some of its items are to be new.
NEW = "+new"
#: Sets with ids that are not trained on.
OPEN_SETS = (*(name + NEW for name in (*SETS, SYNTHETIC)), "movietweetings")
SPLIT_SEED = 2021


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Users, items and labels [n]: numbers from 0, and 0.0 or 1.0."""

    users: np.ndarray
    items: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.users)

    def take(self, rows):
        """Returns some of the pairs."""
        return Pairs(self.users[rows], self.items[rows], self.labels[rows])


@dataclasses.dataclass(frozen=True)
class Data:
    """A set.

    Attributes:
      user_ids: Strings [number of users], by the numbers of the pairs.
      item_ids: Strings [number of items].
      train: Pairs to train on; of implicit sets the positives alone.
      validation: Labelled pairs.
      test: Labelled pairs.
      taken: Sorted user * number of items + item of all positives in all splits, to
        draw negatives beside; None for explicit sets.
      candidates: Items that negatives of training are drawn from.
      item_features: Floats [number of items, s], of which a one says that an item is of
        a genre or category; s is 0 for sets that tell none.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    train: Pairs
    validation: Pairs
    test: Pairs
    taken: np.ndarray | None
    candidates: np.ndarray
    item_features: np.ndarray

    def epoch(self, generator):
        """Returns the pairs of an epoch in random order."""
        pairs = self.train
        if self.taken is not None:
            pairs = with_negatives(
                pairs, self.taken, len(self.item_ids), self.candidates, generator
            )
        return pairs.take(generator.permutation(len(pairs)))

    @property
    def pairs_per_epoch(self):
        """How many pairs an epoch has."""
        return len(self.train) * (1 if self.taken is None else 2)

    def training_counts(self):
        """Returns how often each user and each item is in the training pairs."""
        return (
            np.bincount(self.train.users, minlength=len(self.user_ids)),
            np.bincount(self.train.items, minlength=len(self.item_ids)),
        )


def load(folder, name):
    """Returns a set from its folder.

    Args:
      folder: Where the folders of the sets are; not looked at for the synthetic one.
      name: One of `SETS` or of `OPEN_SETS`, or `SYNTHETIC`.

    Raises:
      ValueError: If the name is unknown.
    """
    base = name.removesuffix(NEW)
    readers = {
        "ml-1m": _read_ml_1m,
        "amazon-book": _read_amazon_book,
        "ciao": _read_ciao,
        "gowalla": _read_gowalla,
        "movietweetings": read_movietweetings,
        SYNTHETIC: _make_synthetic,
    }
    choices = (*SETS, *OPEN_SETS, SYNTHETIC)
    if name not in choices:
        raise ValueError(f"`name` must be one of {choices}. Received: {name!r}.")
    is_by_time = name == "movietweetings"
    path = Path(folder or "") / (f"{name}-100k" if is_by_time else base)
    is_explicit = base in ("ml-1m", SYNTHETIC)
    return prepare(readers[base](path), is_explicit, is_by_time, name != base)


@dataclasses.dataclass(frozen=True)
class Interactions:
    """What a set's files say, in the order of the files or of time.

    Attributes:
      users: Strings [n].
      items: Strings [n].
      labels: Floats [n], 1.0 or 0.0.
      is_test: Booleans [n] for a set that comes with a test split, or None.
      categories: Names of categories by item, or None.
    """

    users: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    is_test: np.ndarray | None = None
    categories: dict[str, set[str]] | None = None

    def item_features(self, item_ids):
        """Returns floats [n, s] of items [n]: 1 where one is of a category."""
        return _multi_hot(item_ids, self.categories or {})


def prepare(read, is_explicit, is_by_time=False, with_new_items=False):
    """Returns a set, split.

    Args:
      read: Its `Interactions`.
      is_explicit: Whether there are negatives among them.
      is_by_time: Whether to split by their order.
      with_new_items: Whether a tenth of the items are to be new.
    """
    user_ids, users = np.unique(read.users, return_inverse=True)
    item_ids, items = np.unique(read.items, return_inverse=True)
    pairs = Pairs(users.astype(np.int32), items.astype(np.int32), read.labels)
    generator = np.random.default_rng(SPLIT_SEED)
    if is_by_time:
        order, ends = (
            np.arange(len(pairs)),
            [8 * len(pairs) // 10, 9 * len(pairs) // 10],
        )
        train, validation, test = np.split(order, ends)
        train = train[generator.permutation(len(train))]
    else:
        train, validation, test = _split(pairs, read.is_test, generator)
    candidates = np.arange(len(item_ids))
    if with_new_items:
        chooser = np.random.default_rng(SPLIT_SEED + 1)
        is_new = chooser.permutation(len(item_ids)) < len(item_ids) // 10
        test = np.concatenate([test, train[is_new[pairs.items[train]]]])
        train = train[~is_new[pairs.items[train]]]
        candidates = np.flatnonzero(~is_new)
    elif is_by_time:
        candidates = np.unique(pairs.items[train])
    splits = [pairs.take(rows) for rows in (train, validation, test)]
    taken = None
    if not is_explicit:
        keys = pairs.users.astype(np.int64) * len(item_ids) + pairs.items
        taken = np.unique(keys)
        every = np.arange(len(item_ids))
        splits[1:] = [
            with_negatives(split, taken, len(item_ids), every, generator)
            for split in splits[1:]
        ]
    features = read.item_features(item_ids)
    return Data(user_ids, item_ids, *splits, taken, candidates, features)


def with_negatives(positives, taken, num_items, candidates, generator):
    """Returns positives and as many negatives of the same users.

    Args:
      positives: `Pairs`.
      taken: As in `Data`.
      num_items: How many items there are.
      candidates: Items [n] that are drawn from.
      generator: Draws them.
    """
    users = positives.users.astype(np.int64)
    items = candidates[generator.integers(0, len(candidates), len(users))]
    while True:
        keys = users * num_items + items
        places = np.minimum(np.searchsorted(taken, keys), len(taken) - 1)
        again = np.flatnonzero(taken[places] == keys)
        if not len(again):
            break
        items[again] = candidates[generator.integers(0, len(candidates), len(again))]
    return Pairs(
        np.concatenate([positives.users, positives.users]),
        np.concatenate([positives.items, items.astype(np.int32)]),
        np.concatenate([positives.labels, np.zeros(len(users), np.float32)]),
    )


def _multi_hot(item_ids, categories):
    names = sorted(functools.reduce(set.union, categories.values(), set()))
    columns = {name: column for column, name in enumerate(names)}
    features = np.zeros([len(item_ids), len(names)], np.float32)
    for row, item in enumerate(item_ids.tolist()):
        for name in categories.get(item, ()):
            features[row, columns[name]] = 1
    return features


def _split(pairs, is_test, generator):
    """Returns rows to train, validate and test on."""
    order = generator.permutation(len(pairs))
    if is_test is None:
        order, test = _hold_one_out(pairs.users, order)
    else:
        test, order = order[is_test[order]], order[~is_test[order]]
    return (*_hold_one_out(pairs.users, order), test)


def _hold_one_out(users, order):
    """Returns rows in order without the last one of each user, and these.

    A user with a single row keeps it.
    """
    _, first = np.unique(users[order][::-1], return_index=True)
    is_held_out = np.zeros(len(order), bool)
    is_held_out[len(order) - 1 - first] = True
    counts = np.bincount(users[order])
    is_held_out &= counts[users[order]] > 1
    return order[~is_held_out], order[is_held_out]


def _columns(path, *columns, separator="\t", encoding="utf-8"):
    with path.open(encoding=encoding) as file:
        rows = [line.rstrip("\n").split(separator) for line in file]
    return [np.array([row[column] for row in rows]) for column in columns]


def _genres(path, encoding):
    movies, genres = _columns(path, 0, 2, separator="::", encoding=encoding)
    pairs = zip(movies.tolist(), genres.tolist(), strict=True)
    return {movie: set(names.split("|")) for movie, names in pairs}


def _of_ratings(users, items, ratings, genres):
    kept = ratings != 3
    labels = (ratings[kept] > 3).astype(np.float32)
    return Interactions(users[kept], items[kept], labels, categories=genres)


def _make_synthetic(_):
    made = datasets.make_synthetic(
        num_users=2_000, num_movies=1_000, num_ratings=60_000
    )
    movies = made.movie_table
    genres = {
        movie: {movies.genre_names[number] for number in numbers}
        for movie, numbers in zip(
            movies.movie_id.tolist(), movies.movie_genres, strict=True
        )
    }
    return _of_ratings(made.user_id, made.movie_id, made.user_rating, genres)


def _read_ml_1m(folder):
    users, items, ratings = _columns(folder / "ratings.tsv", 0, 1, 2)
    genres = _genres(folder / "movies.dat", "latin-1")
    return _of_ratings(users, items, ratings.astype(np.float32), genres)


def _read_amazon_book(folder):
    users, items, split = _columns(folder / "interactions.tsv", 0, 1, 2)
    return Interactions(users, items, np.ones(len(users), np.float32), split == "test")


def _read_ciao(folder):
    users, items, names = _columns(folder / "ratings.tsv", 0, 1, 2)
    categories = {}
    for item, name in zip(items.tolist(), names.tolist(), strict=True):
        categories.setdefault(item, set()).add(name)
    users, items = np.unique(np.stack([users, items]), axis=1)
    labels = np.ones(len(users), np.float32)
    return Interactions(users, items, labels, categories=categories)


def read_movietweetings(folder):
    """Returns the ratings of the set in its folder, in order of time."""
    users, items, times = _columns(folder / "ratings.dat", 0, 1, 3, separator="::")
    order = np.argsort(times.astype(np.int64), kind="stable")
    labels = np.ones(len(users), np.float32)
    genres = _genres(folder / "movies.dat", "utf-8")
    return Interactions(users[order], items[order], labels, categories=genres)


def _read_gowalla(folder):
    users, items, is_test = [], [], []
    for name in ("train", "test"):
        with (folder / f"{name}.txt").open() as file:
            for line in file:
                user, *taken = line.split()
                users += [user] * len(taken)
                items += taken
                is_test += [name == "test"] * len(taken)
    labels = np.ones(len(users), np.float32)
    return Interactions(np.array(users), np.array(items), labels, np.array(is_test))
