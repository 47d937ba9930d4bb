"""Studies of deep hash embeddings: the layer with one thing changed at a time.

Each is a share of the full table, as the layer with its defaults, `deep_hash`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrs_dhe import layers
from tfrs_dhe._keras import keras


class Positions(keras.layers.Layer):
    """The place of an id in a list of known ones, before an encoding.

    What the paper calls identity and binary encodings is of ids that count from 0, as
    those of sets that were numbered.

    Args:
      ids: All ids, int64 [n].
      encoding: From places, int64 [n], to floats [n, width].
      width: Of the encoding.
    """

    def __init__(self, ids, encoding, width):
        super().__init__()
        self.sorted_ids = np.sort(np.asarray(ids))
        self.encoding = encoding
        self.width = width

    def call(self, ids):
        """Returns the encodings [n, width] of ids [n]."""
        return self.encoding(tf.searchsorted(self.sorted_ids, ids, out_type=tf.int64))

    def compute_output_shape(self, input_shape):
        """Returns the input's shape with the width added."""
        return (*input_shape, self.width)


class Scaled(keras.layers.Layer):
    """An encoding times a number.

    Args:
      encoding: A layer from ids to floats.
      factor: The number.
    """

    def __init__(self, encoding, factor):
        super().__init__()
        self.encoding = encoding
        self.factor = factor

    def call(self, ids, training=None):
        """Returns the encodings [n, width] of ids [n]."""
        return self.factor * self.encoding(ids, training=training)

    def compute_output_shape(self, input_shape):
        """Returns that of the encoding."""
        return self.encoding.compute_output_shape(input_shape)


def _identity(ids, seed):
    last = len(ids) - 1

    def encode(places):
        return (2.0 * tf.cast(places, tf.float32) / last - 1.0)[:, tf.newaxis]

    return Positions(ids, encode, 1)


def _binary(ids, seed):
    digits = (len(ids) - 1).bit_length()

    def encode(places):
        shifts = tf.range(digits, dtype=tf.int64)
        bits = tf.bitwise.right_shift(places[:, tf.newaxis], shifts)
        return 2.0 * tf.cast(bits % 2, tf.float32) - 1.0

    return Positions(ids, encode, digits)


def _of_numbered(**options):
    def make(ids, seed):
        encoding = layers.DenseHashEncoding(seed=seed, **options)
        return Positions(ids, encoding, encoding.num_hashes)

    return make


def _unit_variance(ids, seed):
    # A uniform number from -1 to 1 has the variance 1 / 3.
    return Scaled(layers.DenseHashEncoding(seed=seed), 3**0.5)


class ResidualNetwork(layers.EmbeddingNetwork):
    """A decoder whose hidden layers add to what goes in, where that is as wide."""

    def _decode_rows(self, rows, row_weights, training, compiled):
        *hidden, output = self._denses()
        for i, dense in enumerate(hidden):
            normalize = getattr(self, f"normalization_{i}")
            outputs = normalize(dense(rows), row_weights=row_weights, training=training)
            is_as_wide = outputs.shape[-1] == rows.shape[-1]
            rows = self.activation(outputs) + (rows if is_as_wide else 0.0)
        return output(rows)


class ResidualEmbedding(layers.DeepHashEmbedding):
    """A deep hash embedding with a `ResidualNetwork`."""

    def _network_class(self):
        return ResidualNetwork


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is changed.

    Attributes:
      options: Of `DeepHashEmbedding`.
      encoding: From all ids and a seed to an encoding that takes the hashes' place.
      output_factor: What embeddings are multiplied by.
      layer: A class of deep hash embeddings.
    """

    options: dict = dataclasses.field(default_factory=dict)
    encoding: Callable | None = None
    output_factor: float = 1.0
    layer: type = layers.DeepHashEmbedding

    def make(self, output_dim, ids, seed, **budget):
        """Returns the layer for ids [n]."""
        options = dict(self.options)
        if self.encoding is None:
            options["seed"] = seed
        else:
            options["encoding"] = self.encoding(ids, seed)
        layer = self.layer(output_dim, deduplicate=True, **budget, **options)
        return layer if self.output_factor == 1 else Scaled(layer, self.output_factor)


def _options(name, values):
    return {f"{name}={value}": Variant({name: value}) for value in values}


STUDIES = {
    "encoding": {
        **_options("distribution", ["gaussian"]),
        "identity": Variant(encoding=_identity),
        "binary": Variant(encoding=_binary),
        **_options("num_hashes", [1, 2, 8, 32, 64, 128, 256, 512, 2048]),
        **_options("num_buckets", [2, 100, 10_000]),
        **_options("hash_family", ["carter_wegman"]),
        "numbered ids": Variant(encoding=_of_numbered()),
        "numbered ids, mix_keys=False": Variant(encoding=_of_numbered(mix_keys=False)),
        "numbered ids, carter_wegman, mix_keys=False": Variant(
            encoding=_of_numbered(mix_keys=False, hash_family="carter_wegman")
        ),
    },
    "decoder": {
        **_options("num_hidden_layers", [1, 2, 3, 4, 6, 7]),
        **_options("activation", ["relu", "gelu", "tanh"]),
        **_options("normalization", ["layer", None]),
        **_options("order", ["activate_then_normalize"]),
    },
    "ingredients": {
        "encoding of variance 1": Variant(encoding=_unit_variance),
        "output x 0.3": Variant(output_factor=0.3),
        "output x 3": Variant(output_factor=3.0),
        **_options("kernel_initializer", ["he_normal"]),
        **_options("momentum", [0.9]),
        "residual": Variant(layer=ResidualEmbedding),
        "k=128, 2 layers": Variant({"num_hashes": 128, "num_hidden_layers": 2}),
        "k=256, 2 layers": Variant({"num_hashes": 256, "num_hidden_layers": 2}),
        "k=256, 3 layers": Variant({"num_hashes": 256, "num_hidden_layers": 3}),
    },
}
#: All of them by the names of methods.
VARIANTS = {
    f"deep_hash, {name}": variant
    for variants in STUDIES.values()
    for name, variant in variants.items()
}
