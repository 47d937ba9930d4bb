"""What embeddings that are sums, products or lists of rows of tables share."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.hashing import constants
from tfrs_dhe.layers import _arguments, _tables
from tfrs_dhe.layers._id_layer import IdLayer
from tfrs_dhe.layers._initializers import copy_initializer
from tfrs_dhe.layers._rows import as_id_tensor, flatten


class TableEmbedding(IdLayer):
    """Takes ids of any shape and leaves to `_embed` what becomes of a list of them.

    A derived class adds its tables in `build` by `_add_table`, and reads them by
    `_rows`.

    Args:
      output_dim: Width of the embedding.
      parameter_budget: See `_arguments.resolve_budget`.
      table_shape: See `_arguments.resolve_budget`.
      seed: Integer in [0, 2^64) from which all hash functions follow.
      mask_value: The id that pads lists, or None.
      embeddings_initializer: Of the tables.
      embeddings_regularizer: Of the tables.
      **kwargs: Those of a Keras layer.
    """

    def __init__(
        self,
        output_dim: int,
        parameter_budget: float | None,
        table_shape: Sequence[int] | None,
        seed: int,
        mask_value: str | int | None,
        embeddings_initializer: Any,
        embeddings_regularizer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_dim, mask_value, **kwargs)
        self.parameter_budget = parameter_budget
        self.table_shape = table_shape
        self._budget = _arguments.resolve_budget(parameter_budget, table_shape)
        self.seed = constants.check_seed(seed)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)

    @no_autograph
    def call(
        self,
        ids: tf.Tensor,
        side_features: Any = None,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the embeddings of ids.

        Args:
          ids: Strings or integers [...], dense or ragged.
          side_features: None; a table has no place for them.
          training: Makes no difference.
          mask: tf.bool [...]; embeddings do not depend on it.

        Returns:
          Floats [..., output_dim]; what stands at padding has no meaning.
        """
        if side_features is not None:
            raise ValueError(
                f"`side_features` have no place in {type(self).__name__}, whose "
                "embeddings are rows of tables. Concatenate them to its output."
            )
        ids = as_id_tensor(ids)
        self._see_ids(ids.dtype)
        flat = flatten(ids)
        outputs = self._embed(flat.ids)
        outputs.set_shape([None, self.output_dim])
        return flat.restore(outputs)

    def _embed(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns embeddings [n, output_dim] of ids [n]."""
        raise NotImplementedError

    def _buckets(self, ids: tf.Tensor, num_hashes: int, num_buckets: int) -> tf.Tensor:
        """Returns buckets of ids [n], tf.int32 [n, num_hashes] from 0."""
        keys = hashing.int64_keys(ids)
        return hashing.universal_hash(keys, num_hashes, num_buckets, seed=self.seed) - 1

    def _signs(self, ids: tf.Tensor, num_hashes: int, dtype: tf.DType) -> tf.Tensor:
        """Returns signs of ids [n], 1 or -1 [n, num_hashes]."""
        seed = hashing.derive_seed(self.seed, "sign")
        coins = hashing.universal_hash(
            hashing.int64_keys(ids), num_hashes, 2, seed=seed
        )
        return tf.cast(2 * coins - 3, dtype)

    def _add_table(
        self, name: str, num_rows: int, width: int, initializer: Any = None
    ) -> Any:
        if initializer is None:
            initializer = copy_initializer(self.embeddings_initializer)
        return _tables.add_table(
            self, name, num_rows, width, initializer, self.embeddings_regularizer
        )

    def _rows(self, table: Any, numbers: tf.Tensor) -> tf.Tensor:
        return _tables.table_rows(table, numbers, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "parameter_budget": _arguments.plain(self.parameter_budget),
            "table_shape": _arguments.plain(self.table_shape),
            "seed": self.seed,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "embeddings_regularizer": keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
        }


def check_size(name: str, size: int | None, budget: int | None, smallest: int) -> None:
    """Checks that a size is given either by number or by budget.

    Args:
      name: Of the argument that gives the number.
      size: The number, or None.
      budget: Number of parameters, or None.
      smallest: The least number of parameters that a layer has.

    Raises:
      ValueError: If both are given, or none, or the budget is too small.
    """
    if (size is None) == (budget is None):
        raise ValueError(
            f"The size of the tables is given either by `{name}` or by "
            f"`parameter_budget`. Received: {name}={size!r} and a budget of "
            f"{budget!r} parameters."
        )
    if budget is not None:
        check_smallest(budget, smallest)


def check_smallest(budget: int, smallest: int) -> None:
    """Raises a ValueError if a budget is below the smallest number of parameters."""
    if budget < smallest:
        raise ValueError(
            f"`parameter_budget` is {budget}, but the smallest layer of this kind has "
            f"{smallest} parameters."
        )
