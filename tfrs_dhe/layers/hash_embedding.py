"""Hash embeddings: rows of a shared pool, weighted by learned importance."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers._table_embedding import TableEmbedding, check_size

#: Rows of importance weights for each component vector: the paper has many more of
#: the former, as they have k numbers and not d.
IMPORTANCE_ROWS_PER_BUCKET = 10


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class HashEmbedding(TableEmbedding):
    """Embeds an id by a weighted sum of component vectors, weights learned.

    `e(x) = sum_i P[h_0(x), i] T[h_i(x)]`, i = 1, ..., k: k hashes choose rows of one
    pool of B component vectors, and one more hash chooses the row of importance
    weights. An id can lean on the component that it shares with less important ids.

    Example:
    >>> layer = HashEmbedding(8, num_buckets=100)
    >>> layer(tf.constant(["user_17", "never seen"])).shape
    TensorShape([2, 8])

    Args:
      output_dim: d, the width of the embedding.
      num_buckets: B, the rows of the pool, at least 2. Give either this or
        `parameter_budget`.
      parameter_budget: How many parameters the layer may have, those of the
        importance weights included. With `table_shape`, the share of that table's
        parameters.
      num_hashes: k.
      num_importance_rows: K, the rows of the importance weights, at least 2; None is
        10 B.
      seed: Integer in [0, 2^64) from which the hash functions follow.
      table_shape: Rows and columns (n, d) of the table that is replaced.
      mask_value: The id that pads lists, such as `""` or 0.
      embeddings_initializer: Of the component vectors.
      embeddings_regularizer: Of the component vectors and the weights.
      importance_initializer: Of the importance weights.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings or integers, of any rank, dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are neither strings nor
        integers, or side features are given.

    References:
      Svenstrup, Hansen and Winther, "Hash Embeddings for Efficient Word
      Representations", NIPS 2017, section 2.
    """

    def __init__(
        self,
        output_dim: int,
        num_buckets: int | None = None,
        parameter_budget: float | None = None,
        num_hashes: int = 2,
        num_importance_rows: int | None = None,
        seed: int = 0,
        table_shape: Sequence[int] | None = None,
        mask_value: str | int | None = None,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        importance_initializer: Any = "ones",
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
        self.importance_initializer = keras.initializers.get(importance_initializer)
        self._given_num_buckets = num_buckets
        self._given_num_importance_rows = num_importance_rows
        if num_importance_rows is None:
            per_bucket, fixed = IMPORTANCE_ROWS_PER_BUCKET * self.num_hashes, 0
        else:
            _arguments.check_num_buckets(num_importance_rows, "num_importance_rows")
            per_bucket, fixed = 0, num_importance_rows * self.num_hashes
        per_bucket += self.output_dim
        check_size("num_buckets", num_buckets, self._budget, 2 * per_bucket + fixed)
        if self._budget is not None:
            num_buckets = (self._budget - fixed) // per_bucket
        self.num_buckets = _arguments.check_num_buckets(num_buckets)
        self.num_importance_rows = (
            num_importance_rows or IMPORTANCE_ROWS_PER_BUCKET * self.num_buckets
        )

    def build(self, input_shape: Any) -> None:
        """Creates the component vectors and the importance weights."""
        self._components = self._add_table(
            "components", self.num_buckets, self.output_dim
        )
        self._importance = self._add_table(
            "importance",
            self.num_importance_rows,
            self.num_hashes,
            self.importance_initializer,
        )
        super().build(input_shape)

    def _embed(self, ids: tf.Tensor) -> tf.Tensor:
        buckets = self._buckets(ids, self.num_hashes, self.num_buckets)
        seed = hashing.derive_seed(self.seed, "importance")
        row = hashing.universal_hash(
            hashing.int64_keys(ids), 1, self.num_importance_rows, seed=seed
        )
        weights = self._rows(self._importance, row[:, 0] - 1)
        components = self._rows(self._components, buckets)
        return tf.reduce_sum(weights[..., tf.newaxis] * components, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_buckets": self._given_num_buckets,
            "num_importance_rows": self._given_num_importance_rows,
            "num_hashes": self.num_hashes,
            "importance_initializer": keras.initializers.serialize(
                self.importance_initializer
            ),
        }
