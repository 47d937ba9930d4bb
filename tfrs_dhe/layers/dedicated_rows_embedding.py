"""The layer that gives chosen ids a row each and computes all others."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments, _compact_rows, _materialize, _tables
from tfrs_dhe.layers._build import named_after
from tfrs_dhe.layers._id_layer import IdLayer
from tfrs_dhe.layers._initializers import copy_initializer
from tfrs_dhe.layers._key_index import find_sorted
from tfrs_dhe.layers._keyed_rows import check_type, keys_of
from tfrs_dhe.layers._rows import as_id_tensor, flat_mask, flatten
from tfrs_dhe.layers._side_features import side_feature_rows
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.layers.factorized_top_k import _identifiers
from tfrs_dhe.layers.materialized_embedding import MaterializedEmbedding


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class DedicatedRowsEmbedding(IdLayer):
    """Embeds chosen ids by a row of their own, and all others by a network.

    A table learns best about an id that it has often seen, and has nothing to say of
    one that it has not; a network is the other way round. Here the ids that matter,
    such as all of a catalogue or the most frequent ones, have trainable rows, and any
    other id goes through `embedding`, with its side features if there are some.

    Rows are found by 64-bit keys in a sorted list, 8 bytes an id; there is no
    vocabulary of strings. For serving, `materialize` rounds the rows to 8 or 4 bits.

    In training, `row_dropout` leaves out the rows of a random share of the known ids,
    which then go through the network, as ids that come new do later: that is what it
    learns from. Without (0), it learns from unknown ids alone.

    The share that goes through the network has no fixed size, which neither XLA nor a
    TPU can do: there, `DeepHashEmbedding` is the layer to take.

    Example:
    >>> from tfrs_dhe.layers import DeepHashEmbedding
    >>> layer = DedicatedRowsEmbedding(
    ...     DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2),
    ...     ids=["user_1", "user_2"],
    ... )
    >>> layer(tf.constant([["user_1", "never seen"]]), training=False).shape
    TensorShape([1, 2, 8])

    Args:
      embedding: The `DeepHashEmbedding` of all ids that have no row. Its `output_dim`
        and `mask_value` are those of the layer.
      ids: The ids that have rows, strings or integers [n], each once. None where
        weights will be loaded; then `num_rows` is given.
      num_rows: n; needed without `ids` alone.
      string_ids: Whether the ids are strings; needed without `ids` alone.
      row_dropout: The share of known ids whose row is left out in training, in
        [0, 1). About .1 is best for ids without a row that have side features; with
        less, down to .005, rare ids that have rows are embedded better.
      embeddings_initializer: Of the rows.
      embeddings_regularizer: Of the rows.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings or integers as the ids with rows are, of any rank,
      dense or ragged. A pipeline that hashes strings before gives `ids` hashed, too.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids repeat, are neither strings nor
        integers or of another type than those with rows, or side features do not fit
        the ids.

    References:
      Volkovs, Yu and Poutanen, "DropoutNet: Addressing Cold Start in Recommender
      Systems", NIPS 2017, section 4.2, for what is learned from rows that are left out.
    """

    def __init__(
        self,
        embedding: Any,
        ids: Any = None,
        num_rows: int | None = None,
        string_ids: bool | None = None,
        row_dropout: float = 0.02,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(embedding, DeepHashEmbedding):
            raise ValueError(
                "`embedding` must be a DeepHashEmbedding, which embeds the ids that "
                f"have no row. Received: {embedding!r}."
            )
        super().__init__(embedding.output_dim, embedding.mask_value, **kwargs)
        self.embedding = embedding
        if not 0 <= row_dropout < 1:
            raise ValueError(
                f"`row_dropout` must be in [0, 1). Received: {row_dropout!r}."
            )
        self.row_dropout = row_dropout
        if len({ids is None, num_rows is not None, string_ids is not None}) > 1:
            raise ValueError(
                "Give either `ids`, or `num_rows` and `string_ids` where weights will "
                f"be loaded that say which they are. Received: num_rows={num_rows!r}, "
                f"string_ids={string_ids!r} and ids={ids!r}."
            )
        self._initial_keys = None
        if ids is not None:
            ids = _identifiers.as_list("ids", ids)
            self._initial_keys = _sorted_keys(ids, embedding.mask_value)
            num_rows, string_ids = len(ids), ids.dtype == tf.string
        self.string_ids = bool(string_ids)
        self.num_rows = _arguments.check_positive_integer("num_rows", num_rows)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self._table = _tables.add_table(
            self,
            "embeddings",
            self.num_rows,
            self.output_dim,
            copy_initializer(self.embeddings_initializer),
            self.embeddings_regularizer,
        )
        self._keys = self.add_weight(
            name="keys",
            shape=(self.num_rows,),
            dtype="int64",
            initializer=self._initialize_keys,
            trainable=False,
        )

    def _initialize_keys(self, shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
        if self._initial_keys is None:
            return tf.zeros(shape, tf.int64)
        return tf.constant(self._initial_keys)

    def _see_ids(self, dtype: tf.DType) -> None:
        self.supports_jit = False  # XLA cannot take a share of a batch

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
          side_features: What `embedding` takes: finite numbers [..., s] of all ids, or
            a dict, list or tuple of such tensors. Rows do not depend on them.
          training: Whether rows are left out, and batch normalization uses and learns
            the statistics of the ids that go through the network.
          mask: tf.bool [...], false for ids that are padding.

        Returns:
          Floats [..., output_dim]; what stands at padding has no meaning.
        """
        ids = as_id_tensor(ids)
        self._see_ids(ids.dtype)
        mask = self.compute_id_mask(ids, mask)
        flat = flatten(ids)
        numbers, has_row = self._find(flat.ids)
        if training and self.row_dropout:
            draws = tf.random.uniform(tf.shape(numbers))
            has_row &= draws >= self.row_dropout
        rows = _tables.table_rows(self._table, numbers, self.compute_dtype)
        rows = tf.where(has_row[:, tf.newaxis], rows, tf.zeros_like(rows))
        is_computed = tf.logical_not(has_row)
        if mask is not None:
            is_computed &= flat_mask(ids, mask)
        places = tf.where(is_computed)
        features = {}
        if side_features is not None:
            all_rows = side_feature_rows(side_features, ids, self.compute_dtype)
            features["side_features"] = tf.gather(all_rows, places[:, 0])
        computed = self.embedding(
            tf.gather(flat.ids, places[:, 0]), training=training, **features
        )
        # The network may have another policy, or a serving form of it.
        computed = tf.cast(computed, rows.dtype)
        outputs = tf.tensor_scatter_nd_update(rows, places, computed)
        outputs.set_shape([None, self.output_dim])
        return flat.restore(outputs)

    def _find(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the numbers of rows of ids [n], and which ids have one."""
        check_type(ids, self.string_ids)
        return find_sorted(tf.convert_to_tensor(self._keys), keys_of(ids))

    def is_known(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns which ids have a row, tf.bool [...].

        Args:
          ids: Strings or integers [...], dense or ragged.

        Raises:
          ValueError: If ids are of another type than those with rows.
        """
        flat = flatten(as_id_tensor(ids))
        _, has_row = self._find(flat.ids)
        return tf.squeeze(flat.restore(has_row[:, tf.newaxis]), axis=-1)

    def materialize(
        self, dtype: str = "float32", key_index: str = "hash_table"
    ) -> MaterializedEmbedding:
        """Returns a layer for serving, with the rows in a smaller dtype.

        Example:
        >>> from tfrs_dhe.layers import DeepHashEmbedding
        >>> layer = DedicatedRowsEmbedding(DeepHashEmbedding(32, 64), ["a", "b"])
        >>> outputs = layer(tf.constant(["a", "new"]), training=False)
        >>> served = layer.materialize("int4", key_index="sorted")
        >>> served(tf.constant(["b", "other"])).shape
        TensorShape([2, 32])

        Args:
          dtype: Of the rows: `"float32"`, `"bfloat16"`, or `"int8"` or `"int4"` with a
            scale for each row.
          key_index: What finds rows: `"hash_table"`, which takes about 48 bytes a row,
            or `"sorted"`, which takes 8 and more time for large batches.

        Returns:
          A `MaterializedEmbedding` with copies of the weights.

        Raises:
          ValueError: If an argument is out of range, or the layer has not been built.
        """
        _arguments.check_one_of("dtype", dtype, _compact_rows.ROW_DTYPES)
        network = self.embedding.inference_form()
        keys = tf.convert_to_tensor(self._keys).numpy()
        rows = tf.convert_to_tensor(self._table).numpy()
        if self.mask_value is not None:
            padding = keys_of(tf.constant([self.mask_value])).numpy()
            place = np.searchsorted(keys, padding)
            keys = np.insert(keys, place, padding)
            rows = np.insert(rows, place, 0, axis=0)
        compact_rows = _compact_rows.compact(rows, dtype)
        return _materialize.served(
            self,
            network,
            keys,
            compact_rows,
            dtype,
            key_index,
            self.string_ids,
            trained_rows=True,
        )

    def get_build_config(self) -> dict[str, Any]:
        """Returns the width of the network's input, which side features add to."""
        return self.embedding.get_build_config()

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds rows and network when a saved model is loaded."""
        if not self.embedding.network.built:
            with named_after(self.embedding):
                self.embedding.build_from_config(config)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; the ids of rows are weights."""
        config = super().get_config()
        # They are those of the embedding.
        del config["output_dim"], config["mask_value"]
        return {
            **config,
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "num_rows": self.num_rows,
            "string_ids": self.string_ids,
            "row_dropout": self.row_dropout,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "embeddings_regularizer": keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DedicatedRowsEmbedding":
        """Returns a layer of the same sizes, to be filled by loading weights."""
        embedding = keras.saving.deserialize_keras_object(config["embedding"])
        return cls(**{**config, "embedding": embedding})


def _sorted_keys(ids: tf.Tensor, mask_value: str | int | None) -> np.ndarray:
    keys = np.sort(keys_of(ids).numpy())
    if mask_value is not None:
        padding = keys_of(tf.constant([mask_value])).numpy()
        if np.isin(padding, keys):
            raise ValueError(
                f"`ids` must not have the `mask_value` {mask_value!r}, which pads "
                "lists and is no id."
            )
    return keys
