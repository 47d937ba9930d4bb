"""Deep hash embeddings whose batch normalization is folded into their weights."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers._inference import check_inference
from tfrs_dhe.layers._mish import mish
from tfrs_dhe.layers._rows import rows_of
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.layers.embedding_network import ORDERS, EmbeddingNetwork


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class InferenceEmbeddingNetwork(EmbeddingNetwork):
    """What `EmbeddingNetwork.inference_form` returns."""

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        row_weights: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns what the network does; an error if `training` is true."""
        check_inference(self, training)
        return super().call(inputs)

    def _activate(self, rows: tf.Tensor) -> tf.Tensor:
        return _mish(rows) if self.activation is mish else self.activation(rows)


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class InferenceDeepHashEmbedding(DeepHashEmbedding):
    """What `DeepHashEmbedding.inference_form` returns."""

    def _network_class(self) -> type[EmbeddingNetwork]:
        return InferenceEmbeddingNetwork

    def call(
        self,
        ids: tf.Tensor,
        side_features: Any = None,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns what the layer does; an error if `training` is true."""
        check_inference(self, training)
        return super().call(ids, side_features, training=False, mask=mask)

    def embed_keys(self, keys: tf.Tensor) -> tf.Tensor:
        """Returns the embeddings [n, output_dim] of the 64-bit keys of ids [n]."""
        rows = rows_of(keys, deduplicate=self.deduplicate)
        return rows.restore(self.network(self.encoding(rows.keys)))


def _mish(x: tf.Tensor) -> tf.Tensor:
    """Returns `mish` in a third of the operations, for want of a gradient.

    `x tanh(ln(1 + e^x))` is `x n / (n + 2)`, n = e^2x + 2 e^x. Written with tanh and
    softplus, TensorFlow would make it one operation of oneDNN, whose threads take ten
    times as long for a single row.
    """
    # From here on the fraction rounds to 1, and n stays in the range of the dtype.
    largest = 5 if x.dtype == tf.float16 else 20
    e = tf.exp(tf.minimum(x, tf.constant(largest, x.dtype)))
    n = e * (e + 2)
    return x * (n / (n + 2))


def network(trained: EmbeddingNetwork) -> InferenceEmbeddingNetwork:
    """Returns the inference form of a network.

    Args:
      trained: A network that is built.

    Returns:
      A network with copies of the weights.

    Raises:
      ValueError: If the network is not built.
    """
    config = {**trained.get_config(), **_changes(trained)}
    copy = InferenceEmbeddingNetwork.from_config(config)
    copy.build((None, trained.input_dim))
    _assign(trained, copy)
    return copy


def embedding(
    trained: DeepHashEmbedding, deduplicate: bool | None
) -> InferenceDeepHashEmbedding:
    """Returns the inference form of a layer.

    Args:
      trained: A layer that is built.
      deduplicate: Whether equal ids are computed once; None keeps what it does.

    Returns:
      A layer with copies of the weights.

    Raises:
      ValueError: If the layer is not built.
    """
    config = {**trained.get_config(), **_changes(trained.network)}
    if deduplicate is not None:
        config["deduplicate"] = deduplicate
    copy = InferenceDeepHashEmbedding.from_config(config)
    copy.network.build((None, trained.network.input_dim))
    _assign(trained.network, copy.network)
    return copy


def _changes(trained: EmbeddingNetwork) -> dict[str, Any]:
    """Returns the arguments that differ in the inference form."""
    if trained.input_dim is None:
        raise ValueError(
            "`inference_form` copies the weights of a layer, which this one does not "
            "have yet. Train it, load it, or call it on some ids first."
        )
    denses = [getattr(trained, f"hidden_{i}") for i in range(trained.num_hidden_layers)]
    return {
        "trainable": False,
        "hidden_dim": [int(dense.kernel.shape[1]) for dense in denses],
        "parameter_budget": None,
        "table_shape": None,
        "normalization": None
        if trained.normalization == "batch"
        else trained.normalization,
    }


def _assign(trained: EmbeddingNetwork, copy: EmbeddingNetwork) -> None:
    if trained.normalization != "batch":
        copy.set_weights(trained.get_weights())
        return
    # Scale and offset of a normalization that comes after its Dense layer's
    # activation, and is therefore left to the next Dense layer.
    pending: tuple[np.ndarray, np.ndarray] | None = None
    for i in range(trained.num_hidden_layers):
        kernel, bias = _dense_weights(getattr(trained, f"hidden_{i}"), pending)
        scale, offset = _scale_and_offset(getattr(trained, f"normalization_{i}"))
        if trained.order == ORDERS[0]:
            kernel, bias = kernel * scale, bias * scale + offset
        else:
            pending = scale, offset
        _assign_dense(getattr(copy, f"hidden_{i}"), kernel, bias)
    kernel, bias = _dense_weights(trained.output_layer, pending)
    _assign_dense(copy.output_layer, kernel, bias)


def _dense_weights(
    dense: Any, before: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns float64 kernel and bias with a scale and offset of the input in them."""
    kernel = _float64(dense.kernel)
    bias = np.zeros(kernel.shape[1]) if dense.bias is None else _float64(dense.bias)
    if before is None:
        return kernel, bias
    scale, offset = before
    return scale[:, np.newaxis] * kernel, bias + offset @ kernel


def _scale_and_offset(normalization: Any) -> tuple[np.ndarray, np.ndarray]:
    variance = _float64(normalization.moving_variance)
    scale = _float64(normalization.gamma) / np.sqrt(variance + normalization.epsilon)
    mean = _float64(normalization.moving_mean)
    return scale, _float64(normalization.beta) - mean * scale


def _assign_dense(dense: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
    for variable, value in ((dense.kernel, kernel), (dense.bias, bias)):
        variable.assign(tf.cast(value, variable.dtype))


def _float64(variable: Any) -> np.ndarray:
    return tf.cast(tf.convert_to_tensor(variable), tf.float64).numpy()
