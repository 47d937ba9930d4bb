"""`UserTable`: the users, with what is known of them."""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfrs_dhe.datasets.batching import Column, example_dataset
from tfrs_dhe.datasets.checks import check_length, check_unique
from tfrs_dhe.datasets.movielens_labels import AGE_BUCKETS, OCCUPATIONS


@dataclasses.dataclass(frozen=True, eq=False)
class UserTable:
    """Users and, where the data has them, their demographic fields.

    The fields are those of the tensorflow-datasets configurations
    `movielens/100k-ratings` and `movielens/1m-ratings`. A data set without
    demographics (the csv versions of MovieLens, MovieTweetings) has None in
    their place, and its datasets lack those keys.

    Example:
    >>> users = UserTable(
    ...     user_id=np.array(["a", "b"]),
    ...     bucketized_user_age=np.array([25, 1], np.float32),
    ... )
    >>> users.side_features
    array([[0., 0., 1., 0., 0., 0., 0.],
           [1., 0., 0., 0., 0., 0., 0.]], dtype=float32)
    >>> UserTable(user_id=np.array(["a"])).side_features is None
    True

    Attributes:
      user_id: Distinct strings of shape [num_users].
      user_gender: bool of shape [num_users]; True is male.
      bucketized_user_age: float32 of shape [num_users], the lowest age of a
        bucket: 1 (under 18), 18, 25, 35, 45, 50 or 56.
      user_occupation_label: int64 of shape [num_users], an index in
        `movielens_labels.OCCUPATIONS`.
      user_occupation_text: Strings of shape [num_users], as the source has them.
      user_zip_code: Strings of shape [num_users].
      raw_user_age: float32 of shape [num_users]; MovieLens 100k alone has it.
    """

    user_id: npt.NDArray[np.str_]
    user_gender: npt.NDArray[np.bool_] | None = None
    bucketized_user_age: npt.NDArray[np.float32] | None = None
    user_occupation_label: npt.NDArray[np.int64] | None = None
    user_occupation_text: npt.NDArray[np.str_] | None = None
    user_zip_code: npt.NDArray[np.str_] | None = None
    raw_user_age: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        check_unique("user_id", self.user_id)
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            if values is not None:
                check_length(field.name, values, len(self.user_id))
        if self.bucketized_user_age is not None:
            strange = np.setdiff1d(self.bucketized_user_age, AGE_BUCKETS)
            if strange.size:
                raise ValueError(
                    f"`bucketized_user_age` must be one of {AGE_BUCKETS}. Received: "
                    f"{strange[:5].tolist()}."
                )
        if self.user_occupation_label is not None and len(self):
            labels = self.user_occupation_label
            if labels.min() < 0 or labels.max() >= len(OCCUPATIONS):
                raise ValueError(
                    "`user_occupation_label` must be an index from 0 to "
                    f"{len(OCCUPATIONS) - 1}. Received values from {labels.min()} "
                    f"to {labels.max()}."
                )

    def __len__(self) -> int:
        return len(self.user_id)

    @functools.cached_property
    def side_features(self) -> npt.NDArray[np.float32] | None:
        """Gender as 0/1, age bucket and occupation one-hot, side by side.

        float32 of shape [num_users, len(side_feature_names)], or None where the
        data knows nothing of its users.
        """
        blocks = []
        if self.user_gender is not None:
            blocks.append(self.user_gender[:, np.newaxis])
        if self.bucketized_user_age is not None:
            blocks.append(self.bucketized_user_age[:, np.newaxis] == AGE_BUCKETS)
        if self.user_occupation_label is not None:
            labels = np.arange(len(OCCUPATIONS))
            blocks.append(self.user_occupation_label[:, np.newaxis] == labels)
        return np.concatenate(blocks, axis=1).astype(np.float32) if blocks else None

    @property
    def side_feature_names(self) -> tuple[str, ...]:
        """What each column of `side_features` stands for; empty without any."""
        names: list[str] = []
        if self.user_gender is not None:
            names.append("user_gender")
        if self.bucketized_user_age is not None:
            names.extend(f"bucketized_user_age={age}" for age in AGE_BUCKETS)
        if self.user_occupation_label is not None:
            names.extend(f"user_occupation_label={name}" for name in OCCUPATIONS)
        return tuple(names)

    def columns(self) -> dict[str, Column]:
        """Returns the fields of `dataset` and their values."""
        columns = {
            field.name: Column(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None
        }
        if self.side_features is not None:
            columns["user_side_features"] = Column(self.side_features)
        return columns

    def dataset(self, fields: Iterable[str] | None = None) -> tf.data.Dataset:
        """Returns the users as a dataset of single examples.

        Args:
          fields: Names of the fields wanted; None gives all.

        Returns:
          A `tf.data.Dataset` of dicts with those attributes of this class that
          are not None and, where the data has demographics,
          `user_side_features`: float32, shape [num_user_features].
        """
        return example_dataset(self.columns(), len(self), fields=fields)
