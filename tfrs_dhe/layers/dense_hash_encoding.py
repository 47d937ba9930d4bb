"""The layer that makes a dense real vector of an id."""

import functools
from typing import Any

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.hashing import transforms, universal
from tfrs_dhe.layers import _arguments, _compiled_encoding, _specs


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class DenseHashEncoding(keras.layers.Layer):
    """Encodes ids as dense vectors of k universal hashes, without any weight.

    `E(s) = transform([H_1(s), ..., H_k(s)])` with universal hash functions
    `H_i: {0, ..., 2^64 - 1} -> {1, ..., m}`. The transform scales the hashes to
    [-1, 1] or, pair by pair, to standard normals. Any id has an encoding, and no
    two are closer to each other than others.

    Hash values are exact integers and the same in eager mode, in graphs, under
    XLA, on every device, in both Kerases and after export. Uniform encodings have
    the same bits everywhere as well; Gaussian ones go through logarithm, sine and
    cosine, whose last digits depend on the compiler.

    On a CPU, large uniform encodings are compiled by XLA in eager mode and where a
    graph is traced with training=True, which takes a seventh of the time, and 60 ms
    once for a size. Exports, and whatever else is traced, hold stock ops alone. Set the
    attribute `jit_compile` to False to have it so everywhere.

    Example:
    >>> layer = DenseHashEncoding(num_hashes=4)
    >>> layer(tf.constant([17, -3])).shape
    TensorShape([2, 4])

    Args:
      num_hashes: k, the width of the encoding; even for `"gaussian"`.
      num_buckets: m, the number of values of a hash, from 2 to 2^31 - 1. Beyond
        2^24, float32 cannot tell all of them apart.
      distribution: `"uniform"` or `"gaussian"`.
      hash_family: `"multiply_shift"`, or `"carter_wegman"` for the paper's
        `((a x + b) mod p) mod m`.
      seed: Integer in [0, 2^64) from which all hash functions follow. It may not
        change in the life of a model.
      mix_keys: Whether to scramble ids by a bijection before they are hashed.
        Without it, consecutive ids have related encodings.
      **kwargs: Those of a Keras layer.

    Input shape: int32, int64, uint64 or another integer type, of any rank, dense
      or ragged. For strings, use `CityHash64` first.

    Output shape: [..., num_hashes], of the layer's compute dtype. With a mixed
      precision policy the encoding is rounded to it; the hashes are not.

    Raises:
      ValueError: If an argument is out of range or the input is not integers.

    References:
      Kang et al., "Learning to Embed Categorical Features without Embedding
      Tables for Recommendation", KDD 2021, section 3.1, algorithm 2.
    """

    def __init__(
        self,
        num_hashes: int = 1024,
        num_buckets: int = 1_000_000,
        distribution: str = "uniform",
        hash_family: str = "multiply_shift",
        seed: int = 0,
        mix_keys: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        universal.check_universal_hash_arguments(
            num_hashes, num_buckets, hash_family, seed
        )
        _arguments.check_one_of("distribution", distribution, transforms.DISTRIBUTIONS)
        if distribution == "gaussian":
            transforms.check_even(num_hashes)
        self.num_hashes = int(num_hashes)
        self.num_buckets = int(num_buckets)
        self.distribution = distribution
        self.hash_family = hash_family
        self.seed = int(seed)
        self.mix_keys = mix_keys
        self.supports_masking = True
        self.jit_compile = True

    @no_autograph
    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the encodings [..., num_hashes] of integer ids [...].

        Args:
          inputs: Integers [...], dense or ragged.
          training: Whether the graph that is traced trains, so that it will not be
            exported. The encoding is the same.
        """
        if isinstance(inputs, tf.RaggedTensor):
            flat_values = self.call(inputs.flat_values, training)
            return inputs.with_flat_values(flat_values)
        encode = functools.partial(
            _encode,
            num_hashes=self.num_hashes,
            num_buckets=self.num_buckets,
            distribution=self.distribution,
            hash_family=self.hash_family,
            seed=self.seed,
            mix_keys=self.mix_keys,
        )
        # Compilers round logarithm, sine and cosine in ways of their own.
        has_same_bits = self.distribution == "uniform"
        if self.jit_compile and has_same_bits and _compiled_encoding.is_safe(training):
            keys = tf.bitcast(universal.as_keys(inputs), tf.int64)
            rows = _compiled(**encode.keywords)(tf.reshape(keys, [-1]))
            shape = tf.concat([tf.shape(inputs), [self.num_hashes]], axis=0)
            encodings = tf.ensure_shape(
                tf.reshape(rows, shape), [*inputs.shape, self.num_hashes]
            )
        else:
            encodings = encode(inputs)
        return tf.cast(encodings, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the input's shape with the encoding's width added."""
        return (*_specs.shape_tuple(input_shape), self.num_hashes)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns the symbolic output (Keras 3)."""
        _specs.check_id_spec(inputs)
        return _specs.output_spec(self, inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_hashes": self.num_hashes,
            "num_buckets": self.num_buckets,
            "distribution": self.distribution,
            "hash_family": self.hash_family,
            "seed": self.seed,
            "mix_keys": self.mix_keys,
        }


def _encode(
    ids: tf.Tensor,
    num_hashes: int,
    num_buckets: int,
    distribution: str,
    hash_family: str,
    seed: int,
    mix_keys: bool,
) -> tf.Tensor:
    buckets = universal.universal_buckets(
        ids, num_hashes, num_buckets, hash_family=hash_family, mix=mix_keys, seed=seed
    )
    return transforms.encode(buckets, num_buckets, distribution)


@functools.lru_cache(64)
def _compiled(num_hashes: int, **arguments: Any) -> _compiled_encoding.Encode:
    """One program for all layers of the same hash functions."""
    encode = functools.partial(_encode, num_hashes=num_hashes, **arguments)
    return _compiled_encoding.compiled(encode, num_hashes)
