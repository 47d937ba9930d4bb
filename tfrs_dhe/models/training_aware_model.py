"""A TFRS model whose towers know whether they are being trained."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras, require_tfrs

tfrs: Any = require_tfrs("tfrs_dhe.models.Model")


class Model(tfrs.Model):
    """`tfrs.Model`, except that `training` reaches every layer by itself.

    TFRS calls `compute_loss(inputs, training=True)`, and the usual `compute_loss`
    then calls `self.user_model(features["user_id"])` without the flag. Keras hands
    a flag down from layer to layer, but `compute_loss` is no layer: the towers are
    trained in inference mode, batch normalization never learns its statistics and
    dropout is off. Here the step of training or evaluation is itself run as a
    layer, so a model written as in the TFRS tutorials trains correctly:

    ```python
    class MovieModel(tfrs_dhe.models.Model):  # was: tfrs.Model
        def compute_loss(self, features, training=False):
            return self.task(
                self.user_model(features["user_id"]),
                self.movie_model(features["movie_title"]),
            )
    ```

    A flag that is passed explicitly still counts first.
    """

    def train_step(self, inputs: Any) -> dict[str, tf.Tensor]:
        """Runs the step of `tfrs.Model` with every layer in training mode."""
        return _Step(self, super().train_step)(inputs, training=True)

    def test_step(self, inputs: Any) -> dict[str, tf.Tensor]:
        """Runs the step of `tfrs.Model` with every layer in inference mode."""
        return _Step(self, super().test_step)(inputs, training=False)


class _Step(keras.layers.Layer):
    """Calls a function as a layer, so that layers within inherit `training`.

    Made anew for every step and kept nowhere: as an attribute of a model it would
    be saved with it.
    """

    def __init__(self, model: Any, step: Callable[[Any], dict[str, tf.Tensor]]) -> None:
        # A layer of mixed precision would hand the optimizer rounded weights.
        super().__init__(dtype="float32", autocast=False)
        # The outermost call clears the losses of the layers it has, which those
        # within leave where they are: losses of activities would add up over steps.
        self._model = model
        self._step = step

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, tf.Tensor]:
        return self._step(inputs)
