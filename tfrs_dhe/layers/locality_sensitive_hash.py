"""The layer that reduces high-dimensional side features to a few bits."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.hashing import constants
from tfrs_dhe.layers import _arguments, _specs


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class LocalitySensitiveHash(keras.layers.Layer):
    """Hashes vectors to bits so that similar vectors share most of them.

    Bit i is the side of a random hyperplane through the origin on which the
    vector lies, +1 or -1; a zero product counts as +1. Two vectors at an angle
    theta differ in a share theta / pi of their bits, so high-dimensional side
    features (tags, words, an image embedding) become a short input beside the
    hash encoding and still generalize.

    The hyperplanes follow from `seed`. They are saved with the model as
    non-trainable weights, since the sign of a product near zero could otherwise
    depend on the machine.

    Example:
    >>> layer = LocalitySensitiveHash(num_bits=4)
    >>> bits = layer(tf.constant([[1.0, 2.0], [10.0, 20.0]])).numpy()
    >>> bool((bits[0] == bits[1]).all())
    True

    Args:
      num_bits: Number of hyperplanes.
      seed: Integer in [0, 2^64).
      **kwargs: Those of a Keras layer.

    Input shape: finite numbers [..., d].

    Output shape: [..., num_bits], -1 or +1, of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range or the input is not numbers.
      InvalidArgumentError: When run, if the input is NaN or infinite, or its products
        with the hyperplanes are.

    References:
      Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC
      2002, section 3. Kang et al., KDD 2021, section 3.3 (side features).
    """

    def __init__(self, num_bits: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_bits = _arguments.check_positive_integer("num_bits", num_bits)
        self.seed = constants.check_seed(seed)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the hyperplanes [d, num_bits]."""
        input_dim = _specs.known_width(self, input_shape)
        shape = (input_dim, self.num_bits)
        self.hyperplanes = self.add_weight(
            name="hyperplanes",
            shape=shape,
            initializer=keras.initializers.Constant(_normals(self.seed, shape)),
            trainable=False,
        )
        super().build(input_shape)

    @no_autograph
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the bits [..., num_bits] of vectors [..., d]."""
        if isinstance(inputs, tf.RaggedTensor):
            return inputs.with_flat_values(self.call(inputs.flat_values))
        if inputs.dtype.is_floating:
            inputs = tf.debugging.check_numerics(
                inputs, "The input of a LocalitySensitiveHash must be finite"
            )
        elif not inputs.dtype.is_integer and inputs.dtype != tf.bool:
            raise ValueError(
                "The input of a LocalitySensitiveHash must be numbers. Received "
                f"dtype {inputs.dtype.name}."
            )
        products = tf.matmul(
            tf.cast(tf.reshape(inputs, [-1, inputs.shape[-1]]), self.variable_dtype),
            tf.cast(self.hyperplanes, self.variable_dtype),
        )
        # A sum of infinities of both signs would be on no side.
        products = tf.debugging.check_numerics(
            products,
            "The input of a LocalitySensitiveHash must have finite products with the "
            f"hyperplanes in {self.variable_dtype}; scaled down, it has the same bits",
        )
        signs = tf.where(products >= 0, 1.0, -1.0)
        bits = tf.reshape(
            tf.cast(signs, self.compute_dtype),
            tf.concat([tf.shape(inputs)[:-1], [self.num_bits]], axis=0),
        )
        return tf.ensure_shape(bits, [*inputs.shape[:-1], self.num_bits])

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the input's shape with the number of bits at its end."""
        return (*_specs.shape_tuple(input_shape)[:-1], self.num_bits)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns the symbolic output (Keras 3)."""
        return _specs.output_spec(self, inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_bits": self.num_bits,
            "seed": self.seed,
        }


def _normals(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Returns standard normals [rows, columns] that follow from a seed."""
    count = math.prod(shape)
    pairs = (count + 1) // 2
    numbers = constants.splitmix64(seed, 2 * pairs)
    # 53 bits each, in (0, 1], so that the logarithm is finite.
    u = (np.array([n >> 11 for n in numbers], np.float64) + 1.0) / 2.0**53
    radius, angle = np.sqrt(-2.0 * np.log(u[:pairs])), 2.0 * np.pi * u[pairs:]
    normals = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return normals[:count].reshape(shape)
