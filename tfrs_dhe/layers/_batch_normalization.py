"""Batch normalization whose statistics count rows by weight."""

from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers._replicas import sum_over_replicas


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

    def call(
        self,
        inputs: tf.Tensor,
        row_weights: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tf.Tensor:
        """Normalizes by the batch in training, by the moving statistics else.

        Args:
          inputs: [rows, units].
          row_weights: [rows], how often each row counts; None counts each once.
          training: Whether to use, and learn from, the batch's statistics.

        Returns:
          [rows, units].
        """
        if training and self.trainable:
            mean, variance = self._batch_statistics(inputs, row_weights)
        else:
            mean = tf.convert_to_tensor(self.moving_mean)
            variance = tf.convert_to_tensor(self.moving_variance)
        scale = tf.math.rsqrt(variance + self.epsilon) * self.gamma
        return inputs * scale + (self.beta - mean * scale)

    def _batch_statistics(
        self, inputs: tf.Tensor, row_weights: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if row_weights is None:
            count = tf.cast(tf.shape(inputs)[0], inputs.dtype)

            def weighted(rows: tf.Tensor) -> tf.Tensor:
                return rows

        else:
            weights = tf.cast(row_weights, inputs.dtype)[:, tf.newaxis]
            count = tf.reduce_sum(weights)

            def weighted(rows: tf.Tensor) -> tf.Tensor:
                return weights * rows

        sums = tf.reduce_sum(weighted(inputs), axis=0)
        total, sums = sum_over_replicas([count, sums])
        mean = tf.math.divide_no_nan(sums, total)
        # Around the mean of all replicas, a second sum over them: the mean of squares
        # less the square of the mean needs one, and loses digits.
        squares = tf.math.squared_difference(inputs, mean)
        (sums,) = sum_over_replicas([tf.reduce_sum(weighted(squares), axis=0)])
        variance = tf.math.divide_no_nan(sums, total)
        self._update(self.moving_mean, mean, total)
        self._update(self.moving_variance, variance, total)
        return mean, variance

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
