"""The head of MACH in a quarter of the bytes, for serving."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _compact_rows
from tfrs_dhe.layers.mach_head import MACHHead


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class QuantizedMACHHead(MACHHead):
    """Scores buckets as a `MACHHead` does, by rows of 8-bit integers.

    `head.quantized()` makes it of a trained head, for serving: it takes the head's
    place in an index, `factorized_top_k.MACH(head.quantized())`, and cannot be
    trained. Each row has a scale, its largest absolute value divided by 127, so a
    logit is off by at most

    ```
    |z'[r, b] - z[r, b]| <= scale[r, b] / 2 * sum_i |x_i|
    ```

    Buckets are those of the head, and biases are not rounded. Memory is
    `R B (d + 8)` bytes in place of `4 R B (d + 1)`. Rows become floats one repetition
    at a time, in the processor's cache.

    Four bits would halve the rows again, but TensorFlow has no such integers: to take
    them apart by shifts made a request several times slower.

    Example:
    >>> head = MACHHead(num_buckets=100, num_repetitions=4, embedding_dim=16)
    >>> served = head.quantized()
    >>> x = tf.random.normal([2, 16])
    >>> bound = served.logit_error(x)
    >>> bool(tf.reduce_all(tf.abs(served(x) - head(x)) <= bound + 1e-5))
    True

    Args:
      *args: Those of `MACHHead`.
      **kwargs: Those of `MACHHead`.

    Input shape: floats [..., d].

    Output shape: [..., R, B], of the layer's compute dtype.

    Attributes:
      kernel: tf.int8 [R * B, d].
      scales: tf.float32 [R * B].
      bias: Weight [R * B], None without.

    Raises:
      ValueError: If an argument is out of range.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "trainable": False})

    def _add_rows(self, num_rows: int, embedding_dim: int) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(num_rows, embedding_dim),
            dtype="int8",
            initializer="zeros",
            trainable=False,
        )
        self.scales = self.add_weight(
            name="scales",
            shape=(num_rows,),
            dtype="float32",
            initializer="zeros",
            trainable=False,
        )

    def _products(self, inputs: tf.Tensor) -> tf.Tensor:
        dtype = self.compute_dtype
        kernels = tf.split(tf.convert_to_tensor(self.kernel), len(self.repetitions))
        products = [
            tf.matmul(inputs, tf.cast(kernel, dtype), transpose_b=True)
            for kernel in kernels
        ]
        return tf.concat(products, axis=-1) * tf.cast(self.scales, dtype)

    def _gathered(self, rows: tf.Tensor) -> tf.Tensor:
        values = tf.gather(tf.convert_to_tensor(self.kernel), rows)
        scales = tf.gather(tf.convert_to_tensor(self.scales), rows)
        dtype = self.compute_dtype
        return tf.cast(values, dtype) * tf.cast(scales, dtype)[..., tf.newaxis]

    def logit_error(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns how far logits may be from those of the head it was made of.

        Args:
          inputs: Floats [..., d].

        Returns:
          tf.float32 [..., R, B], without the rounding of floating-point sums.

        Raises:
          ValueError: If they are no vectors of the head's width.
        """
        inputs = tf.cast(self._checked(inputs), tf.float32)
        lengths = tf.reduce_sum(tf.abs(inputs), axis=-1)
        steps = tf.reshape(tf.cast(self.scales, tf.float32), [-1, self.num_buckets])
        return lengths[..., tf.newaxis, tf.newaxis] * steps / 2

    def balance(self, class_ids: Any, counts: np.ndarray | None = None) -> None:
        """Raises a ValueError: the rows belong to the buckets as they are."""
        raise ValueError(_NOT_TRAINED.format(what="balance"))

    def initialize_bias(
        self, class_ids: Any, counts: np.ndarray, num_examples: int | None = None
    ) -> None:
        """Raises a ValueError: the biases are trained ones."""
        raise ValueError(_NOT_TRAINED.format(what="initialize_bias"))


_NOT_TRAINED = (
    "`{what}` goes before training, and a QuantizedMACHHead is made after it. Call it "
    "on the MACHHead, train that, then make the quantized head."
)


def quantize(head: MACHHead, bits: int) -> QuantizedMACHHead:
    """Returns a head with the buckets and biases of another and rounded rows.

    Args:
      head: A head that is built.
      bits: 8.

    Returns:
      The head.

    Raises:
      ValueError: If the number of bits is another one, or the head is not built.
    """
    if bits != 8:
        raise ValueError(
            "`bits` must be 8: TensorFlow has no smaller integers, and to take packed "
            f"ones apart costs more time than they save. Received: {bits!r}."
        )
    if not head.built:
        raise ValueError(
            "`quantized` rounds the weights of a head, which this one does not have "
            "yet. Train it, load it, or call it first."
        )
    rows = tf.cast(tf.convert_to_tensor(head.kernel), tf.float32).numpy()
    config = {**head.get_config(), "embedding_dim": rows.shape[1]}
    quantized = QuantizedMACHHead.from_config(config)
    values, scales = _compact_rows.compact(rows, "int8")
    quantized.kernel.assign(values)
    quantized.scales.assign(scales)
    for name in ("bias", "boundaries"):
        weight = getattr(head, name)
        if weight is not None:
            getattr(quantized, name).assign(tf.convert_to_tensor(weight))
    return quantized
