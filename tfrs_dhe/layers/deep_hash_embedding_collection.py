"""The layer that embeds a dict of categorical features."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.hashing import constants
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers._build import named_after
from tfrs_dhe.layers._rows import as_id_tensor, rows_of
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.layers.dense_hash_encoding import DenseHashEncoding


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class DeepHashEmbeddingCollection(keras.layers.Layer):
    """Embeds a dict of categorical features by deep hash embeddings.

    ```
    {"user_id": [batch], "genres": [batch, length]} ->
    {"user_id": [batch, output_dim], "genres": [batch, length, output_dim]}
    ```

    Every feature has a network of its own or, with `shared_network`, all features
    go through one. The hash functions of a feature are seeded by its name in both
    cases, so the value 7 of one feature and the value 7 of another are unrelated
    inputs of the shared network.

    Fits where TFRS takes an embedding layer for a dict of features:

    ```python
    tfrs.experimental.models.Ranking(
        embedding_layer=DeepHashEmbeddingCollection(
            ["user_id", "movie_id"], output_dim=32, hidden_dim=64),
        ...)
    ```

    Example:
    >>> layer = DeepHashEmbeddingCollection(["user", "item"], 8, hidden_dim=16)
    >>> ids = {"user": tf.constant(["u1"]), "item": tf.constant([7])}
    >>> out = layer(ids, training=False)
    >>> {name: tuple(embedding.shape) for name, embedding in out.items()}
    {'user': (1, 8), 'item': (1, 8)}

    Args:
      feature_names: Keys of the dict that is embedded.
      output_dim: Width of every embedding.
      shared_network: Whether one network decodes all features.
      parameter_budget: Parameters that all features together may have. With
        `table_shape`, the share of the parameters of that table, whose rows are
        those of all tables that are replaced.
      table_shape: Rows and columns (n, d) of the tables that are replaced.
      seed: Integer in [0, 2^64) from which all hash functions follow.
      **kwargs: Other arguments of `DeepHashEmbedding`, or those of a Keras layer.

    Input shape: dict with the feature names as its keys, and ids [...] as
      `DeepHashEmbedding` takes them.

    Output shape: dict with the same keys, of floats [..., output_dim].

    Raises:
      ValueError: If the names are empty, repeat or are "names", if the keys of the
        input are not the feature names, if an `encoding` is given, or whatever
        `DeepHashEmbedding` raises.

    References:
      Kang et al., KDD 2021. For one network and many features: Coleman et al.,
      "Unified Embedding", NeurIPS 2023.
    """

    def __init__(
        self,
        feature_names: Sequence[str],
        output_dim: int,
        shared_network: bool = False,
        parameter_budget: float | None = None,
        table_shape: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        known = inspect.signature(DeepHashEmbedding.__init__).parameters
        options = {name: kwargs.pop(name) for name in list(kwargs) if name in known}
        if options.get("encoding") is not None:
            raise ValueError(
                "`encoding` would be one layer for all features, which have seeds and "
                "weights of their own. Make a DeepHashEmbedding for each of them. "
                f"Received: {options['encoding']!r}."
            )
        super().__init__(**kwargs)
        names = list(feature_names)
        if isinstance(feature_names, str) or not names or len(set(names)) < len(names):
            raise ValueError(
                "`feature_names` must be a list of one or more different names. "
                f"Received: {feature_names!r}."
            )
        if "names" in names:
            raise ValueError(
                "`feature_names` must not have 'names': the layer of a feature is the "
                "attribute `feature_<name>`, and that one is taken. Rename it in the "
                f"dict that is embedded. Received: {names}."
            )
        self.feature_names = names
        self.output_dim = _arguments.check_positive_integer("output_dim", output_dim)
        self.shared_network = shared_network
        self.parameter_budget = parameter_budget
        self.table_shape = table_shape
        self.seed = constants.check_seed(seed)
        self._option_names = tuple(options)
        budget = _arguments.resolve_budget(parameter_budget, table_shape)
        if budget is not None and not shared_network:
            budget //= len(names)
        options |= {
            "output_dim": output_dim,
            "parameter_budget": budget,
            "dtype": self.dtype_policy,
        }
        if shared_network:
            self.shared = DeepHashEmbedding(name="shared", seed=self.seed, **options)
        for name in names:
            feature_seed = hashing.derive_seed(self.seed, name)
            if shared_network:
                config = self.shared.encoding.get_config()
                layer = DenseHashEncoding.from_config(
                    {**config, "seed": feature_seed, "name": f"encoding_{name}"}
                )
            else:
                layer = DeepHashEmbedding(
                    seed=feature_seed, name=f"embedding_{name}", **options
                )
            # An attribute each: a TensorFlow checkpoint of a Keras 3 layer
            # silently leaves out layers that are held in a list or dict.
            setattr(self, f"feature_{name}", layer)
        self.supports_masking = True
        self.supports_jit = False  # as in DeepHashEmbedding, until ids are seen

    @no_autograph
    def call(
        self, inputs: Mapping[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Returns the embeddings [..., output_dim] of ids [...], by feature."""
        self._check_names(inputs)
        self.supports_jit = all(
            as_id_tensor(ids).dtype != tf.string for ids in inputs.values()
        )
        if self.shared_network:
            return self._call_shared(inputs, training)
        return {
            name: self._of_feature(name)(inputs[name], training=training)
            for name in self.feature_names
        }

    def _call_shared(
        self, inputs: Mapping[str, tf.Tensor], training: bool | None
    ) -> dict[str, tf.Tensor]:
        # All features are one batch of the network: its statistics in training
        # are then those that its moving averages estimate.
        rows, encodings, weights = [], [], []
        for name in self.feature_names:
            ids = as_id_tensor(inputs[name])
            mask = self.shared.compute_id_mask(ids)
            of_feature = rows_of(ids, mask, self.shared.deduplicate)
            rows.append(of_feature)
            encodings.append(self._of_feature(name)(of_feature.keys))
            weights.append(of_feature.weights)
        row_weights = None if weights[0] is None else tf.concat(weights, axis=0)
        embeddings = self.shared.network(
            tf.concat(encodings, axis=0), row_weights=row_weights, training=training
        )
        sizes = [tf.size(of_feature.keys) for of_feature in rows]
        parts = tf.split(embeddings, sizes)
        return {
            name: of_feature.restore(part)
            for name, of_feature, part in zip(
                self.feature_names, rows, parts, strict=True
            )
        }

    def _of_feature(self, name: str) -> Any:
        return getattr(self, f"feature_{name}")

    def _check_names(self, inputs: Any) -> None:
        if not isinstance(inputs, Mapping) or set(inputs) != set(self.feature_names):
            received = sorted(inputs) if isinstance(inputs, Mapping) else type(inputs)
            raise ValueError(
                "The input must be a dict with one entry for each of "
                f"`feature_names`={list(self.feature_names)}. Received: {received}."
            )

    def _embedding(self, name: str) -> DeepHashEmbedding:
        """Returns the layer that a feature is embedded by, or as."""
        return self.shared if self.shared_network else self._of_feature(name)

    @no_autograph
    def compute_mask(self, inputs: Mapping[str, tf.Tensor], mask: Any = None) -> Any:
        """Returns where ids are no padding, by feature."""
        masks = mask if isinstance(mask, Mapping) else {}
        return {
            name: self._embedding(name).compute_mask(inputs[name], masks.get(name))
            for name in self.feature_names
        }

    def compute_output_shape(self, input_shape: Any) -> dict[str, Any]:
        """Returns the shapes of the ids with the embedding's width added."""
        return {
            name: self._embedding(name).compute_output_shape(input_shape[name])
            for name in self.feature_names
        }

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the symbolic output (Keras 3)."""
        self._check_names(inputs)
        return {
            name: self._embedding(name).compute_output_spec(inputs[name])
            for name in self.feature_names
        }

    def build(self, input_shape: Any) -> None:
        """Builds the networks, whose input is the encoding whatever the ids."""
        for name in self.feature_names:
            layer = self._embedding(name)
            if not layer.built:
                with named_after(layer):
                    layer.build_from_config({"input_dim": layer.encoding_dim})
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        options = self._embedding(self.feature_names[0]).get_config()
        return {
            **super().get_config(),
            "feature_names": list(self.feature_names),
            "output_dim": self.output_dim,
            "shared_network": self.shared_network,
            "parameter_budget": _arguments.plain(self.parameter_budget),
            "table_shape": _arguments.plain(self.table_shape),
            "seed": self.seed,
            **{name: options[name] for name in self._option_names},
        }
