"""Symbolic shapes that mean the same under both Kerases."""

from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras


def shape_tuple(shape: Any) -> tuple[int | None, ...]:
    """Returns a tf.TensorShape (legacy Keras) or a tuple (Keras 3) as a tuple."""
    return tuple(tf.TensorShape(shape).as_list())


def known_width(layer: Any, shape: Any) -> int:
    """Returns the last dimension of an input, or raises a ValueError."""
    width = shape_tuple(shape)[-1]
    if width is None:
        raise ValueError(
            f"The last dimension of the input of {type(layer).__name__} must be "
            f"known. Received an input of shape {shape}."
        )
    return width


def output_spec(layer: Any, inputs: Any) -> Any:
    """Returns the symbolic output of a layer that keeps raggedness (Keras 3)."""
    ragged = {"ragged": True} if getattr(inputs, "ragged", False) else {}
    shape = tuple(layer.compute_output_shape(inputs.shape))
    return keras.KerasTensor(shape, dtype=layer.compute_dtype, **ragged)


def check_id_spec(ids: Any) -> None:
    """Raises a ValueError if a symbolic input cannot be ids (Keras 3)."""
    dtype = getattr(ids, "dtype", None)
    if dtype is None:
        raise ValueError(f"`ids` must be a tensor. Received: {ids!r}.")
    dtype = tf.as_dtype(dtype)
    if dtype != tf.string and not dtype.is_integer:
        raise ValueError(
            f"`ids` must be strings or integers. Received dtype {dtype.name}. Give "
            'the input its dtype, as in `keras.Input(shape=(), dtype="int64")`.'
        )
