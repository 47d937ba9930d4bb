"""The table: a row for each id of a vocabulary."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers._table_embedding import TableEmbedding, check_smallest
from tfrs_dhe.layers._vocabulary import Vocabulary


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class VocabularyEmbedding(TableEmbedding):
    """Embeds an id of a vocabulary by a row of its own, and all others by one row.

    It is `StringLookup` or `IntegerLookup` and `Embedding` in a layer, what deep hash
    embeddings are measured against: `e(x) = T[index(x)]`.

    Example:
    >>> layer = VocabularyEmbedding(8, ["user_17", "user_4"])
    >>> layer(tf.constant(["user_17", "never seen"])).shape
    TensorShape([2, 8])

    Args:
      output_dim: d, the width of the embedding.
      vocabulary: n distinct ids, strings or integers, the most frequent first.
      parameter_budget: How many parameters the layer may have; None is (n + 1) d.
        With fewer, the first ids have rows and the last ones count as unknown. With
        `table_shape`, the share of that table's parameters.
      seed: Has no meaning here; a table hashes nothing.
      table_shape: Rows and columns (n, d) of the table that is replaced.
      mask_value: The id that pads lists, such as `""` or 0.
      embeddings_initializer: Of the table.
      embeddings_regularizer: Of the table.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], of the vocabulary's type, of any rank, dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are of another type than the
        vocabulary, or side features are given.
    """

    def __init__(
        self,
        output_dim: int,
        vocabulary: Sequence[Any],
        parameter_budget: float | None = None,
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
        # Plain objects: Keras would track lists of a million ids.
        self._given_vocabulary = Vocabulary(vocabulary)
        self._vocabulary = self._given_vocabulary
        if self._budget is not None:
            check_smallest(self._budget, 2 * self.output_dim)
            num_rows = self._budget // self.output_dim
            self._vocabulary = self._given_vocabulary.first(num_rows - 1)
        self._lookup = self._vocabulary.lookup()

    @property
    def vocabulary(self) -> list[Any]:
        """The ids that have rows."""
        return self._vocabulary.ids

    def build(self, input_shape: Any) -> None:
        """Creates the table."""
        num_rows = len(self._vocabulary) + 1
        self._table = self._add_table("embeddings", num_rows, self.output_dim)
        super().build(input_shape)

    def _see_ids(self, dtype: tf.DType) -> None:
        self.supports_jit = False  # XLA knows no lookup tables

    def _embed(self, ids: tf.Tensor) -> tf.Tensor:
        return self._rows(self._table, self._lookup(self._vocabulary.prepare(ids)))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "vocabulary": self._given_vocabulary.ids}
