"""The hashing trick: ids share the rows of a table."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers._table_embedding import TableEmbedding, check_size


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class HashingTrickEmbedding(TableEmbedding):
    """Embeds an id by the row that a hash of it points to.

    `e(x) = T[h(x)]`, h into {0, ..., B - 1}. Ids of the same bucket share all of
    their embedding. With `signed=True` it is `s(x) T[h(x)]`, where a second hash s is
    1 or -1, so that ids of a bucket are equal or opposite.

    Example:
    >>> layer = HashingTrickEmbedding(8, num_buckets=100)
    >>> layer(tf.constant(["user_17", "never seen"])).shape
    TensorShape([2, 8])

    Args:
      output_dim: d, the width of the embedding.
      num_buckets: B, the rows of the table, at least 2. Give either this or
        `parameter_budget`.
      parameter_budget: How many parameters the layer may have, `B d` of them. With
        `table_shape`, the share of that table's parameters.
      signed: Whether a sign is hashed too.
      seed: Integer in [0, 2^64) from which the hash functions follow.
      table_shape: Rows and columns (n, d) of the table that is replaced.
      mask_value: The id that pads lists, such as `""` or 0.
      embeddings_initializer: Of the table.
      embeddings_regularizer: Of the table.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings or integers, of any rank, dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are neither strings nor
        integers, or side features are given.

    References:
      Weinberger et al., "Feature Hashing for Large Scale Multitask Learning",
      ICML 2009, section 2.
    """

    def __init__(
        self,
        output_dim: int,
        num_buckets: int | None = None,
        parameter_budget: float | None = None,
        signed: bool = False,
        seed: int = 0,
        table_shape: Sequence[int] | None = None,
        mask_value: str | int | None = None,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            output_dim,
            parameter_budget,
            table_shape,
            seed,
            mask_value,
            embeddings_initializer,
            embeddings_regularizer,
            **kwargs,
        )
        check_size("num_buckets", num_buckets, self._budget, 2 * self.output_dim)
        self._given_num_buckets = num_buckets
        if self._budget is not None:
            num_buckets = self._budget // self.output_dim
        self.num_buckets = _arguments.check_num_buckets(num_buckets)
        self.signed = signed

    def build(self, input_shape: Any) -> None:
        """Creates the table."""
        self._table = self._add_table("embeddings", self.num_buckets, self.output_dim)
        super().build(input_shape)

    def _embed(self, ids: tf.Tensor) -> tf.Tensor:
        rows = self._rows(self._table, self._buckets(ids, 1, self.num_buckets)[:, 0])
        return rows * self._signs(ids, 1, rows.dtype) if self.signed else rows

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_buckets": self._given_num_buckets,
            "signed": self.signed,
        }
