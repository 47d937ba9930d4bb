"""The layer that makes sparse features of any kind a fixed number of columns."""

import math
from typing import Any

import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.hashing import constants, universal
from tfrs_dhe.layers import _arguments, _specs


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class FeatureHashing(keras.layers.Layer):
    """Hashes bags of features into vectors of a fixed number of bins.

    ```
    y[b] = sum of s(j) x[j] over all features j with h(j) = b
    ```

    with h to {0, ..., m - 1} and a sign s to {-1, +1}, independent of each other.
    Features need no vocabulary: any integer or string is one. Thanks to the sign,
    products of hashed vectors are those of the vectors themselves on average,
    `E <y, y'> = <x, x'>`, whatever collides.

    The output is sparse, so a `Dense` layer after it costs what the present features
    cost. `Dense` of both Kerases takes tf.SparseTensors, looks up the rows of its
    kernel that are needed and never makes the input dense:

    ```
    features = keras.Input(shape=(num_features,), sparse=True)
    x = FeatureHashing(2**15)(features)
    x = keras.layers.Dense(256, activation="relu")(x)
    ```

    Two limits of Keras are worth knowing. `model.export` writes a signature with
    dense inputs; for sparse ones write it out, as in
    `tf.function(model).get_concrete_function(tf.SparseTensorSpec(...))`. And XLA has
    no sparse tensors, so a model with sparse inputs and without this layer, which
    says so itself, needs `compile(jit_compile=False)` on a GPU under Keras 3.

    Example:
    >>> layer = FeatureHashing(num_bins=8, signed=False)
    >>> words = tf.ragged.constant([["to", "be", "to"], []])
    >>> hashed = tf.sparse.to_dense(layer(words))
    >>> hashed.shape, tf.reduce_sum(hashed, axis=1).numpy().tolist()
    (TensorShape([2, 8]), [3.0, 0.0])

    Args:
      num_bins: m, the width of the output, from 2 to 2^31 - 1.
      num_hashes: How many bins a feature goes into, each with a hash and a sign of
        its own and its value divided by sqrt(num_hashes). With more of them two
        features that share all their bins are rarer, but each shares some bin with
        more others; the output has as many more values.
      signed: Whether values get signs. Without, counts stay counts.
      seed: Integer in [0, 2^64) that the hashes follow from. It may not change in
        the life of a model.
      **kwargs: Those of a Keras layer.

    Input shape: one of

    - a tf.SparseTensor of numbers [batch, D]: the column is the feature, whatever
      D is, and the value its weight;
    - a tf.SparseTensor of strings [batch, n]: the values are the features;
    - a tf.RaggedTensor of integers or strings [batch, None]: the values are the
      features.

    Features of the last two weigh 1, or as much as `weights` says, floats in the
    form of the input. A feature that occurs twice counts twice. A feature given as
    a column and one given as an integer have the same bin if the number is the same.

    Output shape: a tf.SparseTensor [batch, num_bins] of the layer's compute dtype,
    in canonical order: rows and columns ascend, and what falls into one bin is
    summed, in float32. Sums that are zero stay in it.

    Raises:
      ValueError: If an argument is out of range or the input is of another form.
      InvalidArgumentError: When run, if a weight is NaN or infinite, or `weights`
        are not placed as the features are.

    References:
      Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML
      2009, sections 2 and 2.1 (signed hash; several hashes).
    """

    def __init__(
        self,
        num_bins: int,
        num_hashes: int = 1,
        signed: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not constants.is_integer(num_bins) or not (
            2 <= num_bins <= universal.MAX_NUM_BUCKETS
        ):
            raise ValueError(
                "`num_bins` must be an integer from 2 to 2**31 - 1. "
                f"Received: {num_bins!r}."
            )
        self.num_bins = int(num_bins)
        self.num_hashes = _arguments.check_positive_integer("num_hashes", num_hashes)
        self.signed = signed
        self.seed = constants.check_seed(seed)
        # XLA knows neither sparse tensors nor strings.
        self.supports_jit = False

    @no_autograph
    def call(self, inputs: Any, weights: Any = None) -> tf.SparseTensor:
        """Returns the hashed features [batch, num_bins].

        Args:
          inputs: Features, a tf.SparseTensor or tf.RaggedTensor of rank 2.
          weights: What they weigh, in the form of `inputs`; None for 1 each. A
            tf.SparseTensor of numbers has its weights in it.
        """
        if isinstance(inputs, tf.SparseTensor):
            rows, features, values = self._of_sparse(inputs, weights)
            num_rows = inputs.dense_shape[0]
        elif isinstance(inputs, tf.RaggedTensor):
            rows, features, values = self._of_ragged(inputs, weights)
            num_rows = tf.cast(inputs.nrows(), tf.int64)
        else:
            raise ValueError(
                "The input of a FeatureHashing must be a tf.SparseTensor or a "
                f"tf.RaggedTensor. Received: {inputs!r}. For padded ids use "
                "`tf.RaggedTensor.from_tensor(ids, padding=...)`, for dense vectors "
                "`tf.sparse.from_dense(vectors)`."
            )
        values = tf.debugging.check_numerics(
            tf.cast(values, tf.float32), "The weights of a FeatureHashing"
        )
        return self._hashed(rows, hashing.int64_keys(features), values, num_rows)

    def compute_output_shape(
        self, input_shape: Any, weights_shape: Any = None
    ) -> tuple[int | None, ...]:
        """Returns (batch, num_bins)."""
        return (_specs.shape_tuple(input_shape)[0], self.num_bins)

    def compute_output_spec(self, inputs: Any, weights: Any = None) -> Any:
        """Returns the symbolic output (Keras 3)."""
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype, sparse=True)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "num_hashes": self.num_hashes,
            "signed": self.signed,
            "seed": self.seed,
        }

    def _of_sparse(self, inputs: Any, weights: Any) -> tuple[Any, Any, Any]:
        """Returns the row, the feature and the value of every entry."""
        _check_rank(inputs)
        rows, columns = tf.unstack(inputs.indices, axis=1)
        if inputs.dtype != tf.string:
            if weights is not None:
                raise ValueError(
                    "`weights` are for strings and ragged features: a tf.SparseTensor "
                    f"of numbers has its weights in it. Received: {weights!r}."
                )
            return rows, columns, inputs.values
        if weights is None:
            return rows, inputs.values, tf.ones_like(rows, tf.float32)
        if not isinstance(weights, tf.SparseTensor):
            raise _other_form(inputs, weights)
        same = tf.debugging.assert_equal(
            weights.indices,
            inputs.indices,
            message="The weights of a FeatureHashing must be placed as its input is",
        )
        with tf.control_dependencies([same] if same is not None else []):
            return rows, inputs.values, tf.identity(weights.values)

    def _of_ragged(self, inputs: Any, weights: Any) -> tuple[Any, Any, Any]:
        _check_rank(inputs)
        rows = tf.cast(inputs.value_rowids(), tf.int64)
        if weights is None:
            return rows, inputs.values, tf.ones_like(rows, tf.float32)
        if not isinstance(weights, tf.RaggedTensor):
            raise _other_form(inputs, weights)
        _check_rank(weights)
        same = tf.debugging.assert_equal(
            tf.cast(weights.row_splits, tf.int64),
            tf.cast(inputs.row_splits, tf.int64),
            message="The weights of a FeatureHashing must be placed as its input is",
        )
        with tf.control_dependencies([same] if same is not None else []):
            return rows, inputs.values, tf.identity(weights.values)

    def _hashed(
        self, rows: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, num_rows: tf.Tensor
    ) -> tf.SparseTensor:
        """Returns the sums of the values [n] in the bins of keys [n]."""
        bins = hashing.universal_hash(
            keys, self.num_hashes, self.num_bins, seed=self.seed
        )
        # Of every entry, the values that it adds: [n, num_hashes].
        values = tf.tile(values[:, tf.newaxis], [1, self.num_hashes])
        if self.num_hashes > 1:
            values /= math.sqrt(self.num_hashes)
        if self.signed:
            sign_seed = hashing.derive_seed(self.seed, "sign")
            signs = hashing.universal_hash(keys, self.num_hashes, 2, seed=sign_seed)
            values = tf.where(signs == 1, -values, values)
        # One number for each row and bin, ascending as the output has to be.
        places = rows[:, tf.newaxis] * self.num_bins + tf.cast(bins - 1, tf.int64)
        places, position = tf.unique(tf.reshape(places, [-1]))
        sums = tf.math.unsorted_segment_sum(
            tf.reshape(values, [-1]), position, tf.size(places)
        )
        order = tf.argsort(places)
        places, sums = tf.gather(places, order), tf.gather(sums, order)
        return tf.SparseTensor(
            tf.stack([places // self.num_bins, places % self.num_bins], axis=1),
            tf.cast(sums, self.compute_dtype),
            tf.stack([num_rows, tf.constant(self.num_bins, tf.int64)]),
        )


def _check_rank(inputs: Any) -> None:
    if inputs.shape.rank != 2:
        raise ValueError(
            "The input of a FeatureHashing must be of rank 2, a bag of features for "
            f"each example. Received shape {inputs.shape}."
        )


def _other_form(inputs: Any, weights: Any) -> ValueError:
    return ValueError(
        f"`weights` must be a {type(inputs).__name__}, as the features are. "
        f"Received: {weights!r}."
    )
