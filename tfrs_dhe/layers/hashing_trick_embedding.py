"""The hashing trick: ids share the rows of a table."""

from collections.abc import Sequence
from typing import Any

from tfrs_dhe._keras import keras
from tfrs_dhe.layers.bloom_embedding import BloomEmbedding


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class HashingTrickEmbedding(BloomEmbedding):
    """Embeds an id by the row that a hash of it points to.

    `e(x) = T[h(x)]`, h into {0, ..., B - 1}. Ids of the same bucket share all of
    their embedding. With `signed=True` it is `s(x) T[h(x)]`, where a second hash s is
    1 or -1, so that ids of a bucket are equal or opposite.

    It is a `BloomEmbedding` of one hash.

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
            num_buckets,
            parameter_budget,
            num_hashes=1,
            signed=signed,
            seed=seed,
            table_shape=table_shape,
            mask_value=mask_value,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        del config["num_hashes"]
        return config
