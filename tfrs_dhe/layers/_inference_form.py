"""Deep hash embeddings whose batch normalization is folded into their weights."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _specs
from tfrs_dhe.layers._inference import check_inference
from tfrs_dhe.layers._mish import mish
from tfrs_dhe.layers._packed_weights import PackedLayout
from tfrs_dhe.layers._rows import rows_of
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.layers.embedding_network import ORDERS, EmbeddingNetwork


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class InferenceEmbeddingNetwork(EmbeddingNetwork):
    """What `EmbeddingNetwork.inference_form` returns.

    Kernels and biases of all Dense layers are one weight, for `PackedLayout`'s reason.
    """

    def build(self, input_shape: Any) -> None:
        """Creates the weights; the budget needs the input's width."""
        self._input_dim = _specs.known_width(self, input_shape)
        super().build(input_shape)
        self._packed = self.add_weight(
            name="packed_weights",
            shape=self._layout.shape,
            initializer="zeros",
            trainable=False,
        )

    @property
    def input_dim(self) -> int | None:
        """Width of the input, None before the layer is built."""
        return self._input_dim if self.built else None

    @property
    def _layout(self) -> PackedLayout:
        hidden = self._hidden_dims(self._input_dim)
        widths = (self._input_dim, *hidden, self.output_dim)
        shapes: list[tuple[int, ...]] = []
        for width, units in itertools.pairwise(widths):
            shapes += [(width, units), (units,)]
        return PackedLayout(tuple(shapes))

    def _add_dense(self, name: str, input_dim: int, units: int, use_bias: bool) -> None:
        """Adds nothing: its weights are among the packed ones."""

    def _denses(self) -> list[Callable[[tf.Tensor], tf.Tensor]]:
        # As a Dense layer of the network casts its own.
        arrays = [tf.cast(array, self.compute_dtype) for array in self.arrays()]
        return [
            functools.partial(_affine, kernel=kernel, bias=bias)
            for kernel, bias in zip(arrays[::2], arrays[1::2], strict=True)
        ]

    def arrays(self) -> list[tf.Tensor]:
        """Returns kernel and bias of each Dense layer, in their order."""
        return self._layout.unpack(tf.convert_to_tensor(self._packed))

    def assign(self, arrays: list[np.ndarray]) -> None:
        """Sets kernel and bias of each Dense layer, in their order."""
        packed = self._layout.pack(arrays)
        self._packed.assign(tf.cast(packed, self._packed.dtype))

    @no_autograph
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

    @no_autograph
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

    @property
    def num_side_features(self) -> int:
        """How many numbers per id the layer takes; it is built."""
        assert self.network.input_dim is not None
        return self.network.input_dim - self.encoding_dim

    def embed_keys(self, keys: tf.Tensor, side_features: Any = None) -> tf.Tensor:
        """Returns the embeddings [n, output_dim] of ids.

        Args:
          keys: tf.int64 [n], the 64-bit keys of the ids.
          side_features: Numbers [n, s]; None for s = 0.
        """
        if side_features is None or side_features.shape[-1] == 0:
            rows = rows_of(keys, deduplicate=self.deduplicate)
            encodings = tf.cast(self.encoding(rows.keys), self.compute_dtype)
            return rows.restore(self.network(encodings))
        inputs = [self.encoding(keys), side_features]
        return self.network(
            tf.concat([tf.cast(x, self.compute_dtype) for x in inputs], 1)
        )


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


def _affine(rows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(rows, kernel), bias)


def network(trained: EmbeddingNetwork) -> InferenceEmbeddingNetwork:
    """Returns the inference form of a network.

    Args:
      trained: A network that is built.

    Returns:
      A network with copies of the weights.

    Raises:
      ValueError: If the network is not built, or Keras has quantized it.
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
      ValueError: If the layer is not built, or Keras has quantized it.
    """
    config = {**trained.get_config(), **_changes(trained.network)}
    if deduplicate is not None:
        config["deduplicate"] = deduplicate
    copy = InferenceDeepHashEmbedding.from_config(config)
    copy.build_from_config({"input_dim": trained.network.input_dim})
    copy.encoding.set_weights(trained.encoding.get_weights())
    _assign(trained.network, copy.network)
    return copy


def _changes(trained: EmbeddingNetwork) -> dict[str, Any]:
    """Returns the arguments that differ in the inference form."""
    if trained.input_dim is None:
        raise ValueError(
            "The layer has no weights yet to make a form for serving of. Train it, "
            "load it, or call it on some ids first."
        )
    denses = [getattr(trained, f"hidden_{i}") for i in range(trained.num_hidden_layers)]
    for dense in (*denses, trained.output_layer):
        # Keras's integers are the weights only with its scales.
        if not tf.as_dtype(dense.kernel.dtype).is_floating:
            raise ValueError(
                "A form for serving is made of weights in floating point. Received a "
                f"layer that Keras has quantized: the kernel of {dense.name} has the "
                f"dtype {tf.as_dtype(dense.kernel.dtype).name}. Make it before "
                '`quantize`; `materialize(ids, dtype="int8")` has rows of integers.'
            )
    return {
        "trainable": False,
        "hidden_dim": [int(dense.kernel.shape[1]) for dense in denses],
        "parameter_budget": None,
        "table_shape": None,
        "normalization": None
        if trained.normalization == "batch"
        else trained.normalization,
    }


def _assign(trained: EmbeddingNetwork, copy: InferenceEmbeddingNetwork) -> None:
    arrays: list[np.ndarray] = []
    # Scale and offset of a normalization that comes after its Dense layer's
    # activation, and is therefore left to the next Dense layer.
    pending: tuple[np.ndarray, np.ndarray] | None = None
    for i in range(trained.num_hidden_layers):
        kernel, bias = _dense_weights(getattr(trained, f"hidden_{i}"), pending)
        if trained.normalization == "batch":
            scale, offset = _scale_and_offset(getattr(trained, f"normalization_{i}"))
            if trained.order == ORDERS[0]:
                kernel, bias = kernel * scale, bias * scale + offset
            else:
                pending = scale, offset
        elif trained.normalization == "layer":
            normalization = getattr(trained, f"normalization_{i}")
            getattr(copy, normalization.name).set_weights(normalization.get_weights())
        arrays += [kernel, bias]
    arrays += _dense_weights(trained.output_layer, pending)
    copy.assign(arrays)


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


def _float64(variable: Any) -> np.ndarray:
    return tf.cast(tf.convert_to_tensor(variable), tf.float64).numpy()
