"""Compositional embeddings: a row for the quotient and a row for the remainder."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers._combiners import COMBINERS, combine, row_width
from tfrs_dhe.layers._table_embedding import TableEmbedding, check_size
from tfrs_dhe.layers._vocabulary import Vocabulary


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class CompositionalEmbedding(TableEmbedding):
    """Embeds the i-th id of a vocabulary by the rows of i mod m and i div m.

    `e(i) = T1[i mod m] T2[i div m]`, or their sum, or one beside the other. No two ids
    have both rows in common, so that each has an embedding of its own, of about
    `2 sqrt(n)` rows at least. The vocabulary has to be kept, and unknown ids are one.

    Example:
    >>> layer = CompositionalEmbedding(8, [f"user_{i}" for i in range(99)], 25)
    >>> layer(tf.constant(["user_17", "never seen"])).shape
    TensorShape([2, 8])
    >>> sum(weight.shape[0] for weight in layer.weights)
    29

    Args:
      output_dim: d, the width of the embedding.
      vocabulary: n distinct ids, strings or integers. With the unknown id, number 0,
        there are n + 1 numbers.
      num_remainders: m, from 2 to n + 1. Give either this or `parameter_budget`.
      parameter_budget: How many parameters the layer may have; m is the largest that
        fits. With `table_shape`, the share of that table's parameters.
      combiner: `"sum"`, `"multiply"`, or `"concat"`, for which rows have d / 2 numbers.
      seed: Has no meaning here; nothing is hashed.
      table_shape: Rows and columns (n, d) of the table that is replaced.
      mask_value: The id that pads lists, such as `""` or 0.
      embeddings_initializer: Of the tables.
      embeddings_regularizer: Of the tables.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], of the vocabulary's type, of any rank, dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are of another type than the
        vocabulary, or side features are given.

    References:
      Shi et al., "Compositional Embeddings Using Complementary Partitions for
      Memory-Efficient Recommendation Systems", KDD 2020, section 3.
    """

    def __init__(
        self,
        output_dim: int,
        vocabulary: Sequence[Any],
        num_remainders: int | None = None,
        parameter_budget: float | None = None,
        combiner: str = "multiply",
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
        # A plain object: Keras would track a list of a million ids.
        self._vocabulary = Vocabulary(vocabulary)
        self._lookup = self._vocabulary.lookup()
        num_numbers = len(self._vocabulary) + 1
        smallest = _smallest_num_rows(num_numbers) * self._row_width
        check_size("num_remainders", num_remainders, self._budget, smallest)
        self._given_num_remainders = num_remainders
        if self._budget is not None:
            num_rows = self._budget // self._row_width
            num_remainders = _largest_num_remainders(num_numbers, num_rows)
        self.num_remainders = _arguments.check_num_buckets(
            num_remainders, "num_remainders"
        )
        if self.num_remainders > num_numbers:
            raise ValueError(
                f"`num_remainders` must be at most {num_numbers}, one more than the "
                f"ids of the `vocabulary`. Received: {num_remainders}."
            )
        self.num_quotients = -(-num_numbers // self.num_remainders)

    @property
    def vocabulary(self) -> list[Any]:
        """The ids that have a number of their own, in their order."""
        return self._vocabulary.ids

    def build(self, input_shape: Any) -> None:
        """Creates the tables."""
        width = self._row_width
        self._remainders = self._add_table("remainders", self.num_remainders, width)
        self._quotients = self._add_table("quotients", self.num_quotients, width)
        super().build(input_shape)

    def _see_ids(self, dtype: tf.DType) -> None:
        self.supports_jit = False  # XLA knows no lookup tables

    def _embed(self, ids: tf.Tensor) -> tf.Tensor:
        numbers = self._lookup(self._vocabulary.prepare(ids))
        remainders = self._rows(self._remainders, numbers % self.num_remainders)
        quotients = self._rows(self._quotients, numbers // self.num_remainders)
        return combine([remainders, quotients], self.combiner)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "vocabulary": self._vocabulary.ids,
            "num_remainders": self._given_num_remainders,
            "combiner": self.combiner,
        }


def _smallest_num_rows(num_numbers: int) -> int:
    root = math.isqrt(num_numbers - 1) + 1  # rounded up
    return root - (-num_numbers // root)


def _largest_num_remainders(num_numbers: int, num_rows: int) -> int:
    """Returns the largest m with m + ceil(n / m) <= num_rows, at most n."""
    num_remainders = min(num_rows - 1, num_numbers)
    while num_remainders - (-num_numbers // num_remainders) > num_rows:
        num_remainders -= 1
    return num_remainders
