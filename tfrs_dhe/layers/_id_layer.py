"""What layers from ids to embeddings have in common for Keras."""

from typing import Any

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments, _specs
from tfrs_dhe.layers._padding_mask import PaddingMask


class IdLayer(keras.layers.Layer):
    """A layer from ids [...] to embeddings [..., output_dim], with masks and shapes.

    Args:
      output_dim: Width of the embedding.
      mask_value: The id that pads lists, or None.
      **kwargs: Those of a Keras layer.

    Raises:
      ValueError: If an argument is out of range.
    """

    def __init__(
        self, output_dim: int, mask_value: str | int | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.output_dim = _arguments.check_positive_integer("output_dim", output_dim)
        if mask_value is not None and not isinstance(mask_value, str | int):
            raise ValueError(
                "`mask_value` must be the string or integer that pads lists of ids. "
                f"Received: {mask_value!r}."
            )
        self.mask_value = mask_value
        self.supports_masking = True
        # Keras 3 turns XLA on by itself on a GPU.
        self.supports_jit = False

    def _see_ids(self, dtype: tf.DType) -> None:
        """Is told what the ids are, which is known from the first call on."""
        self.supports_jit = dtype != tf.string  # XLA knows no strings

    @no_autograph
    def compute_mask(self, inputs: tf.Tensor, mask: Any = None) -> Any:
        """Returns where ids are no padding, tf.bool in the shape of the ids."""
        if isinstance(mask, list | tuple):  # one for each positional argument
            mask = mask[0]
        if isinstance(inputs, list | tuple):
            inputs = inputs[0]
        # Layers that take ragged input take no mask.
        if isinstance(inputs, tf.RaggedTensor) or getattr(inputs, "ragged", False):
            return None
        return self.compute_id_mask(inputs, mask)

    @no_autograph
    def compute_id_mask(self, ids: tf.Tensor, mask: tf.Tensor | None = None) -> Any:
        """Returns where ids [...] are no padding and, given a mask, it is true.

        Args:
          ids: Strings or integers [...], dense or ragged.
          mask: tf.bool [...] or None.

        Returns:
          tf.bool [...], or None if there is neither a mask nor a `mask_value`.
        """
        if self.mask_value is None:
            return mask
        return PaddingMask(self.mask_value)(ids, mask=mask)

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
        self._see_ids(tf.as_dtype(ids.dtype))
        return _specs.output_spec(self, ids)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "mask_value": self.mask_value,
        }
