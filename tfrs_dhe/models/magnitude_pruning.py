"""The callback that sets the smallest weights of deep hash embeddings to zero."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import EmbeddingNetwork
from tfrs_dhe.layers._inference_form import InferenceEmbeddingNetwork


class MagnitudePruning(keras.callbacks.Callback):
    """Prunes networks of deep hash embeddings while they are trained further.

    From `begin_step` to `end_step` a growing share of the weights of each Dense
    kernel, those of the smallest magnitude, becomes zero, and stays it; the others
    learn on and make up for them. The share follows the polynomial

    ```
    s(t) = s_f (1 - (1 - (t - t_0) / (t_1 - t_0))^3)
    ```

    with the steps `t_0`, `t_1` and the final share `s_f`: most is pruned early, when
    many weights are superfluous. Biases and normalization are left as they are, and
    so are hash encodings, which have no weights. Weights that are zero when training
    begins stay zero, so a pruned model can be trained further, with the same
    callback or with one that begins later. No file of Keras has the callback: where a
    training goes on in another process, say by `initial_step` how many steps there
    have been, or it counts from 0 again, and may end before `end_step`.

    Zeros make exports small once they are compressed; TensorFlow multiplies by them
    as by other numbers, so answers take as long as before.

    Example:
    >>> from tfrs_dhe.layers import DeepHashEmbedding
    >>> layer = DeepHashEmbedding(4, hidden_dim=16, num_hidden_layers=2)
    >>> outputs = layer(tf.constant(["a"]), training=False)
    >>> pruning = MagnitudePruning([layer], 0.75, end_step=1000)
    >>> pruning.share_at(500)
    0.65625

    and then `model.fit(batches, callbacks=[pruning])`.

    Args:
      layers: The layers to prune: `DeepHashEmbedding` or `EmbeddingNetwork`.
      target_share: s_f, the share of the weights that are zero in the end, above 0
        and below 1.
      end_step: t_1, the number of the training step after which no more weights are
        pruned.
      begin_step: t_0.
      frequency: How many steps are from one growth to the next.
      initial_step: How many steps there have been before, where a training goes on.

    Raises:
      ValueError: If an argument is out of range. When training begins, if a layer
        has not been built.

    References:
      Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning
      for model compression", arXiv 1710.01878. Kang et al., "Learning to Embed
      Categorical Features without Embedding Tables for Recommendation", KDD 2021,
      section 5, which proposes to prune the network.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        target_share: float,
        end_step: int,
        begin_step: int = 0,
        frequency: int = 50,
        initial_step: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < target_share < 1:
            raise ValueError(
                "`target_share` must be above 0 and below 1. "
                f"Received: {target_share!r}."
            )
        if not 0 <= begin_step < end_step or frequency < 1:
            raise ValueError(
                "`begin_step` must be from 0 to before `end_step`, and `frequency` at "
                f"least 1. Received: begin_step={begin_step!r}, end_step={end_step!r}, "
                f"frequency={frequency!r}."
            )
        if not initial_step >= 0:
            raise ValueError(
                f"`initial_step` must be at least 0. Received: {initial_step!r}."
            )
        if isinstance(layers, keras.layers.Layer) or not len(layers):
            raise ValueError(
                "`layers` must be a list of at least one layer to prune. Received: "
                f"{layers!r}."
            )
        self._networks = [_network(layer) for layer in layers]
        self.target_share = target_share
        self.begin_step = begin_step
        self.end_step = end_step
        self.frequency = frequency
        self._step = initial_step
        self._last_batch = -1
        self._masks: list[tuple[Any, tf.Tensor]] = []

    def share_at(self, step: int) -> float:
        """Returns the share of the weights that are zero after a step."""
        if step < self.begin_step:
            return 0.0
        left = (self.end_step - step) / (self.end_step - self.begin_step)
        return self.target_share * (1 - max(0.0, left) ** 3)

    def on_train_begin(self, logs: Any = None) -> None:
        """Takes the weights that are zero for pruned ones."""
        self._masks = [
            (kernel, tf.cast(tf.convert_to_tensor(kernel) != 0, kernel.dtype))
            for network in self._networks
            for kernel in _kernels(network)
        ]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts to count the batches of an epoch."""
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Prunes, and sets what the step has moved back to zero."""
        # With steps_per_execution, not every batch is told of.
        before, self._step = self._step, self._step + batch - self._last_batch
        self._last_batch = batch
        if self._has_to_grow(before):
            share = self.share_at(self._step)
            self._masks = [
                (kernel, _mask(kernel, mask, share)) for kernel, mask in self._masks
            ]
        for kernel, mask in self._masks:
            kernel.assign(tf.convert_to_tensor(kernel) * mask)

    def _has_to_grow(self, before: int) -> bool:
        if self._step < self.begin_step or before >= self.end_step:
            return False
        periods = (self._step // self.frequency, before // self.frequency)
        return periods[0] > periods[1] or self._step >= self.end_step


@dataclass(frozen=True)
class NetworkSize:
    """The size of a layer that may be pruned.

    Attributes:
      num_weights: Numbers in its weights.
      num_nonzero: Those that are not zero.
      compressed_bytes: Of all weights, by gzip.
    """

    num_weights: int
    num_nonzero: int
    compressed_bytes: int


def network_size(layer: Any) -> NetworkSize:
    """Returns the size of a layer, before or after pruning.

    Example:
    >>> from tfrs_dhe.layers import EmbeddingNetwork
    >>> network = EmbeddingNetwork(2, hidden_dim=3, num_hidden_layers=1)
    >>> outputs = network(tf.ones([1, 4]), training=False)
    >>> network_size(network).num_weights  # 4 * 3, four of 3, 3 * 2 and 2.
    32

    Args:
      layer: A layer that is built.

    Returns:
      The size.
    """
    arrays = layer.get_weights()
    return NetworkSize(
        sum(array.size for array in arrays),
        sum(int(np.count_nonzero(array)) for array in arrays),
        len(gzip.compress(b"".join(array.tobytes() for array in arrays))),
    )


def _network(layer: Any) -> EmbeddingNetwork:
    network = getattr(layer, "network", layer)
    if not isinstance(network, EmbeddingNetwork):
        raise ValueError(
            "`layers` must be DeepHashEmbedding or EmbeddingNetwork layers, whose "
            f"networks are pruned. Received: {layer!r}."
        )
    if isinstance(network, InferenceEmbeddingNetwork):
        raise ValueError(
            "`layers` must be layers that are trained, not inference forms. Received: "
            f"{layer!r}. Prune the layer that it was made from."
        )
    return network


def _kernels(network: EmbeddingNetwork) -> list[Any]:
    if not network.built:
        raise ValueError(
            f"{network.name} has no weights to prune yet. Train it first, or call it "
            "on some ids: pruning pays for networks that have learned."
        )
    denses = [getattr(network, f"hidden_{i}") for i in range(network.num_hidden_layers)]
    return [dense.kernel for dense in (*denses, network.output_layer)]


def _mask(kernel: Any, mask: tf.Tensor, share: float) -> tf.Tensor:
    """Returns a mask without the smallest weights, and without those it had not."""
    magnitudes = np.abs(tf.cast(tf.convert_to_tensor(kernel) * mask, tf.float64))
    num_zeros = round(share * magnitudes.size)
    # What was pruned has the smallest magnitude, so it is among them.
    smallest = np.argsort(magnitudes, axis=None, kind="stable")[:num_zeros]
    kept = np.array(mask)
    kept.reshape(-1)[smallest] = 0
    return tf.constant(kept, mask.dtype)
