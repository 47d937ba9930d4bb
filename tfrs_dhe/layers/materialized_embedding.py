"""The layer that serves known ids from rows and all others by the network."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import _arguments, _compact_rows, _specs
from tfrs_dhe.layers._inference import check_inference
from tfrs_dhe.layers._inference_form import InferenceDeepHashEmbedding
from tfrs_dhe.layers._key_map import UNSET_KEY, KeyMap, keys_of
from tfrs_dhe.layers._row_errors import RowErrors
from tfrs_dhe.layers._rows import as_id_tensor, flatten

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

    An id is known by a key of 64 bits, the integer itself or FarmHash64 of the string.
    The keys are weights, as the rows are, and a hash table of TensorFlow says where
    they stand. All of it is in `.keras` and `.weights.h5` files, checkpoints and
    SavedModels, and `set_weights` of this layer makes the table again. Where weights
    come otherwise, from an old `.h5` file or `set_weights` of the model around the
    layer, ids are computed by the network, which is slower and never wrong, until
    `layer.set_weights(layer.get_weights())`.

    The table is no part of XLA: functions with `jit_compile=True` cannot hold the
    layer. Its inference form, `embedding`, can be there.

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
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings or integers, of any rank, dense or ragged.

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
        self.output_dim = embedding.output_dim
        self.mask_value = embedding.mask_value
        self.embedding = embedding
        if not embedding.network.built:
            embedding.network.build((None, embedding.encoding.num_hashes))
        with tf.device(_DEVICE):
            self._key_map = KeyMap()
            unset = keras.initializers.Constant(UNSET_KEY)
            self._keys = self._add("keys", (self.num_rows,), "int64", unset)
            self._values = self._add(
                "rows",
                (self.num_rows, self.output_dim),
                _compact_rows.STORED[row_dtype],
            )
            self._scales: Any = None
            if row_dtype == "int8":
                self._scales = self._add("scales", (self.num_rows, 1), "float32")
        self.supports_masking = True
        # XLA knows no hash tables.
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

    def assign(self, keys: np.ndarray, rows: _compact_rows.CompactRows) -> None:
        """Takes over keys, int64 [n], and their rows, of the layer's sizes."""
        self._keys.assign(keys)
        self._values.assign(rows.values)
        if rows.scales is not None:
            self._scales.assign(rows.scales[:, np.newaxis])
        self._fill_key_map()

    def set_weights(self, weights: Any) -> None:
        """Sets the weights, keys and rows among them, as `get_weights` returns them."""
        super().set_weights(weights)
        self._fill_key_map()

    def load_own_variables(self, store: Any) -> None:
        """Reads the layer's weights from a file of Keras."""
        super().load_own_variables(store)
        self._fill_key_map()

    def _fill_key_map(self) -> None:
        with tf.device(_DEVICE):
            self._key_map.fill(tf.convert_to_tensor(self._keys))

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
        flat = flatten(ids)
        with tf.device(_DEVICE):
            numbers, is_known = self._find(flat.ids)
            known = self._rows(numbers)
        outputs = tf.cond(
            tf.reduce_all(is_known),
            lambda: known,
            lambda: self._branch(known, flat.ids, is_known),
        )
        outputs.set_shape([None, self.output_dim])  # A branch does not pass it on.
        return flat.restore(outputs)

    def _find(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._key_map.find(keys_of(ids), _variable(self._keys))

    def _rows(self, numbers: tf.Tensor) -> tf.Tensor:
        values = tf.gather(_variable(self._values), numbers)
        scales = None
        if self._scales is not None:
            scales = tf.gather(_variable(self._scales), numbers)
        return _compact_rows.restore(values, scales, self.row_dtype, self.compute_dtype)

    def _branch(self, *arguments: tf.Tensor) -> tf.Tensor:
        if tf.executing_eagerly():
            return self._with_unknown(*arguments)
        # A branch that is not taken costs time for each of its operations, so all of
        # them are made one.
        function = tf.function(
            self._with_unknown,
            autograph=False,
            experimental_attributes={"_noinline": True},
        )
        return function(*arguments)

    def _with_unknown(
        self, known: tf.Tensor, ids: tf.Tensor, is_known: tf.Tensor
    ) -> tf.Tensor:
        unknown = tf.where(tf.logical_not(is_known))
        keys = hashing.int64_keys(tf.gather(ids, unknown[:, 0]))
        computed = tf.cast(self.embedding.embed_keys(keys), known.dtype)
        return tf.tensor_scatter_nd_update(known, unknown, computed)

    def is_known(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns which ids have a row, tf.bool [...].

        Args:
          ids: Strings or integers [...], dense or ragged.

        Raises:
          ValueError: If ids are neither strings nor integers.
        """
        flat = flatten(as_id_tensor(ids))
        with tf.device(_DEVICE):
            _, is_known = self._find(flat.ids)
        return tf.squeeze(flat.restore(is_known[:, tf.newaxis]), axis=-1)

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
        return _specs.output_spec(self, ids)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "num_rows": self.num_rows,
            "row_dtype": self.row_dtype,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaterializedEmbedding":
        """Returns a layer of the same sizes, to be filled by loading weights."""
        embedding = keras.saving.deserialize_keras_object(config["embedding"])
        return cls(**{**config, "embedding": embedding})


def _variable(weight: Any) -> Any:
    """Returns a variable from which rows are gathered by a single operation."""
    return weight if is_legacy else weight.value
