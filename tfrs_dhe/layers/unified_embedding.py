"""TFRS's UnifiedEmbedding in the form of the other layers from ids to embeddings."""

import importlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe import _keras, hashing
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers._id_layer import IdLayer
from tfrs_dhe.layers._rows import as_id_tensor, flatten
from tfrs_dhe.layers._table_embedding import check_size

_FEATURE = "ids"
_MODULE = "tensorflow_recommenders.layers.feature_multiplexing.unified_embedding"


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class UnifiedEmbedding(IdLayer):
    """Embeds one feature by `tfrs.layers.feature_multiplexing`'s UnifiedEmbedding.

    `e(x)` is c chunks beside each other, each a row of a table that a hash of the id
    points to. TFRS's layer is made for many features in the same tables and for the
    embedding hardware of TPUs; here it serves one feature, for comparison with the
    other layers at the same size. It needs TFRS. The hashes are those of TFRS and
    follow from the number of the chunk alone.

    Example:
    >>> layer = UnifiedEmbedding(8, num_buckets=100, num_chunks=2)
    >>> layer(tf.constant(["user_17", "never seen"])).shape
    TensorShape([2, 8])

    Args:
      output_dim: d, the width of the embedding.
      num_buckets: B, the rows of each table, at least 2. Give either this or
        `parameter_budget`.
      parameter_budget: How many parameters the layer may have. With `table_shape`,
        the share of that table's parameters.
      num_chunks: c, a divisor of d.
      num_tables: How many tables there are, at most c; chunks take them in turns.
      table_shape: Rows and columns (n, d) of the table that is replaced.
      mask_value: The id that pads lists, such as `""` or 0.
      embeddings_initializer: Of the tables.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings or integers, of any rank, dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are neither strings nor
        integers, or side features are given.
      ImportError: If TFRS cannot be imported.

    References:
      Coleman et al., "Unified Embedding: Battle-Tested Feature Representations for
      Web-Scale ML Systems", NeurIPS 2023.
    """

    def __init__(
        self,
        output_dim: int,
        num_buckets: int | None = None,
        parameter_budget: float | None = None,
        num_chunks: int = 2,
        num_tables: int = 1,
        table_shape: Sequence[int] | None = None,
        mask_value: str | int | None = None,
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(output_dim, mask_value, **kwargs)
        _keras.require_tfrs("tfrs_dhe.layers.UnifiedEmbedding")
        # TFRS does not import it by itself.
        multiplexing = importlib.import_module(_MODULE)
        self.num_chunks = _arguments.check_positive_integer("num_chunks", num_chunks)
        if self.output_dim % self.num_chunks:
            raise ValueError(
                f"`num_chunks` must divide `output_dim`, which is {self.output_dim}. "
                f"Received: {num_chunks}."
            )
        self.num_tables = _arguments.check_positive_integer("num_tables", num_tables)
        if self.num_tables > self.num_chunks:
            raise ValueError(
                f"`num_tables` must be at most `num_chunks`, which is {num_chunks}, or "
                f"tables would go unused. Received: {num_tables}."
            )
        self.parameter_budget = parameter_budget
        self.table_shape = table_shape
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        budget = _arguments.resolve_budget(parameter_budget, table_shape)
        width = self.output_dim // self.num_chunks
        check_size("num_buckets", num_buckets, budget, 2 * self.num_tables * width)
        self._given_num_buckets = num_buckets
        if budget is not None:
            num_buckets = budget // (self.num_tables * width)
        self.num_buckets = _arguments.check_num_buckets(num_buckets)
        config = multiplexing.UnifiedEmbeddingConfig(
            buckets_per_table=self.num_buckets,
            dim_per_table=width,
            num_tables=self.num_tables,
            name="unified",
            initializer=self.embeddings_initializer,
        )
        config.add_feature(_FEATURE, self.num_chunks)
        # An optimizer for the embedding hardware of TPUs; elsewhere the tables are
        # weights that the model's optimizer trains.
        optimizer = tf.tpu.experimental.embedding.Adagrad()
        self._unified = multiplexing.UnifiedEmbedding(config, optimizer)

    @no_autograph
    def call(
        self,
        ids: tf.Tensor,
        side_features: Any = None,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the embeddings of ids, as the other layers do."""
        if side_features is not None:
            raise ValueError(
                "`side_features` have no place in UnifiedEmbedding. Concatenate them "
                "to its output."
            )
        flat = flatten(as_id_tensor(ids))
        ids = flat.ids
        if ids.dtype != tf.string:
            ids = hashing.int64_keys(ids)
        (outputs,) = self._unified({_FEATURE: ids})
        outputs = tf.reshape(outputs, [-1, self.output_dim])
        return flat.restore(tf.cast(outputs, self.compute_dtype))

    def _see_ids(self, dtype: tf.DType) -> None:
        self.supports_jit = False  # TFRS hashes integers as strings

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_buckets": self._given_num_buckets,
            "parameter_budget": _arguments.plain(self.parameter_budget),
            "num_chunks": self.num_chunks,
            "num_tables": self.num_tables,
            "table_shape": _arguments.plain(self.table_shape),
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
