"""The layer that makes 64-bit integers of string ids."""

from typing import Any

import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _specs


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class CityHash64(keras.layers.Layer):
    """Hashes string ids to int64 by CityHash64; passes integers through.

    No vocabulary and no table: the hash of a string is the same in every model,
    process and language. Two of n strings share a hash with probability of about
    n^2 / 2^65: 3e-8 for a million, 3e-4 for a hundred million.

    Example:
    >>> layer = CityHash64()
    >>> layer(tf.constant(["", "user_17"])).numpy().tolist()
    [-7286425919675154353, 8025641022965179627]
    >>> layer(tf.constant([17], dtype=tf.int32)).numpy().tolist()
    [17]

    Input shape: strings or integers of any rank, dense or ragged. uint64 keeps
      its bits.

    Output shape: tf.int64 of the input's shape.

    Raises:
      ValueError: If the input is neither strings nor integers.

    References:
      Pike and Alakuijala, CityHash v1.1, Google 2011.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "int64")
        super().__init__(**kwargs)
        # XLA knows no strings, and Keras 3 turns it on by itself on a GPU.
        self.supports_jit = False
        self.supports_masking = True

    @no_autograph
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the ids as tf.int64, in the shape of `inputs`."""
        return hashing.int64_keys(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the input."""
        return input_shape

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns the symbolic output (Keras 3)."""
        _specs.check_id_spec(inputs)
        return _specs.output_spec(self, inputs)
