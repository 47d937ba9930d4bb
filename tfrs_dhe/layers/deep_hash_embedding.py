"""The layer that replaces StringLookup + Embedding."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers._build import named_after
from tfrs_dhe.layers._id_layer import IdLayer
from tfrs_dhe.layers._rows import as_id_tensor, rows_of
from tfrs_dhe.layers._side_features import side_feature_rows
from tfrs_dhe.layers.dense_hash_encoding import DenseHashEncoding
from tfrs_dhe.layers.embedding_network import EmbeddingNetwork


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class DeepHashEmbedding(IdLayer):
    """Embeds ids by hashing and a deep network: no table, no vocabulary.

    Takes the place of `StringLookup` and `Embedding`. An id is encoded by k
    universal hashes (`DenseHashEncoding`), side features are concatenated, and a
    network decodes the encoding (`EmbeddingNetwork`). Its size does not depend on
    the number of ids, and an id that was never seen has an embedding of its own.

    Before:

    ```python
    user_model = tf.keras.Sequential([
        tf.keras.layers.StringLookup(vocabulary=user_ids),
        tf.keras.layers.Embedding(len(user_ids) + 1, 32),
    ])
    ```

    After, at a quarter of the parameters:

    ```python
    user_model = tfrs_dhe.layers.DeepHashEmbedding(
        32, parameter_budget=0.25, table_shape=(len(user_ids), 32)
    )
    ```

    The network has batch normalization, so a TFRS model passes `training` on to
    it: `self.user_model(features["user_id"], training=training)` in
    `compute_loss`. Forgotten, it is an error that says so, not a model that
    quietly learns nothing; `tfrs_dhe.models.Model` in place of `tfrs.Model`
    passes it on by itself. `normalization="layer"` needs no flag. Under
    `tf.distribute` the statistics are those of all replicas' batches together, also of
    padded lists and with `deduplicate`.

    All ids share the network's weights, so train it with a learning rate that falls
    to zero at the end (`keras.optimizers.schedules.CosineDecay`), and for as long as
    that helps: in the study of quality (`benchmarks/quality`) the schedule was worth
    up to .1 of AUC, and thirty epochs in place of fifteen up to .03 more.

    Example:
    >>> layer = DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2)
    >>> layer(tf.constant(["user_17", "never seen"]), training=False).shape
    TensorShape([2, 8])

    Args:
      output_dim: Width of the embedding.
      hidden_dim: Width of the hidden layers (d_NN), or a sequence of widths.
        Give either this or `parameter_budget`.
      parameter_budget: How many parameters the layer may have; it has at least
        95 % of them. With `table_shape`, the share of that table's parameters.
      num_hidden_layers: h.
      num_hashes: k, the width of the encoding.
      num_buckets: m, the number of values of a hash.
      distribution: `"uniform"` or `"gaussian"`.
      hash_family: `"multiply_shift"` or `"carter_wegman"`.
      activation: `"mish"`, or whatever `keras.activations.get` knows.
      normalization: `"batch"`, `"layer"` or None.
      order: `"normalize_then_activate"` or `"activate_then_normalize"`.
      seed: Integer in [0, 2^64) from which all hash functions follow. It may not
        change in the life of a model.
      table_shape: Rows and columns (n, d) of the table that is replaced.
      mask_value: The id that pads lists, such as `""` or 0. Padding is masked for
        the layers that follow and does not count in batch statistics.
      deduplicate: Whether the distinct ids of a batch are computed once each.
        Outputs, gradients and batch statistics are those of the whole batch.
        Faster on a CPU where ids repeat; not for use with side features or on
        TPU, where shapes must be static.
      mix_keys: Whether to scramble ids before they are hashed.
      kernel_initializer: Of the Dense layers.
      kernel_regularizer: Of the Dense layers.
      momentum: Of the moving statistics of batch normalization.
      encoding: What takes the place of the k hashes: a layer from ids as integers [n]
        to floats [n, width], as `BloomEmbedding`, an encoding that learns. The
        arguments of the hashes, `num_hashes` to `hash_family`, `seed` and `mix_keys`,
        then stay as they are, and `parameter_budget` is that of the network alone.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings (hashed by CityHash64) or integers, of any
      rank, dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, ids are neither strings nor
        integers, or side features do not fit the ids.

    References:
      Kang et al., "Learning to Embed Categorical Features without Embedding
      Tables for Recommendation", KDD 2021.
    """

    def __init__(
        self,
        output_dim: int,
        hidden_dim: int | Sequence[int] | None = None,
        parameter_budget: float | None = None,
        num_hidden_layers: int = 5,
        num_hashes: int = 1024,
        num_buckets: int = 1_000_000,
        distribution: str = "uniform",
        hash_family: str = "multiply_shift",
        activation: str | Callable[[tf.Tensor], tf.Tensor] = "mish",
        normalization: str | None = "batch",
        order: str = "normalize_then_activate",
        seed: int = 0,
        table_shape: Sequence[int] | None = None,
        mask_value: str | int | None = None,
        deduplicate: bool = False,
        mix_keys: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        momentum: float = 0.99,
        encoding: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_dim, mask_value, **kwargs)
        hash_arguments: dict[str, Any] = {
            "num_hashes": num_hashes,
            "num_buckets": num_buckets,
            "distribution": distribution,
            "hash_family": hash_family,
            "seed": seed,
            "mix_keys": mix_keys,
        }
        self._given_encoding = encoding is not None
        if self._given_encoding:
            _check_encoding(encoding, hash_arguments)
            self.encoding = encoding
        else:
            self.encoding = DenseHashEncoding(
                **hash_arguments, dtype=self.dtype_policy, name="encoding"
            )
        self.network = self._network_class()(
            output_dim,
            hidden_dim,
            num_hidden_layers=num_hidden_layers,
            activation=activation,
            normalization=normalization,
            order=order,
            parameter_budget=parameter_budget,
            table_shape=table_shape,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            momentum=momentum,
            dtype=self.dtype_policy,
            name="network",
        )
        self.deduplicate = deduplicate

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
          side_features: Finite numbers [..., s], or a dict, list or tuple of
            such tensors, which are concatenated.
          training: Whether batch normalization uses and learns the batch's
            statistics.
          mask: tf.bool [...], false for ids that are padding.

        Returns:
          Floats [..., output_dim]; what stands at padding has no meaning.
        """
        ids = as_id_tensor(ids)
        self._see_ids(ids.dtype)
        mask = self.compute_id_mask(ids, mask)
        has_side_features = side_features is not None
        if self.deduplicate and has_side_features:
            raise ValueError(
                "`deduplicate` computes equal ids once, but with `side_features` "
                "equal ids may differ. Construct the layer with deduplicate=False."
            )
        rows = rows_of(ids, mask, self.deduplicate)
        inputs = tf.cast(self.encoding(rows.keys), self.compute_dtype)
        if has_side_features:
            features = side_feature_rows(side_features, ids, self.compute_dtype)
            inputs = tf.concat([inputs, features], axis=-1)
        self._check_width(inputs.shape[-1])
        outputs = self.network(inputs, row_weights=rows.weights, training=training)
        return rows.restore(outputs)

    @property
    def encoding_dim(self) -> int:
        """Width of the encoding, without side features."""
        return int(self.encoding.compute_output_shape((None,))[-1])

    def _network_class(self) -> type[EmbeddingNetwork]:
        return EmbeddingNetwork

    def inference_form(self, deduplicate: bool | None = None) -> Any:
        """Returns an equal layer that serves faster and cannot be trained.

        See `EmbeddingNetwork.inference_form`. The weights are copied: later training
        does not change the copy.

        Example:
        >>> layer = DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2)
        >>> outputs = layer(tf.constant(["a", "b"]), training=False)
        >>> layer.inference_form(deduplicate=True)(tf.constant(["a", "b", "a"])).shape
        TensorShape([3, 8])

        Args:
          deduplicate: Whether the distinct ids of a request are computed once each;
            None keeps what the layer does.

        Returns:
          A layer with the arguments of this one's call, where training=True is an
          error.

        Raises:
          ValueError: If the layer has not been built, or Keras has quantized it.
        """
        # Its class derives from this one.
        from tfrs_dhe.layers import _inference_form

        return _inference_form.embedding(self, deduplicate)

    def materialize(
        self,
        ids: Any,
        dtype: str = "float32",
        batch_size: int = 8192,
        key_index: str = "hash_table",
        side_features: Any = None,
    ) -> Any:
        """Returns a layer for serving that has a row for each of the ids.

        Known ids are looked up, and unknown ones are computed as before; see
        `MaterializedEmbedding`. `materialization_report` helps to choose them.

        Example:
        >>> layer = DeepHashEmbedding(8, hidden_dim=16, num_hidden_layers=2)
        >>> outputs = layer(tf.constant([1]), training=False)
        >>> served = layer.materialize([1, 2, 2, 3], dtype="bfloat16")
        >>> served.num_rows
        3

        Args:
          ids: Strings or integers of any shape. One that is given more than once has
            one row. The `mask_value` has one too, given or not.
          dtype: Of the rows: `"float32"`, `"bfloat16"`, or `"int8"` or `"int4"` with a
            scale for each row.
          batch_size: How many rows are computed at a time, which bounds the memory
            that is needed besides the rows.
          key_index: What finds rows: `"hash_table"`, which takes about 48 bytes a row,
            or `"sorted"`, which takes 8 and more time for large batches.
          side_features: Those of the ids [..., s], or a dict, list or tuple of such
            tensors, if the layer was built with some. The row of an id is computed
            with them; calls of the result take those of ids that have no row.

        Returns:
          A `MaterializedEmbedding` with copies of the weights.

        Raises:
          ValueError: If there is no id, ids are neither strings nor integers, the
            layer has not been built, side features are not those it was built with,
            or differ where an id occurs again.
        """
        # Its class holds one that derives from this one.
        from tfrs_dhe.layers import _materialize

        return _materialize.materialize(
            self, ids, dtype, batch_size, key_index, side_features
        )

    def materialization_report(
        self,
        ids: Any = None,
        counts: Any = None,
        num_rows: Sequence[int] | None = None,
        key_index: str = "hash_table",
    ) -> Any:
        """Returns what rows for the most frequent ids would cost and serve.

        Example:
        >>> layer = DeepHashEmbedding(32, hidden_dim=64)
        >>> print(layer.materialization_report(counts=[70, 20, 6, 4], num_rows=[1, 2]))
        4 ids
                rows   traffic    float32 MB   bfloat16 MB       int8 MB       int4 MB
                   1     70.0%          0.00          0.00          0.00          0.00
                   2     90.0%          0.00          0.00          0.00          0.00

        Args:
          ids: The traffic: strings or integers of any shape, one for each occurrence,
            or a `tf.data.Dataset` of them. Then errors of the dtypes are measured on
            the most frequent ids.
          counts: The traffic as how often each id occurs [num_ids], in place of `ids`.
          num_rows: For which numbers of rows to report; by default powers of ten, and
            all ids.
          key_index: What would find the rows; see `materialize`.

        Returns:
          A report with `coverage` (share of the traffic, and bytes of rows, scales and
          the keys with their index for each dtype) and `errors`; `print` shows it.

        Raises:
          ValueError: If there is no traffic, arguments do not fit, or ids are given
            and the layer has not been built or takes side features.
        """
        # It computes rows by the inference form.
        from tfrs_dhe.layers import _materialization_report

        network = None if ids is None else self.inference_form()
        return _materialization_report.report(
            network, self.output_dim, ids, counts, num_rows, key_index
        )

    def _check_width(self, width: int) -> None:
        expected = self.network.input_dim
        if expected not in (None, width):
            raise ValueError(
                "`side_features` have another width than those the layer was built "
                f"with. Expected: {expected - self.encoding_dim} numbers per id. "
                f"Received: {width - self.encoding_dim}."
            )

    def get_build_config(self) -> dict[str, Any]:
        """Returns the width of the network's input, which side features add to."""
        return {"input_dim": self.network.input_dim}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds encoding and network when a saved model is loaded."""
        if config.get("input_dim") is not None:
            if not self.encoding.built:
                with named_after(self.encoding):
                    self.encoding.build((None,))
            with named_after(self.network):
                self.network.build((None, config["input_dim"]))
            self.built = True

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = super().get_config()
        parts = self.network.get_config()
        if self._given_encoding:
            parts["encoding"] = keras.saving.serialize_keras_object(self.encoding)
        else:
            parts |= self.encoding.get_config()
        return {
            **own,
            **{name: value for name, value in parts.items() if name not in own},
            "deduplicate": self.deduplicate,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DeepHashEmbedding":
        """Returns a layer of the same arguments."""
        if config.get("encoding") is not None:
            encoding = keras.saving.deserialize_keras_object(config["encoding"])
            config = {**config, "encoding": encoding}
        return cls(**config)


def _check_encoding(encoding: Any, hash_arguments: dict[str, Any]) -> None:
    if not isinstance(encoding, keras.layers.Layer):
        raise ValueError(
            "`encoding` must be a Keras layer from integers [n] to floats [n, width], "
            f"such as BloomEmbedding(4, num_buckets=100_000). Received: {encoding!r}."
        )
    defaults = inspect.signature(DeepHashEmbedding.__init__).parameters
    changed = [n for n, v in hash_arguments.items() if v != defaults[n].default]
    if changed:
        raise ValueError(
            f"`{changed[0]}` is an argument of the hashes that `encoding` takes the "
            f"place of, and would have no effect. Received: {changed[0]}="
            f"{hash_arguments[changed[0]]!r} with {encoding!r}."
        )
