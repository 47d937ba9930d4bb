"""Batch normalization whose statistics count rows by weight."""

from typing import Any

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import _compiled_normalization
from tfrs_dhe.layers._row_statistics import row_statistics


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class RowWeightedBatchNormalization(keras.layers.Layer):
    """Batch normalization of [rows, units], where a row may count n times or not.

    Keras's own layer gives every row the weight 1. Padding must not move the
    statistics (weight 0), and a batch whose repeated ids are computed once must
    have the statistics of the whole batch (weight: number of repetitions).
    Without weights it is Keras's layer. A batch without rows, or with weights of
    zero only, leaves the moving statistics as they are.

    Under `tf.distribute` the batch is that of all replicas: statistics are summed
    over them, so that a model trains as it would on one device.

    Args:
      momentum: Share of the old value when the moving statistics are updated.
      epsilon: Added to the variance.
      **kwargs: Those of a Keras layer.

    References:
      Ioffe and Szegedy, "Batch Normalization", ICML 2015.
    """

    def __init__(
        self, momentum: float = 0.99, epsilon: float = 1e-3, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(
                f"`momentum` must be in [0, 1). Received: momentum={momentum!r}."
            )
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Creates scale, offset and moving statistics."""
        shape = (int(input_shape[-1]),)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        # Replicas update their copies; the mean of them is what is saved.
        shared: dict[str, Any] = {"trainable": False}
        if is_legacy:
            shared["synchronization"] = tf.VariableSynchronization.ON_READ
            shared["aggregation"] = tf.VariableAggregation.MEAN
        else:
            shared["aggregation"] = "mean"
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=shape, initializer="zeros", **shared
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=shape, initializer="ones", **shared
        )
        super().build(input_shape)

    @no_autograph
    def call(
        self,
        inputs: tf.Tensor,
        row_weights: tf.Tensor | None = None,
        training: bool | None = None,
        compiled_with: str | None = None,
    ) -> tf.Tensor:
        """Normalizes by the batch in training, by the moving statistics else.

        Args:
          inputs: [rows, units].
          row_weights: [rows], how often each row counts; None counts each once.
          training: Whether to use, and learn from, the batch's statistics.
          compiled_with: For training by programs of XLA: the activation that is one
            with them, of `_compiled_normalization.ACTIVATIONS`. A name, as Keras
            cannot write functions to a SavedModel.

        Returns:
          [rows, units], activated if `compiled_with` says so.
        """
        if not (training and self.trainable):
            mean = tf.convert_to_tensor(self.moving_mean)
            variance = tf.convert_to_tensor(self.moving_variance)
            outputs = self._normalize(inputs, mean, variance)
            if compiled_with is None:
                return outputs
            # Frozen alone, in a network that trains: the activation is still ours.
            return _compiled_normalization.ACTIVATIONS[compiled_with](outputs)
        if compiled_with is not None:
            outputs, *statistics = _compiled_normalization.normalize(
                inputs,
                row_weights,
                tf.convert_to_tensor(self.gamma),
                tf.convert_to_tensor(self.beta),
                self.epsilon,
                compiled_with,
            )
            self._learn(*statistics)
            return outputs
        mean, variance, total = row_statistics(inputs, row_weights)
        self._learn(mean, variance, total)
        return self._normalize(inputs, mean, variance)

    def _normalize(
        self, inputs: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
    ) -> tf.Tensor:
        scale = tf.math.rsqrt(variance + self.epsilon) * self.gamma
        return inputs * scale + (self.beta - mean * scale)

    def _learn(self, mean: tf.Tensor, variance: tf.Tensor, total: tf.Tensor) -> None:
        self._update(self.moving_mean, mean, total)
        self._update(self.moving_variance, variance, total)

    def _update(self, variable: Any, value: tf.Tensor, total: tf.Tensor) -> None:
        old = tf.convert_to_tensor(variable)
        rate = tf.where(total > 0, tf.cast(1.0 - self.momentum, value.dtype), 0.0)
        variable.assign(old + (tf.stop_gradient(value) - old) * rate)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
