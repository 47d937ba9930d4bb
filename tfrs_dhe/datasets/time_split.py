"""`split_by_time`: train on the past, test on what came after."""

import dataclasses
import functools
import logging
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfrs_dhe.datasets.batching import (
    Column,
    Columns,
    batched_dataset,
    example_dataset,
)
from tfrs_dhe.datasets.checks import check_share
from tfrs_dhe.datasets.interactions import Interactions

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class TimeSplit:
    """Ratings divided by time, with users and movies unseen in training.

    Made by `split_by_time`. Every time in `train` is before every time in
    `validation`, and those before every time in `test`. "Seen" means: has at
    least one rating in `train`.

    Attributes:
      train_interactions: What to train on.
      validation_interactions: What came next, or None if none was asked for.
      test_interactions: What came last.
      held_out_user_ids: Users who were kept out of `train` on purpose, sorted.
      held_out_movie_ids: Movies likewise.
      num_held_out: Ratings left out of `train` because their user or movie is
        held out. They are in no part.
      num_without_timestamp: Ratings left out because their time is not known.
        They are in no part.
    """

    train_interactions: Interactions
    validation_interactions: Interactions | None
    test_interactions: Interactions
    held_out_user_ids: npt.NDArray[np.str_]
    held_out_movie_ids: npt.NDArray[np.str_]
    num_held_out: int
    num_without_timestamp: int

    @functools.cached_property
    def train_user_counts(self) -> npt.NDArray[np.int64]:
        """Number of ratings in `train` of every user in the user table."""
        train = self.train_interactions
        return np.bincount(train.user_index, minlength=len(train.user_table))

    @functools.cached_property
    def train_movie_counts(self) -> npt.NDArray[np.int64]:
        """Popularity: number of ratings in `train` of every movie in the catalogue."""
        train = self.train_interactions
        return np.bincount(train.movie_index, minlength=len(train.movie_table))

    @property
    def train_user_ids(self) -> npt.NDArray[np.str_]:
        """Ids of the users in `train`, sorted: a vocabulary for `StringLookup`."""
        user_id = self.train_interactions.user_table.user_id
        return np.sort(user_id[self.train_user_counts > 0])

    @property
    def train_movie_ids(self) -> npt.NDArray[np.str_]:
        """Ids of the movies in `train`, sorted: a vocabulary for `StringLookup`."""
        movie_id = self.train_interactions.movie_table.movie_id
        return np.sort(movie_id[self.train_movie_counts > 0])

    @property
    def train(self) -> tf.data.Dataset:
        """Training examples by time, with the fields of `Interactions.dataset`."""
        return self.train_interactions.dataset()

    @property
    def validation(self) -> tf.data.Dataset | None:
        """Validation examples by time, with the fields of `test`; or None."""
        part = self.validation_interactions
        return None if part is None else self._labelled(part)

    @property
    def test(self) -> tf.data.Dataset:
        """Test examples by time.

        They have the fields of `Interactions.dataset` and, both bool of shape
        [], `user_is_seen` and `movie_is_seen`.
        """
        return self._labelled(self.test_interactions)

    @property
    def movies(self) -> tf.data.Dataset:
        """The whole catalogue: every candidate, rated or not, seen or not.

        It has the fields of `MovieTable.dataset` and `movie_is_seen`, bool of
        shape [].
        """
        table = self.train_interactions.movie_table
        columns = {**table.columns(), "movie_is_seen": Column(self._movie_is_seen)}
        return example_dataset(columns, len(table))

    def train_batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_remainder: bool = False,
        fields: Iterable[str] | None = None,
    ) -> tf.data.Dataset:
        """Returns the training examples in batches; see `Interactions.batches`."""
        return self.train_interactions.batches(
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
            fields=fields,
        )

    def validation_batches(
        self, batch_size: int, *, fields: Iterable[str] | None = None
    ) -> tf.data.Dataset:
        """Returns the validation examples in batches, in order."""
        part = self.validation_interactions
        if part is None:
            raise ValueError(
                "This split has no validation part. Ask for one with "
                "`split_by_time(..., validation_share=0.1)`."
            )
        return self._labelled_batches(part, batch_size, fields)

    def test_batches(
        self, batch_size: int, *, fields: Iterable[str] | None = None
    ) -> tf.data.Dataset:
        """Returns the test examples in batches, in order."""
        return self._labelled_batches(self.test_interactions, batch_size, fields)

    @property
    def user_is_seen(self) -> npt.NDArray[np.bool_]:
        """Whether each test rating's user is in `train`: shape [num_test]."""
        return self._user_is_seen[self.test_interactions.user_index]

    @property
    def movie_is_seen(self) -> npt.NDArray[np.bool_]:
        """Whether each test rating's movie is in `train`: shape [num_test]."""
        return self._movie_is_seen[self.test_interactions.movie_index]

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of ratings, users and movies, for a report."""
        validation = self.validation_interactions
        return {
            "train": len(self.train_interactions),
            "validation": 0 if validation is None else len(validation),
            "test": len(self.test_interactions),
            "test_unseen_user": int(np.count_nonzero(~self.user_is_seen)),
            "test_unseen_movie": int(np.count_nonzero(~self.movie_is_seen)),
            "train_users": int(np.count_nonzero(self._user_is_seen)),
            "train_movies": int(np.count_nonzero(self._movie_is_seen)),
            "users": len(self.train_interactions.user_table),
            "movies": len(self.train_interactions.movie_table),
            "held_out_users": len(self.held_out_user_ids),
            "held_out_movies": len(self.held_out_movie_ids),
            "left_out_held_out": self.num_held_out,
            "left_out_without_timestamp": self.num_without_timestamp,
        }

    @property
    def _user_is_seen(self) -> npt.NDArray[np.bool_]:
        return self.train_user_counts > 0

    @property
    def _movie_is_seen(self) -> npt.NDArray[np.bool_]:
        return self.train_movie_counts > 0

    def _labelled_columns(self, part: Interactions) -> Columns:
        return {
            **part.columns(),
            "user_is_seen": Column(self._user_is_seen, part.user_index),
            "movie_is_seen": Column(self._movie_is_seen, part.movie_index),
        }

    def _labelled(self, part: Interactions) -> tf.data.Dataset:
        return example_dataset(self._labelled_columns(part), len(part))

    def _labelled_batches(
        self, part: Interactions, batch_size: int, fields: Iterable[str] | None
    ) -> tf.data.Dataset:
        columns = self._labelled_columns(part)
        return batched_dataset(columns, len(part), batch_size, fields=fields)


def split_by_time(
    interactions: Interactions,
    *,
    test_share: float = 0.1,
    validation_share: float = 0.0,
    unseen_user_share: float = 0.05,
    unseen_movie_share: float = 0.05,
    missing_timestamps: Literal["drop", "train", "error"] = "drop",
    seed: int = 0,
) -> TimeSplit:
    """Splits ratings by time and keeps some users and movies out of training.

    ```
    time  --->           cut          cut
    | train              | validation | test    |  other users and movies
    | (in no part)       | validation | test    |  held-out users or movies
    ```

    A cut falls between two different times: ratings of the same second stay
    together, in the later part, so a part can be a little larger than its share.
    Users and movies that first appear after the cut are unseen as well; the
    held-out ones come on top, so that there are unseen ones in any data.

    Example:
    >>> from tfrs_dhe.datasets import load
    >>> split = split_by_time(load("synthetic").positives())
    >>> sizes = split.sizes
    >>> sizes["train"], sizes["test"], sizes["test_unseen_movie"]
    (91842, 11400, 1336)
    >>> batches = split.train_batches(4096, seed=1)
    >>> cold = split.test.filter(lambda x: tf.logical_not(x["movie_is_seen"]))

    Args:
      interactions: The ratings.
      test_share: Share of the ratings that come last, for the test.
      validation_share: Share of the ratings before those, for validation.
      unseen_user_share: Share of the users with a rating who are kept out of
        training; `round(share * users)` of them, chosen by `seed`.
      unseen_movie_share: Share of the movies with a rating, likewise.
      missing_timestamps: What becomes of ratings without a time. "drop" leaves
        them out of all parts and logs how many; "train" puts them into the
        training part, which then may know of ratings from the time of the test;
        "error" refuses.
      seed: Seed of the choice of unseen users and movies.

    Returns:
      A `TimeSplit`.

    Raises:
      ValueError: If a share is not in [0, 1), the shares leave a part empty, or
        times are missing and `missing_timestamps` is "error".
    """
    for name, share in {
        "test_share": test_share,
        "validation_share": validation_share,
        "unseen_user_share": unseen_user_share,
        "unseen_movie_share": unseen_movie_share,
    }.items():
        check_share(name, share)
    if test_share == 0 or test_share + validation_share >= 1:
        raise ValueError(
            "`test_share` must be positive and leave room for training. Received: "
            f"{test_share=}, {validation_share=}."
        )
    timed = interactions.has_timestamp
    num_untimed = _account_for_missing(timed, missing_timestamps)

    cuts = _cuts(interactions.timestamp[timed], test_share, validation_share)
    # 0 is train, 1 validation, 2 test; without validation both cuts are equal.
    part = np.searchsorted(cuts, interactions.timestamp, side="right")
    part[~timed] = 0
    in_use = (
        np.ones(len(interactions), bool) if missing_timestamps == "train" else timed
    )

    rng = np.random.Generator(np.random.PCG64(seed))
    user_is_out, held_out_users = _hold_out(
        interactions.user_index[in_use],
        interactions.user_table.user_id,
        unseen_user_share,
        rng,
    )
    movie_is_out, held_out_movies = _hold_out(
        interactions.movie_index[in_use],
        interactions.movie_table.movie_id,
        unseen_movie_share,
        rng,
    )
    held_out = user_is_out[interactions.user_index]
    held_out |= movie_is_out[interactions.movie_index]

    by_time = np.argsort(interactions.timestamp, kind="stable")
    parts = {
        "train": in_use & (part == 0) & ~held_out,
        "validation": in_use & (part == 1),
        "test": in_use & (part == 2),
    }
    for name, rows in parts.items():
        if not rows.any() and (name != "validation" or validation_share):
            raise ValueError(
                f"The shares leave no rating for the {name} part. Received: "
                f"{len(interactions)} ratings, {int(timed.sum())} with a time, "
                f"{test_share=}, {validation_share=}, {unseen_user_share=}, "
                f"{unseen_movie_share=}; change the shares."
            )
    chosen = {
        name: interactions.select(by_time[rows[by_time]])
        for name, rows in parts.items()
        if rows.any()
    }
    return TimeSplit(
        train_interactions=chosen["train"],
        validation_interactions=chosen.get("validation"),
        test_interactions=chosen["test"],
        held_out_user_ids=held_out_users,
        held_out_movie_ids=held_out_movies,
        num_held_out=int(np.count_nonzero(in_use & (part == 0) & held_out)),
        num_without_timestamp=0 if missing_timestamps == "train" else num_untimed,
    )


def _account_for_missing(timed: npt.NDArray[np.bool_], policy: str) -> int:
    """Says what becomes of ratings without a time, and returns their number."""
    if policy not in ("drop", "train", "error"):
        raise ValueError(
            '`missing_timestamps` must be "drop", "train" or "error". Received: '
            f"{policy!r}."
        )
    num_untimed = int(np.count_nonzero(~timed))
    if num_untimed == len(timed):
        raise ValueError(
            "`interactions` has no timestamp at all, so it cannot be split by time."
        )
    if num_untimed and policy == "error":
        raise ValueError(
            f"{num_untimed} of {len(timed)} ratings have no timestamp, so their "
            'place in time is not known. Pass `missing_timestamps="drop"` to leave '
            'them out, or "train" to train on them all the same.'
        )
    if num_untimed:
        fate = "are left out of the split" if policy == "drop" else "go to training"
        _logger.warning(
            "%d of %d ratings have no timestamp and %s (missing_timestamps=%r).",
            num_untimed,
            len(timed),
            fate,
            policy,
        )
    return num_untimed


def _cuts(
    timestamps: npt.NDArray[np.int64], test_share: float, validation_share: float
) -> npt.NDArray[np.int64]:
    """Returns the first times of validation and of test."""
    ordered = np.sort(timestamps)
    sizes = [
        round((test_share + validation_share) * len(ordered)),
        round(test_share * len(ordered)),
    ]
    return ordered[[len(ordered) - max(size, 1) for size in sizes]]


def _hold_out(
    index: npt.NDArray[np.int32],
    ids: npt.NDArray[np.str_],
    share: float,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.str_]]:
    """Chooses a share of the ids that have ratings.

    Returns:
      A mask over the table, and the sorted ids.
    """
    present = np.unique(index)
    chosen = rng.choice(present, size=round(share * len(present)), replace=False)
    mask = np.zeros(len(ids), bool)
    mask[chosen] = True
    return mask, np.sort(ids[mask])
