"""Bloom embeddings: several rows of one table, added up."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers._table_embedding import TableEmbedding, check_size


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class BloomEmbedding(TableEmbedding):
    """Embeds an id by the sum of several rows of one table, with signs.

    `e(x) = sum_i s_i(x) T[h_i(x)]`, i = 1, ..., k. Ids rarely share all k rows, so each
    has a vector of its own, though the table may have fewer rows than there are ids.

    It is also an encoding that learns: narrow sums can take the place of the hashes
    that a `DeepHashEmbedding` decodes.

    Example:
    >>> layer = BloomEmbedding(8, num_buckets=100)
    >>> layer(tf.constant(["user_17", "never seen"])).shape
    TensorShape([2, 8])
    >>> from tfrs_dhe.layers import DeepHashEmbedding
    >>> encoding = BloomEmbedding(4, parameter_budget=0.25, table_shape=(1000, 32))
    >>> layer = DeepHashEmbedding(
    ...     32, 64, num_hidden_layers=2, normalization=None, encoding=encoding
    ... )
    >>> layer(tf.constant(["user_17", "never seen"]), training=False).shape
    TensorShape([2, 32])

    Args:
      output_dim: d, the width of the rows and of the embedding.
      num_buckets: B, the rows of the table, at least 2. Give either this or
        `parameter_budget`.
      parameter_budget: How many parameters the layer may have. With `table_shape`, the
        share of that table's parameters.
      num_hashes: k.
      signed: Whether more hashes give the signs s_i, 1 or -1, so that what ids add to
        one another is zero in the mean. Without, all are 1.
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
      Serra and Karatzoglou, "Getting Deep Recommenders Fit: Bloom Embeddings for Sparse
      Binary Input/Output Networks", RecSys 2017, section 3. The signs are those of
      Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML
      2009, section 2.
    """

    def __init__(
        self,
        output_dim: int,
        num_buckets: int | None = None,
        parameter_budget: float | None = None,
        num_hashes: int = 4,
        signed: bool = True,
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
        self.num_hashes = _arguments.check_positive_integer("num_hashes", num_hashes)
        self.signed = signed
        check_size("num_buckets", num_buckets, self._budget, 2 * self.output_dim)
        self._given_num_buckets = num_buckets
        if self._budget is not None:
            num_buckets = self._budget // self.output_dim
        self.num_buckets = _arguments.check_num_buckets(num_buckets)

    def build(self, input_shape: Any) -> None:
        """Creates the table."""
        self._table = self._add_table("embeddings", self.num_buckets, self.output_dim)
        super().build(input_shape)

    def _embed(self, ids: tf.Tensor) -> tf.Tensor:
        buckets = self._buckets(ids, self.num_hashes, self.num_buckets)
        rows = self._rows(self._table, buckets)
        if self.signed:
            rows *= self._signs(ids, self.num_hashes, rows.dtype)[..., tf.newaxis]
        return tf.reduce_sum(rows, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_buckets": self._given_num_buckets,
            "num_hashes": self.num_hashes,
            "signed": self.signed,
        }
