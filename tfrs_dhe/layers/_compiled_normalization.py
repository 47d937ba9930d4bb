"""Batch normalization and activation in training, compiled by XLA.

Op by op, normalization, Mish and their gradients are some 60 passes over [rows, units];
compiled they are 3 passes forward and 4 backward, which take a fifth of the time of the
matrix products around them instead of once more the same. Nothing but the input is kept
for the gradient; what is cheap to compute again is.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

# No public name keeps eager operations off the tapes.
from tensorflow.python.eager import record

from tfrs_dhe.layers import _compilation, _tape
from tfrs_dhe.layers._mish import mish
from tfrs_dhe.layers._row_statistics import row_statistics

#: Numbers in [rows, units] from which on compiling is worth the while, and units where
#: the rows are not known.
MIN_SIZE = 2**14
MIN_UNITS = 64

#: Elementwise, of ops that XLA knows.
ACTIVATIONS = {"none": tf.identity, "mish": mish}


class Normalized(NamedTuple):
    """Outputs [rows, units] and the statistics of the batch that made them."""

    outputs: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor
    total: tf.Tensor


def is_useful(num_rows: int | None, units: int) -> bool:
    """Returns whether what trains now may be compiled, and is large enough.

    Replicas have to meet in the middle, which these programs do not.
    """
    context = tf.distribute.get_replica_context()
    is_alone = context is None or context.num_replicas_in_sync == 1
    if not is_alone or not _compilation.is_allowed():
        return False
    if num_rows is None:
        return units >= MIN_UNITS
    return num_rows * units >= MIN_SIZE


def pad(
    rows: tf.Tensor, row_weights: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns rows and weights, filled up to one of few sizes if theirs is not known.

    There is a program for each size. Rows that are added count nothing.

    Args:
      rows: [n, width].
      row_weights: [n], or None.
    """
    if rows.shape[0] is not None:
        return rows, row_weights
    size = tf.shape(rows)[0]
    if row_weights is None:
        row_weights = tf.ones([size], rows.dtype)
    padding = _compilation.padded_size(size) - size
    return tf.pad(rows, [[0, padding], [0, 0]]), tf.pad(row_weights, [[0, padding]])


def normalize(
    inputs: tf.Tensor,
    row_weights: tf.Tensor | None,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    activation: str,
) -> Normalized:
    """Normalizes by the statistics of the batch, and activates.

    Gradients are those of the outputs; statistics and row weights have none.

    Args:
      inputs: [rows, units].
      row_weights: [rows], how often each row counts; None counts each once.
      gamma: [units], the scale.
      beta: [units], the offset.
      epsilon: Added to the variance.
      activation: One of `ACTIVATIONS`.
    """
    programs = _programs(epsilon, activation)

    @tf.custom_gradient
    def call(
        inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[Normalized, Callable[..., Any]]:
        # Recorded, a function returns all that its gradient could need.
        eager = tf.executing_eagerly()
        with record.stop_recording() if eager else contextlib.nullcontext():
            result = programs.forward(inputs, row_weights, gamma, beta)

        def gradient(upstream: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
            if _tape.is_recording():  # For a second derivative.
                return programs.differentiable_backward(
                    inputs, row_weights, gamma, beta, upstream
                )
            return programs.backward(
                inputs, row_weights, gamma, beta, *result[1:], upstream
            )

        return result, gradient

    return Normalized(*call(inputs, gamma, beta))


class _Programs(NamedTuple):
    forward: Callable[..., Normalized]
    backward: Callable[..., tuple[tf.Tensor, ...]]
    differentiable_backward: Callable[..., tuple[tf.Tensor, ...]]


@functools.lru_cache(64)
def _programs(epsilon: float, activation: str) -> _Programs:
    """Returns programs that all layers of these arguments share."""
    activate = ACTIVATIONS[activation]

    def forward(
        inputs: tf.Tensor,
        row_weights: tf.Tensor | None,
        gamma: tf.Tensor,
        beta: tf.Tensor,
    ) -> Normalized:
        mean, variance, total = row_statistics(inputs, row_weights)
        scale = tf.math.rsqrt(variance + epsilon) * gamma
        outputs = activate(inputs * scale + (beta - mean * scale))
        return Normalized(outputs, mean, variance, total)

    def backward(
        inputs: tf.Tensor,
        row_weights: tf.Tensor | None,
        gamma: tf.Tensor,
        beta: tf.Tensor,
        mean: tf.Tensor,
        variance: tf.Tensor,
        total: tf.Tensor,
        upstream: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        # With y = f(z), z = gamma x' + beta, x' = (x - mean) / s and w the weights,
        # dz = f'(z) dy:
        #   dx = gamma / s (dz - w / sum(w) (sum(dz) + x' sum(dz x'))).
        inverse = tf.math.rsqrt(variance + epsilon)
        scale = inverse * gamma
        preactivations = inputs * scale + (beta - mean * scale)
        with tf.GradientTape() as tape:
            tape.watch(preactivations)
            outputs = activate(preactivations)
        slopes = tape.gradient(outputs, preactivations, upstream)
        centred = inputs - mean
        d_beta = tf.reduce_sum(slopes, axis=0)
        d_gamma = tf.reduce_sum(slopes * centred, axis=0) * inverse
        by_mean = tf.math.divide_no_nan(d_beta, total)
        by_variance = tf.math.divide_no_nan(d_gamma * inverse, total)
        through_statistics = by_mean + centred * by_variance
        if row_weights is not None:
            weights = tf.cast(row_weights, inputs.dtype)[:, tf.newaxis]
            through_statistics = weights * through_statistics
        return scale * (slopes - through_statistics), d_gamma, d_beta

    def differentiable_backward(
        inputs: tf.Tensor,
        row_weights: tf.Tensor | None,
        gamma: tf.Tensor,
        beta: tf.Tensor,
        upstream: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        # Statistics depend on the inputs too.
        statistics = row_statistics(inputs, row_weights)
        return backward(inputs, row_weights, gamma, beta, *statistics, upstream)

    def compiled(function: Callable[..., Any]) -> Any:
        return tf.function(function, jit_compile=True, autograph=False)

    return _Programs(compiled(forward), compiled(backward), differentiable_backward)
