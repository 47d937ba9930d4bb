"""Double hashing: an id's rows in two tables make its embedding."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers._combiners import COMBINERS, combine, row_width
from tfrs_dhe.layers._table_embedding import TableEmbedding, check_size


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class DoubleHashEmbedding(TableEmbedding):
    """Embeds an id by two rows that two hashes of it point to.

    `e(x) = T1[h1(x)] + T2[h2(x)]`, or their product, or one beside the other. Two ids
    share their embedding only where both hashes collide.

    Example:
    >>> layer = DoubleHashEmbedding(8, num_buckets=100)
    >>> layer(tf.constant(["user_17", "never seen"])).shape
    TensorShape([2, 8])

    Args:
      output_dim: d, the width of the embedding.
      num_buckets: B, the rows of each of the two tables, at least 2. Give either this
        or `parameter_budget`.
      parameter_budget: How many parameters the layer may have. With `table_shape`,
        the share of that table's parameters.
      combiner: `"sum"`, `"multiply"`, or `"concat"`, for which rows have d / 2 numbers.
      seed: Integer in [0, 2^64) from which the hash functions follow.
      table_shape: Rows and columns (n, d) of the table that is replaced.
      mask_value: The id that pads lists, such as `""` or 0.
      embeddings_initializer: Of the tables.
      embeddings_regularizer: Of the tables.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings or integers, of any rank, dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are neither strings nor
        integers, or side features are given.

    References:
      Zhang et al., "Model Size Reduction Using Frequency Based Double Hashing for
      Recommender Systems", RecSys 2020, section 3 (here for all ids, without a
      dictionary of the frequent ones).
    """

    def __init__(
        self,
        output_dim: int,
        num_buckets: int | None = None,
        parameter_budget: float | None = None,
        combiner: str = "sum",
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
        _arguments.check_one_of("combiner", combiner, COMBINERS)
        self.combiner = combiner
        self._row_width = row_width(self.output_dim, combiner)
        check_size("num_buckets", num_buckets, self._budget, 4 * self._row_width)
        self._given_num_buckets = num_buckets
        if self._budget is not None:
            num_buckets = self._budget // (2 * self._row_width)
        self.num_buckets = _arguments.check_num_buckets(num_buckets)

    def build(self, input_shape: Any) -> None:
        """Creates the tables."""
        width = self._row_width
        self._first = self._add_table("embeddings_1", self.num_buckets, width)
        self._second = self._add_table("embeddings_2", self.num_buckets, width)
        super().build(input_shape)

    def _embed(self, ids: tf.Tensor) -> tf.Tensor:
        buckets = self._buckets(ids, 2, self.num_buckets)
        first = self._rows(self._first, buckets[:, 0])
        second = self._rows(self._second, buckets[:, 1])
        return combine([first, second], self.combiner)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_buckets": self._given_num_buckets,
            "combiner": self.combiner,
        }
