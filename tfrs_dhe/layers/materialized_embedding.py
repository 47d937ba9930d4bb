"""The layer that serves known ids from rows and all others by the network."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments, _compact_rows
from tfrs_dhe.layers._id_layer import IdLayer
from tfrs_dhe.layers._inference import check_inference
from tfrs_dhe.layers._inference_form import InferenceDeepHashEmbedding
from tfrs_dhe.layers._key_index import KEY_INDEXES
from tfrs_dhe.layers._keyed_rows import DEVICE, KeyedRows, check_type, keys_of
from tfrs_dhe.layers._row_errors import RowErrors
from tfrs_dhe.layers._rows import as_id_tensor, flatten
from tfrs_dhe.layers._side_features import side_feature_rows


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class MaterializedEmbedding(IdLayer):
    """Embeds known ids by a row each, and unknown ids by the network.

    `DeepHashEmbedding.materialize` makes it for serving: ids that come often, as
    those of a catalogue, are computed once and looked up from then on, at the price
    of a table. Others are computed as before, by the layer's inference form. A
    request of known ids does not pay for the network; of a request with others, only
    these go through it. `DedicatedRowsEmbedding.materialize` makes it of rows that
    were trained.

    Rows and network are copies of the layer as it was. Rows of float32 are the
    layer's outputs; see `error` for what the smaller dtypes add.

    An id is known by a key of 64 bits, the integer itself or FarmHash64 of the string.
    `key_index` says what finds its row: `"hash_table"`, one of TensorFlow, takes about
    48 bytes a key, and `"sorted"`, a binary search, takes 8 and more time for large
    batches. Index and rows are in `.keras` and `.weights.h5` files, checkpoints and
    SavedModels. They are no weights: `get_weights`, `set_weights` and `.h5` files of
    the old format have the network alone. A layer that was made again from these
    computes every id, which is slower and not wrong; where rows were trained, of which
    the network knows nothing, its call is an error.

    The hash table is no part of XLA: functions with `jit_compile=True` cannot hold the
    layer. Its inference form, `embedding`, can be there.

    Example:
    >>> from tfrs_dhe.layers import DeepHashEmbedding
    >>> layer = DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2)
    >>> outputs = layer(tf.constant(["a"]), training=False)
    >>> served = layer.materialize(["a", "b", "c"], dtype="int8")
    >>> served(tf.constant([["a", "never seen"], ["c", "b"]])).shape
    TensorShape([2, 2, 8])

    Args:
      embedding: The inference form that computes unknown ids.
      num_rows: n, how many ids are known.
      row_dtype: `"float32"`, `"bfloat16"`, or `"int8"` or `"int4"` with a scale for
        each row.
      key_index: `"hash_table"` or `"sorted"`.
      num_side_features: s, how many numbers per id the embedding takes; 0 if none.
      string_ids: Whether the ids that have rows are strings, and others an error; None
        takes both, of which those of another type than the rows' find none.
      trained_rows: Whether the rows were trained, as those of a
        `DedicatedRowsEmbedding`, and not computed by `embedding`.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings or integers as the ids with rows are, of any rank,
      dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are neither strings nor integers
        or of another type than those with rows, side features are not those of the
        embedding, or training is true.
      InvalidArgumentError: When run, if `trained_rows` have not been loaded.
    """

    def __init__(
        self,
        embedding: Any,
        num_rows: int,
        row_dtype: str = "float32",
        key_index: str = "hash_table",
        num_side_features: int = 0,
        string_ids: bool | None = None,
        trained_rows: bool = False,
        **kwargs: Any,
    ) -> None:
        if not isinstance(embedding, InferenceDeepHashEmbedding):
            raise ValueError(
                "`embedding` must be the inference form of a DeepHashEmbedding, from "
                "`layer.inference_form()`; `layer.materialize(ids)` does all of it. "
                f"Received: {embedding!r}."
            )
        super().__init__(
            embedding.output_dim,
            embedding.mask_value,
            **{"trainable": False, **kwargs},
        )
        _arguments.check_one_of("row_dtype", row_dtype, _compact_rows.ROW_DTYPES)
        _arguments.check_one_of("key_index", key_index, tuple(KEY_INDEXES))
        self.num_rows = _arguments.check_positive_integer("num_rows", num_rows)
        self.row_dtype = row_dtype
        self.key_index = key_index
        self.embedding = embedding
        if not embedding.network.built:
            embedding.build_from_config(
                {"input_dim": embedding.encoding_dim + num_side_features}
            )
        if num_side_features != embedding.num_side_features:
            raise ValueError(
                "`num_side_features` must be what `embedding` was built with, "
                f"{embedding.num_side_features}. Received: {num_side_features!r}."
            )
        self.num_side_features = num_side_features
        self.string_ids = string_ids
        self.trained_rows = bool(trained_rows)
        with tf.device(DEVICE):
            self._keyed_rows = KeyedRows(
                self.num_rows, self.output_dim, row_dtype, key_index
            )

    def _see_ids(self, dtype: tf.DType) -> None:
        self.supports_jit = False  # XLA knows no hash tables

    def assign(self, keys: np.ndarray, rows: _compact_rows.CompactRows) -> None:
        """Takes over keys, int64 [n], and their rows, of the layer's sizes."""
        arrays = {"keys": keys, "rows": rows.values}
        if rows.scales is not None:
            arrays["scales"] = rows.scales[:, np.newaxis]
        with tf.device(DEVICE):
            self._keyed_rows.assign(arrays)

    def save_own_variables(self, store: Any) -> None:
        """Writes keys and rows to a file of Keras."""
        for name, array in self._keyed_rows.arrays().items():
            store[name] = array

    def load_own_variables(self, store: Any) -> None:
        """Reads keys and rows from a file of Keras."""
        arrays = {name: np.asarray(store[name]) for name in self._keyed_rows.names}
        with tf.device(DEVICE):
            self._keyed_rows.assign(arrays)

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
          side_features: Those of all ids [..., s], or a dict, list or tuple of such
            tensors, if the embedding takes some. Rows have been computed with them, or
            do not depend on them; the network takes those of unknown ids.
          training: False or None.
          mask: tf.bool [...]; embeddings do not depend on it.

        Returns:
          Floats [..., output_dim]; what stands at padding has no meaning.
        """
        check_inference(self, training)
        ids = as_id_tensor(ids)
        flat = flatten(ids)
        features = self._features(side_features, ids)
        with tf.device(DEVICE), tf.control_dependencies(self._checks()):
            known, is_known = self._look_up(flat.ids)
        outputs = tf.cond(
            tf.reduce_all(is_known),
            lambda: known,
            lambda: self._branch(known, flat.ids, is_known, *features),
        )
        outputs.set_shape([None, self.output_dim])  # A branch does not pass it on.
        return flat.restore(outputs)

    def _features(self, side_features: Any, ids: tf.Tensor) -> list[tf.Tensor]:
        rows = []
        if side_features is not None:
            rows = [side_feature_rows(side_features, ids, self.compute_dtype)]
        width = rows[0].shape[-1] if rows else 0
        if width != self.num_side_features:
            raise ValueError(
                "`side_features` must be those that the layer was made with, "
                f"{self.num_side_features} numbers per id. Received: {width}."
            )
        return rows

    def _look_up(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.string_ids is not None:
            check_type(ids, self.string_ids)
        with tf.device(DEVICE):
            return self._keyed_rows.look_up(keys_of(ids), self.compute_dtype)

    def _checks(self) -> list[tf.Operation]:
        """Returns what fails without rows, where the network cannot stand in."""
        if not self.trained_rows:
            return []
        with tf.init_scope():
            if int(self._keyed_rows.num_keys()):
                return []  # Nothing that a server would have to run.
        # When run: a model is made again, in a graph, before its rows are loaded.
        check = tf.debugging.assert_positive(
            self._keyed_rows.num_keys(),
            f"{self.name} has no rows. They were trained, and the network knows "
            "nothing of their ids. Load them from a file that has them: `.keras`, "
            "`.weights.h5`, a checkpoint or a SavedModel. `get_weights` and `.h5` "
            "files of the old format do not.",
        )
        return [] if check is None else [check]

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
        self,
        known: tf.Tensor,
        ids: tf.Tensor,
        is_known: tf.Tensor,
        side_features: tf.Tensor | None = None,
    ) -> tf.Tensor:
        unknown = tf.where(tf.logical_not(is_known))
        keys = hashing.int64_keys(tf.gather(ids, unknown[:, 0]))
        if side_features is not None:
            side_features = tf.gather(side_features, unknown[:, 0])
        computed = self.embedding.embed_keys(keys, side_features)
        return tf.tensor_scatter_nd_update(
            known, unknown, tf.cast(computed, known.dtype)
        )

    def is_known(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns which ids have a row, tf.bool [...].

        Args:
          ids: Strings or integers [...], dense or ragged.

        Raises:
          ValueError: If ids are neither strings nor integers, or of another type than
            those with rows.
        """
        flat = flatten(as_id_tensor(ids))
        _, is_known = self._look_up(flat.ids)
        return tf.squeeze(flat.restore(is_known[:, tf.newaxis]), axis=-1)

    def error(
        self,
        ids: Any,
        batch_size: int = 8192,
        side_features: Any = None,
        reference: Any = None,
    ) -> RowErrors:
        """Returns how far rows are from what they were before they were rounded.

        Args:
          ids: Known strings or integers [n].
          batch_size: How many are computed at a time.
          side_features: Theirs [n, s], if the embedding takes some.
          reference: The layer whose rows they are, such as a `DedicatedRowsEmbedding`;
            None for the network, which computed the rows of a `DeepHashEmbedding`.

        Returns:
          The errors; `print` shows them.

        Raises:
          ValueError: If ids have no row, or are neither strings nor integers, or side
            features do not fit them.
        """
        ids = as_id_tensor(ids)
        num_unknown = int(tf.reduce_sum(tf.cast(~self.is_known(ids), tf.int64)))
        if num_unknown or not len(ids):
            raise ValueError(
                "`ids` must be some that have a row, to compare it with the network. "
                f"Received {len(ids)} ids, of which {num_unknown} have none."
            )
        features = self._features(side_features, ids)
        reference = self.embedding if reference is None else reference
        rows, exact = [], []
        for start in range(0, len(ids), batch_size):
            part = slice(start, start + batch_size)
            inputs = [ids[part], *(x[part] for x in features)]
            rows.append(self(*inputs))
            exact.append(reference(*inputs, training=False))
        return RowErrors.of(np.concatenate(rows), np.concatenate(exact))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        # They are those of the embedding.
        del config["output_dim"], config["mask_value"]
        return {
            **config,
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "num_rows": self.num_rows,
            "row_dtype": self.row_dtype,
            "key_index": self.key_index,
            "num_side_features": self.num_side_features,
            "string_ids": self.string_ids,
            "trained_rows": self.trained_rows,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaterializedEmbedding":
        """Returns a layer of the same sizes, to be filled by loading weights."""
        embedding = keras.saving.deserialize_keras_object(config["embedding"])
        return cls(**{**config, "embedding": embedding})
