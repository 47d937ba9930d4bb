"""The layer that serves known ids from rows and all others by the network."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import _arguments, _compact_rows, _key_map, _specs
from tfrs_dhe.layers._inference import check_inference
from tfrs_dhe.layers._inference_form import InferenceDeepHashEmbedding
from tfrs_dhe.layers._row_errors import RowErrors
from tfrs_dhe.layers._rows import as_id_tensor, rows_of

#: Rows of 8 and 16 bits can be looked up on the CPU alone, and strings are there.
_DEVICE = "CPU:0"


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class MaterializedEmbedding(keras.layers.Layer):
    """Embeds known ids by a row each, and unknown ids by the network.

    `DeepHashEmbedding.materialize` makes it for serving: ids that come often, as
    those of a catalogue, are computed once and looked up from then on, at the price
    of a table. Others are computed as before, by the layer's inference form. A
    request of known ids does not pay for the network; of a request with others, only
    these go through it.

    Rows and network are copies of the layer as it was. Rows of float32 are the
    layer's outputs; see `error` for what the smaller dtypes add.

    An id is known by its 64-bit key, the integer itself or CityHash64 of the string,
    which is all that the network sees of it. The keys are kept in weights, as the
    rows are, so files of Keras, checkpoints and SavedModels all hold them.

    Example:
    >>> from tfrs_dhe.layers import DeepHashEmbedding
    >>> layer = DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2)
    >>> outputs = layer(tf.constant(["a"]), training=False)
    >>> served = layer.materialize(["a", "b", "c"], dtype="int8")
    >>> served(tf.constant([["a", "never seen"], ["c", "b"]])).shape
    TensorShape([2, 2, 8])

    Args:
      embedding: The inference form that computes unknown ids; without side features.
      num_rows: n, how many ids are known.
      row_dtype: `"float32"`, `"bfloat16"`, or `"int8"` with a scale for each row.
      num_key_bits: How many bits of a key find its row's neighbourhood.
      key_span: How many blocks of keys are searched there.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings (hashed by CityHash64) or integers, of any
      rank, dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are neither strings nor
        integers, side features are given, or training is true.
    """

    def __init__(
        self,
        embedding: Any,
        num_rows: int,
        row_dtype: str = "float32",
        num_key_bits: int = 1,
        key_span: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"trainable": False, **kwargs})
        if not isinstance(embedding, InferenceDeepHashEmbedding):
            raise ValueError(
                "`embedding` must be the inference form of a DeepHashEmbedding, from "
                "`layer.inference_form()`; `layer.materialize(ids)` does all of it. "
                f"Received: {embedding!r}."
            )
        _arguments.check_one_of("row_dtype", row_dtype, _compact_rows.ROW_DTYPES)
        self.num_rows = _arguments.check_positive_integer("num_rows", num_rows)
        self.row_dtype = row_dtype
        self._keys = _key_map.KeyMapShape(
            self.num_rows,
            _arguments.check_positive_integer("num_key_bits", num_key_bits),
            _arguments.check_positive_integer("key_span", key_span),
        )
        self.output_dim = embedding.output_dim
        self.mask_value = embedding.mask_value
        self.embedding = embedding
        if not embedding.network.built:
            embedding.network.build((None, embedding.encoding.num_hashes))
        with tf.device(_DEVICE):
            # A map of nothing, so that what is unset is not taken for a row.
            nowhere = keras.initializers.Constant(self._keys.first_free_block)
            self._starts = self._add("starts", self._keys.starts, "int64", nowhere)
            self._blocks = self._add("blocks", self._keys.blocks, "int64")
            self._values = self._add(
                "rows",
                (self.num_rows, self.output_dim),
                _compact_rows.STORED[row_dtype],
            )
            self._scales = None
            if row_dtype == "int8":
                self._scales = self._add("scales", (self.num_rows,), "float32")
        self.supports_masking = True
        # XLA knows no strings; what the ids are is known from the first call on.
        self.supports_jit = False

    def build(self, input_shape: Any) -> None:
        """Does nothing: the sizes are known from the start."""
        super().build(input_shape)

    def _add(
        self, name: str, shape: tuple[int, ...], dtype: str, initializer: Any = "zeros"
    ) -> Any:
        # Half precision would cast whole tables in every call.
        autocast = "experimental_autocast" if is_legacy else "autocast"
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            trainable=False,
            **{autocast: False},
        )

    def assign(
        self,
        keys: _key_map.KeyMap,
        rows: _compact_rows.CompactRows,
    ) -> None:
        """Takes over keys and their rows, which have to be of the layer's sizes."""
        self._starts.assign(keys.starts)
        self._blocks.assign(keys.blocks)
        self._values.assign(rows.values)
        if self._scales is not None:
            self._scales.assign(rows.scales)

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
          side_features: None; a row for an id knows no side features.
          training: False or None.
          mask: tf.bool [...]; embeddings do not depend on it.

        Returns:
          Floats [..., output_dim]; what stands at padding has no meaning.
        """
        check_inference(self, training)
        if side_features is not None:
            raise ValueError(
                "`side_features` are not known to rows that were computed for ids "
                "alone. Serve the layer's `inference_form()`, which takes them."
            )
        ids = as_id_tensor(ids)
        self._set_supports_jit(ids.dtype)
        rows = rows_of(ids)
        with tf.device(_DEVICE):
            found = self._find(rows.keys)
            is_known = found < self.num_rows
            known = self._rows(tf.where(is_known, found, 0))
        outputs = tf.cond(
            tf.reduce_all(is_known),
            lambda: known,
            lambda: self._with_unknown(known, rows.keys, is_known),
        )
        return rows.restore(tf.ensure_shape(outputs, [None, self.output_dim]))

    def _set_supports_jit(self, dtype: Any) -> None:
        is_string = tf.as_dtype(dtype) == tf.string
        self.supports_jit = self.embedding.supports_jit = not is_string

    def _find(self, keys: tf.Tensor) -> tf.Tensor:
        starts = tf.convert_to_tensor(self._starts)
        blocks = tf.convert_to_tensor(self._blocks)
        return _key_map.find(keys, starts, blocks, self._keys)

    def _rows(self, numbers: tf.Tensor) -> tf.Tensor:
        values = tf.gather(tf.convert_to_tensor(self._values), numbers)
        scales = None
        if self._scales is not None:
            scales = tf.gather(tf.convert_to_tensor(self._scales), numbers)
        return _compact_rows.restore(values, scales, self.row_dtype, self.compute_dtype)

    def _with_unknown(
        self, known: tf.Tensor, keys: tf.Tensor, is_known: tf.Tensor
    ) -> tf.Tensor:
        unknown = tf.where(tf.logical_not(is_known))
        computed = self.embedding.embed_keys(tf.gather(keys, unknown[:, 0]))
        computed = tf.cast(computed, known.dtype)
        return tf.tensor_scatter_nd_update(known, unknown, computed)

    def is_known(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns which ids have a row, tf.bool [...].

        Args:
          ids: Strings or integers [...], dense or ragged.

        Raises:
          ValueError: If ids are neither strings nor integers.
        """
        rows = rows_of(as_id_tensor(ids))
        is_known = (self._find(rows.keys) < self.num_rows)[:, tf.newaxis]
        return tf.squeeze(rows.restore(is_known), axis=-1)

    def error(self, ids: Any, batch_size: int = 8192) -> RowErrors:
        """Returns how far rows are from what the network computes.

        Args:
          ids: Known strings or integers [n].
          batch_size: How many are computed at a time.

        Returns:
          The errors; `print` shows them.

        Raises:
          ValueError: If ids have no row, or are neither strings nor integers.
        """
        ids = as_id_tensor(ids)
        num_unknown = int(tf.reduce_sum(tf.cast(~self.is_known(ids), tf.int64)))
        if num_unknown or not len(ids):
            raise ValueError(
                "`ids` must be some that have a row, to compare it with the network. "
                f"Received {len(ids)} ids, of which {num_unknown} have none."
            )
        batches = [ids[i : i + batch_size] for i in range(0, len(ids), batch_size)]
        return RowErrors.of(
            np.concatenate([self(batch) for batch in batches]),
            np.concatenate([self.embedding(batch) for batch in batches]),
        )

    def compute_mask(self, inputs: tf.Tensor, mask: Any = None) -> Any:
        """Returns where ids are no padding, tf.bool in the shape of the ids."""
        return self.embedding.compute_mask(inputs, mask)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape of the ids with the embedding's width added."""
        return (*_specs.shape_tuple(input_shape), self.output_dim)

    def compute_output_spec(
        self,
        ids: Any,
        side_features: Any = None,
        training: bool | None = None,
        mask: Any = None,
    ) -> Any:
        """Returns the symbolic output (Keras 3)."""
        _specs.check_id_spec(ids)
        # Keras 3 asks for this alone where there is nothing to build.
        self._set_supports_jit(ids.dtype)
        return _specs.output_spec(self, ids)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "num_rows": self.num_rows,
            "row_dtype": self.row_dtype,
            "num_key_bits": self._keys.num_bits,
            "key_span": self._keys.span,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaterializedEmbedding":
        """Returns a layer of the same sizes, to be filled by loading weights."""
        embedding = keras.saving.deserialize_keras_object(config["embedding"])
        return cls(**{**config, "embedding": embedding})
