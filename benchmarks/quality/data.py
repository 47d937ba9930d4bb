"""Labelled pairs of users and items, split for training, validation and test.

`ml-1m`: ratings of 4 and 5 are positive, 1 and 2 negative, those of 3 are dropped.
`amazon-book`, `ciao`, `gowalla`: what a user did is positive, and for each there is a
negative, an item drawn evenly among those that the user did not take in any split.
Negatives of training are drawn anew in every epoch; those of validation and test are
the same for all.

Of each user's interactions two random ones are held out, one to validate and one to
test. Where a set comes with a test split, that is the test, and one interaction is
held out to validate.
"""

import dataclasses
from pathlib import Path

import numpy as np

SETS = ("ml-1m", "amazon-book", "ciao", "gowalla")
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
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    train: Pairs
    validation: Pairs
    test: Pairs
    taken: np.ndarray | None

    def epoch(self, generator):
        """Returns the pairs of an epoch in random order."""
        pairs = self.train
        if self.taken is not None:
            pairs = with_negatives(pairs, self.taken, len(self.item_ids), generator)
        return pairs.take(generator.permutation(len(pairs)))

    def training_counts(self):
        """Returns how often each user and each item is in the training pairs."""
        return (
            np.bincount(self.train.users, minlength=len(self.user_ids)),
            np.bincount(self.train.items, minlength=len(self.item_ids)),
        )


def load(folder, name):
    """Returns a set from its folder.

    Args:
      folder: Where the folders of the sets are.
      name: One of `SETS`.

    Raises:
      ValueError: If the name is unknown.
    """
    readers = {
        "ml-1m": _read_ml_1m,
        "amazon-book": _read_amazon_book,
        "ciao": _read_ciao,
        "gowalla": _read_gowalla,
    }
    if name not in readers:
        raise ValueError(f"`name` must be one of {SETS}. Received: {name!r}.")
    users, items, labels, is_test = readers[name](Path(folder) / name)
    user_ids, users = np.unique(users, return_inverse=True)
    item_ids, items = np.unique(items, return_inverse=True)
    pairs = Pairs(users.astype(np.int32), items.astype(np.int32), labels)
    return _split(user_ids, item_ids, pairs, is_test, is_implicit=name != "ml-1m")


def with_negatives(positives, taken, num_items, generator):
    """Returns positives and as many negatives of the same users."""
    users = positives.users.astype(np.int64)
    items = generator.integers(0, num_items, len(users))
    while True:
        keys = users * num_items + items
        places = np.minimum(np.searchsorted(taken, keys), len(taken) - 1)
        again = np.flatnonzero(taken[places] == keys)
        if not len(again):
            break
        items[again] = generator.integers(0, num_items, len(again))
    return Pairs(
        np.concatenate([positives.users, positives.users]),
        np.concatenate([positives.items, items.astype(np.int32)]),
        np.concatenate([positives.labels, np.zeros(len(users), np.float32)]),
    )


def _split(user_ids, item_ids, pairs, is_test, is_implicit):
    generator = np.random.default_rng(SPLIT_SEED)
    order = generator.permutation(len(pairs))
    if is_test is None:
        order, test = _hold_one_out(pairs.users, order)
    else:
        test, order = order[is_test[order]], order[~is_test[order]]
    train, validation = _hold_one_out(pairs.users, order)
    splits = [pairs.take(rows) for rows in (train, validation, test)]
    taken = None
    if is_implicit:
        keys = pairs.users.astype(np.int64) * len(item_ids) + pairs.items
        taken = np.unique(keys)
        splits[1:] = [
            with_negatives(split, taken, len(item_ids), generator)
            for split in splits[1:]
        ]
    return Data(user_ids, item_ids, *splits, taken)


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


def _columns(path, *columns, skip=0):
    with path.open(encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][skip:]
    return [np.array([row[column] for row in rows]) for column in columns]


def _read_ml_1m(folder):
    users, items, ratings = _columns(folder / "ratings.tsv", 0, 1, 2)
    ratings = ratings.astype(np.float32)
    kept = ratings != 3
    labels = (ratings[kept] > 3).astype(np.float32)
    return users[kept], items[kept], labels, None


def _read_amazon_book(folder):
    users, items, split = _columns(folder / "interactions.tsv", 0, 1, 2)
    return users, items, np.ones(len(users), np.float32), split == "test"


def _read_ciao(folder):
    users, items = _columns(folder / "ratings.tsv", 0, 1)
    pairs = np.unique(np.stack([users, items]), axis=1)
    return pairs[0], pairs[1], np.ones(pairs.shape[1], np.float32), None


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
    return np.array(users), np.array(items), labels, np.array(is_test)
