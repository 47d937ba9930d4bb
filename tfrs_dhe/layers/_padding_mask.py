"""Where lists of ids are padding."""

from typing import Any

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _specs


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class PaddingMask(keras.layers.Layer):
    """Tells ids from padding, as a layer so that Keras 3 finds it in a graph.

    In a functional model of Keras 3 a mask is a tensor between layers like any
    other, and Keras's own comparison knows no strings.

    Args:
      mask_value: The string or integer that pads.
      **kwargs: Those of a Keras layer.

    Input shape: ids [...], strings or integers.

    Output shape: tf.bool [...], false at padding.
    """

    def __init__(self, mask_value: str | int, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "bool")
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.supports_jit = not isinstance(mask_value, str)  # XLA knows no strings

    @no_autograph
    def call(self, inputs: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Returns where `inputs` are ids and, given a mask, it is true."""
        if (inputs.dtype == tf.string) != isinstance(self.mask_value, str):
            raise ValueError(
                "`mask_value` must be of the type of the ids. Received: mask_value="
                f"{self.mask_value!r} and ids of dtype {inputs.dtype.name}."
            )
        is_id = tf.not_equal(inputs, tf.constant(self.mask_value, inputs.dtype))
        return is_id if mask is None else is_id & tf.cast(mask, tf.bool)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the ids."""
        return input_shape

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the symbolic output (Keras 3)."""
        return _specs.output_spec(self, inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "mask_value": self.mask_value}
