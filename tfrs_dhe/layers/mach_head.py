"""The layer that stands for a softmax over more classes than fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import mach
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments, _specs
from tfrs_dhe.mach import buckets


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class MACHHead(keras.layers.Layer):
    """Scores B hash buckets in each of R repetitions, in place of K classes.

    A class is its id. R independent hash functions put it into one of B buckets
    each, and the layer scores buckets:

    ```
    z[r] = W[r] x + b[r]        x: [d], W[r]: [B, d], z: [R, B]
    ```

    That is `R B (d + 1)` weights, whatever the number of classes; an id that is
    new has its buckets at once. Two ways to train them:

    - as the paper does: every repetition is a softmax (or, with several classes to
      an example, sigmoids) over its buckets, `mach.multiclass_loss` and
      `mach.multilabel_loss` on the output of the layer;
    - jointly: a class's embedding is the sum of its buckets' rows,
      `class_embeddings`, and its score `sum_r z[r][h_r(c)]`, `class_scores`, is
      trained against other classes of the batch by `mach.in_batch_loss`.

    `tfrs_dhe.tasks.MACHRetrieval` does either in a TFRS model. The rows may embed
    the model's input as well, where input and output are the same catalogue:
    `class_embeddings(history)`.

    Example:
    >>> head = MACHHead(num_buckets=100, num_repetitions=4)
    >>> head(tf.zeros([2, 16])).shape
    TensorShape([2, 4, 100])
    >>> head.bucket_ids(tf.constant(["shoes", "socks"])).shape
    TensorShape([2, 4])

    Args:
      num_buckets: B, from 2 to 2^31 - 1. `mach.plan` finds B and R for a number of
        classes.
      num_repetitions: R of the whole model.
      seed: Integer in [0, 2^64) that the hash functions follow from. It may not
        change in the life of a model.
      repetitions: Which of the repetitions 0, ..., R - 1 this layer holds, where
        others are trained elsewhere. By default all. R is then their number in the
        shapes below.
      balanced: Whether the buckets are cut to the size of a catalogue; call
        `balance` before training. Until then they are equal parts of the hash
        values.
      embedding_dim: d, where the rows are used before the layer is first called;
        otherwise known from the input.
      use_bias: Whether buckets have a bias.
      kernel_initializer: Of the rows W.
      bias_initializer: Of the biases; see `initialize_bias` for known counts.
      kernel_regularizer: Of the rows W.
      **kwargs: Those of a Keras layer.

    Input shape: floats [..., d].

    Output shape: [..., R, B], of the layer's compute dtype. The losses and
    aggregations of `tfrs_dhe.mach` continue in float32.

    Attributes:
      kernel: Weight [R * B, d]; row r B + b belongs to bucket b of repetition r.
      bias: Weight [R * B], None without.

    Raises:
      ValueError: If an argument is out of range, or inputs are no vectors of the width
        that the layer was built for.

    References:
      Medini et al., "Extreme Classification in Log Memory using Count-Min
      Sketch: A Case Study of Amazon Search with 50M Products", NeurIPS 2019.
    """

    def __init__(
        self,
        num_buckets: int,
        num_repetitions: int,
        seed: int = 0,
        repetitions: Sequence[int] | None = None,
        balanced: bool = False,
        embedding_dim: int | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        held = buckets.check_bucket_arguments(
            num_buckets, num_repetitions, seed, repetitions
        )
        self.num_buckets = int(num_buckets)
        self.num_repetitions = int(num_repetitions)
        self.seed = int(seed)
        # A tuple: Keras 3 would wrap a list for its tracking.
        self.repetitions = held
        self.balanced = balanced
        self.use_bias = use_bias
        self.embedding_dim = embedding_dim
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        # Set here, so that ids can be hashed before the layer is built.
        self.boundaries = None
        if balanced:
            self.boundaries = self.add_weight(
                name="boundaries",
                shape=(len(held), self.num_buckets - 1),
                # Integers of 32 bits cannot be variables on a GPU.
                dtype="int64",
                initializer=_Boundaries(self.num_buckets),
                trainable=False,
            )
        if embedding_dim is not None:
            _arguments.check_positive_integer("embedding_dim", embedding_dim)
            self.build((None, int(embedding_dim)))

    def build(self, input_shape: Any) -> None:
        """Creates the rows [R * B, d] and the biases [R * B]."""
        if self.built:
            return
        embedding_dim = _specs.known_width(self, input_shape)
        num_rows = len(self.repetitions) * self.num_buckets
        self._add_rows(num_rows, embedding_dim)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(num_rows,), initializer=self.bias_initializer
            )
        super().build(input_shape)

    def _add_rows(self, num_rows: int, embedding_dim: int) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(num_rows, embedding_dim),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )

    @no_autograph
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the logits [..., R, B] of vectors [..., d]."""
        dtype = self.compute_dtype
        inputs = tf.cast(self._checked(inputs), dtype)
        flat = tf.reshape(inputs, [-1, inputs.shape[-1]])
        logits = self._products(flat)
        if self.bias is not None:
            logits += tf.cast(self.bias, dtype)
        sizes = [len(self.repetitions), self.num_buckets]
        logits = tf.reshape(logits, tf.concat([tf.shape(inputs)[:-1], sizes], axis=0))
        return tf.ensure_shape(logits, [*inputs.shape[:-1], *sizes])

    def _checked(self, inputs: Any) -> tf.Tensor:
        """Returns vectors [..., d], or raises a ValueError if they are none."""
        inputs = tf.convert_to_tensor(inputs)
        if inputs.dtype == tf.string:
            raise ValueError(
                "`inputs` must be numbers [..., d], vectors of queries. Received dtype "
                "string. Ids of classes go into `bucket_ids`, or into a task as "
                "`candidate_ids`."
            )
        expected = tf.TensorShape([self.kernel.shape[-1]])
        if not inputs.shape[-1:].is_compatible_with(expected):
            raise ValueError(
                f"`inputs` must be vectors [..., d] of d = {expected[0]} numbers, for "
                f"which the head was built. Received shape {inputs.shape}."
            )
        return inputs

    def _products(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the products [n, R * B] of vectors [n, d] with all rows."""
        kernel = tf.cast(self.kernel, self.compute_dtype)
        return tf.matmul(inputs, kernel, transpose_b=True)

    def _gathered(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns rows [..., d] by their numbers [...]."""
        embeddings = tf.gather(tf.convert_to_tensor(self.kernel), rows)
        return tf.cast(embeddings, self.compute_dtype)

    def bucket_ids(self, class_ids: tf.Tensor) -> tf.Tensor:
        """Returns the buckets that classes fall into.

        Args:
          class_ids: Strings or integers [...], dense or ragged.

        Returns:
          tf.int32 [..., R], from 0 to B - 1.

        Raises:
          ValueError: If the ids are neither strings nor integers.
        """
        return mach.bucket_ids(class_ids, **self._hash_arguments())

    def bucket_table(self, class_ids: Any) -> np.ndarray:
        """Returns the buckets of a whole catalogue as an array.

        Args:
          class_ids: Strings or integers [K].

        Returns:
          uint8, uint16 or int32 [R, K], the smallest that holds B - 1.

        Raises:
          ValueError: If the ids are neither strings nor integers, or not one list.
        """
        return mach.bucket_table(class_ids, **self._hash_arguments())

    def class_embeddings(self, class_ids: tf.Tensor) -> tf.Tensor:
        """Returns the sums of the rows of each class's buckets.

        The layer has to be built: by a call, or by `embedding_dim`.

        Args:
          class_ids: Strings or integers [...].

        Returns:
          [..., d], of the layer's compute dtype.

        Raises:
          ValueError: If the ids are neither strings nor integers, or the layer is
            not built.
        """
        self._require_built("class_embeddings")
        return tf.reduce_sum(self._gathered(self._rows(class_ids)), axis=-2)

    def class_scores(self, inputs: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
        """Returns the joint scores `sum_r z[r][h_r(c)]` of given classes.

        Args:
          inputs: Floats [batch, d].
          class_ids: Strings or integers [num_classes], scored for every example.

        Returns:
          [batch, num_classes], of the layer's compute dtype.

        Raises:
          ValueError: If the ids are neither strings nor integers, the inputs are no
            vectors of the head's width, or the layer is not built.
        """
        embeddings = self.class_embeddings(class_ids)
        inputs = tf.cast(self._checked(inputs), self.compute_dtype)
        scores = tf.matmul(inputs, embeddings, transpose_b=True)
        if self.bias is None:
            return scores
        biases = tf.gather(tf.convert_to_tensor(self.bias), self._rows(class_ids))
        return scores + tf.cast(tf.reduce_sum(biases, axis=-1), self.compute_dtype)

    def balance(self, class_ids: Any, counts: np.ndarray | None = None) -> None:
        """Cuts the buckets so that a catalogue fills them evenly.

        To be called before training, once: afterwards most classes are in other
        buckets. See `mach.balanced_boundaries`.

        Args:
          class_ids: The catalogue: distinct strings or integers [K].
          counts: How often each class occurs [K], to give every bucket an equal
            share of the occurrences in place of the classes.

        Raises:
          ValueError: If the layer was made without `balanced=True`, or the
            arguments do not fit.
        """
        if self.boundaries is None:
            raise ValueError(
                "`balance` needs a layer that keeps the boundaries of its buckets: "
                "MACHHead(..., balanced=True)."
            )
        arguments = self._hash_arguments()
        del arguments["boundaries"]
        self.boundaries.assign(
            mach.balanced_boundaries(class_ids, weights=counts, **arguments)
        )

    def initialize_bias(
        self, class_ids: Any, counts: np.ndarray, num_examples: int | None = None
    ) -> None:
        """Sets every bias to what the frequencies of the classes say of its bucket.

        Training then starts at the frequencies rather than having to learn them.
        For a softmax over buckets, a bias is the logarithm of the bucket's share of
        the occurrences; to each bucket one is added, so that an empty one is
        unlikely and not impossible. For sigmoids (several classes to an example;
        give `num_examples`), a bias is the log-odds of the probability that an
        example has a class in the bucket, taking classes as independent:

        ```
        p = 1 - prod_c (1 - n_c / N),   b = log(p / (1 - p)),   1 / (N + 2) <= p
        ```

        and p at most `(N + 1) / (N + 2)`.

        Args:
          class_ids: Strings or integers [K].
          counts: How often each class occurs, n_c [K].
          num_examples: N, for a head that is trained with sigmoids: the number of
            examples that the counts are of, at least the largest count.

        Raises:
          ValueError: If the arguments do not fit, or the layer has no bias or is
            not built.
        """
        self._require_built("initialize_bias")
        if self.bias is None:
            raise ValueError("`initialize_bias` needs a layer with use_bias=True.")
        table = self.bucket_table(class_ids)
        counts = buckets.check_weights(counts, table.shape[1], "counts")
        if num_examples is None:
            total = counts.sum() + self.num_buckets
            biases = [np.log((sums + 1) / total) for sums in self._sums(table, counts)]
        else:
            _arguments.check_positive_integer("num_examples", num_examples)
            if counts.max() > num_examples:
                raise ValueError(
                    "`num_examples` must be at least every one of the `counts`, which "
                    "are numbers of examples that have a class. Received: "
                    f"num_examples={num_examples} and a count of {counts.max():g}."
                )
            with np.errstate(divide="ignore"):  # a class that every example has
                absent = np.log1p(-counts / num_examples)
            least = 1 / (num_examples + 2)
            biases = []
            for sums in self._sums(table, absent):
                share = np.clip(-np.expm1(sums), least, 1 - least)
                biases.append(np.log(share) - np.log1p(-share))
        self.bias.assign(np.concatenate(biases))

    def _sums(self, table: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
        """Returns the sums [B] of the classes' values in buckets, by repetition."""
        return [
            np.bincount(row, weights=values, minlength=self.num_buckets)
            for row in table
        ]

    def quantized(self, bits: int = 8) -> Any:
        """Returns a head for serving whose rows are integers of 8 bits.

        See `QuantizedMACHHead`. The weights are copied: later training does not change
        the copy.

        Example:
        >>> head = MACHHead(num_buckets=100, num_repetitions=4, embedding_dim=16)
        >>> head.quantized()(tf.zeros([2, 16])).shape
        TensorShape([2, 4, 100])

        Args:
          bits: 8.

        Returns:
          A `QuantizedMACHHead`.

        Raises:
          ValueError: If the number of bits is another one, or the layer is not built.
        """
        # Its class derives from this one.
        from tfrs_dhe.layers.quantized_mach_head import quantize

        return quantize(self, bits)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the input's shape with (R, B) in place of its last dimension."""
        sizes = (len(self.repetitions), self.num_buckets)
        return (*_specs.shape_tuple(input_shape)[:-1], *sizes)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns the symbolic output (Keras 3)."""
        return _specs.output_spec(self, inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_buckets": self.num_buckets,
            "num_repetitions": self.num_repetitions,
            "seed": self.seed,
            "repetitions": list(self.repetitions),
            "balanced": self.balanced,
            "embedding_dim": self.embedding_dim,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }

    def _hash_arguments(self) -> dict[str, Any]:
        return {
            "num_buckets": self.num_buckets,
            "num_repetitions": self.num_repetitions,
            "seed": self.seed,
            "repetitions": self.repetitions,
            "boundaries": (
                None
                if self.boundaries is None
                else tf.convert_to_tensor(self.boundaries)
            ),
        }

    def _rows(self, class_ids: tf.Tensor) -> tf.Tensor:
        """Returns the rows of the kernel [..., R] that belong to classes [...]."""
        first = tf.range(len(self.repetitions)) * self.num_buckets
        return self.bucket_ids(class_ids) + first

    def _require_built(self, what: str) -> None:
        if not self.built:
            raise ValueError(
                f"`{what}` needs the weights of the MACHHead, which are made when it "
                "is first called. To use it earlier, give the width of the "
                "embeddings: MACHHead(..., embedding_dim=64)."
            )


class _Boundaries(keras.initializers.Initializer):
    """Cuts the hash values into equal parts."""

    def __init__(self, num_buckets: int) -> None:
        self._num_buckets = num_buckets

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        return tf.constant(
            buckets.equal_boundaries(self._num_buckets, shape[0]), tf.int64
        )
