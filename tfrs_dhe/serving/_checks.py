"""What would be served without an error and be wrong."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers._batch_normalization import RowWeightedBatchNormalization
from tfrs_dhe.serving._resources import variable_of


def check_built(layer: Any, name: str) -> None:
    """Raises a ValueError if a layer of Keras 3 has never been called.

    To trace it would leave it with weights that are none. (Legacy Keras makes weights
    while it is traced, which is refused then.)

    Args:
      layer: A layer, or something that is none.
      name: How the user knows it.
    """
    if is_legacy or not isinstance(layer, keras.layers.Layer):
        return
    if not layer.built and not layer.weights:
        raise ValueError(
            f"`{name}` ({layer.name}) has no weights yet: they are made at its first "
            "call. Train it, or call it and load its weights, before it is exported."
        )


def check_trained(parts: Iterable[tuple[str, Any]], resources: list[Any]) -> None:
    """Raises a ValueError if batch normalization has seen no batch.

    Args:
      parts: What the servable is made of, with paths.
      resources: What its functions read.
    """
    read = {id(resource) for resource in resources}
    kinds = (RowWeightedBatchNormalization, keras.layers.BatchNormalization)
    for path, part in parts:
        # A layer that is not used may have no statistics.
        if not isinstance(part, kinds) or not part.built:
            continue
        mean = variable_of(part.moving_mean)
        if id(mean) not in read:
            continue
        variance = variable_of(part.moving_variance)
        if _is_all(mean, 0) and _is_all(variance, 1):
            raise ValueError(
                f"`{path}` is untrained: its moving statistics are those it was made "
                "with, mean 0 and variance 1. Pass `training=True` on to it in "
                "training (tfrs_dhe.models.Model does), or export with "
                "allow_untrained=True."
            )


def check_numbers(parts: Iterable[tuple[str, Any]], resources: list[Any]) -> None:
    """Raises a ValueError if a variable has NaN, of a training that diverged.

    Its answers would be NaN, now and in the server alike, so that no comparison shows
    it.

    Args:
      parts: What the servable is made of, with paths.
      resources: What its functions read.
    """
    paths = {id(variable_of(part)): path for path, part in parts}
    for variable in resources:
        if not isinstance(variable, tf.Variable) or not variable.dtype.is_floating:
            continue
        if tf.reduce_any(tf.math.is_nan(tf.convert_to_tensor(variable))):
            raise ValueError(
                f"`{paths.get(id(variable), variable.name)}` has NaN: a training that "
                "diverged, or numbers that are none. Export a model of before."
            )


def _is_all(variable: tf.Variable, number: int) -> bool:
    return bool(np.all(variable.numpy() == number))
