"""What layers that only serve have in common."""

from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import is_legacy


def check_inference(layer: Any, training: bool | None) -> None:
    """Refuses a call for training of a layer that only serves.

    Args:
      layer: The layer, for the message.
      training: What the call was given.

    Raises:
      ValueError: If `training` is true. In a graph of legacy Keras it is an
        InvalidArgumentError where the graph runs: Keras traces that call, without
        running it, when it writes a SavedModel.
    """
    if not isinstance(training, bool | int) or not training:
        return
    message = (
        f"{type(layer).__name__} is for inference and cannot be trained. "
        f"Received: training={training!r}. Train the layer that it was made of, "
        "then make it again."
    )
    if tf.executing_eagerly() or not is_legacy:
        raise ValueError(message)
    tf.debugging.Assert(False, [message])
