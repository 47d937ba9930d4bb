"""The layers that are compared, each of a share of the full table's parameters."""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf
from growing_table import GrowingTable
from variants import VARIANTS

from tfrs_dhe import layers
from tfrs_dhe._keras import keras

OUTPUT_DIM = 32


def _table(ids, share, seed):
    if share != 1:
        raise ValueError(f"The full table has a share of 1. Received: {share}.")
    return layers.VocabularyEmbedding(OUTPUT_DIM, ids)


def _table_for_frequent(ids, share, seed):
    """The twentieth that is rarest has one row, which new ids have then too."""
    return layers.VocabularyEmbedding(OUTPUT_DIM, ids[: -(len(ids) // 20) or None])


def _growing_table(ids, share, seed):
    return GrowingTable(OUTPUT_DIM, ids, capacity=4 * len(ids))


def _growing_table_trained_unknown(ids, share, seed):
    """As `_table_for_frequent`; later, an id that occurs once has the row of all."""
    frequent = ids[: -(len(ids) // 20) or None]
    return GrowingTable(OUTPUT_DIM, frequent, capacity=4 * len(ids), min_count=2)


def _narrow_table(ids, share, seed):
    return layers.VocabularyEmbedding(max(1, round(OUTPUT_DIM * share)), ids)


def _frequent_rows(ids, share, seed):
    return layers.VocabularyEmbedding(OUTPUT_DIM, ids, **_budget(ids, share))


def _compositional(ids, share, seed):
    return layers.CompositionalEmbedding(OUTPUT_DIM, ids, **_budget(ids, share))


def _hashed(layer, **options):
    def make(ids, share, seed):
        budget = _budget(ids, share)
        return layer(OUTPUT_DIM, seed=seed, **budget, **options)

    return make


def _unified(ids, share, seed):
    return layers.UnifiedEmbedding(OUTPUT_DIM, **_budget(ids, share))


def _deep_hash(ids, share, seed):
    return layers.DeepHashEmbedding(
        OUTPUT_DIM, seed=seed, deduplicate=True, **_budget(ids, share)
    )


def _varied(variant):
    def make(ids, share, seed):
        return variant.make(OUTPUT_DIM, ids, seed, **_budget(ids, share))

    return make


def _deep_bloom(ids, share, seed):
    """Narrow sums of hashed rows, decoded by a small network without normalization."""
    width, network = 4, {"num_hidden_layers": 2, "normalization": None}
    decoder = layers.EmbeddingNetwork(OUTPUT_DIM, 64, **network)
    decoder.build((None, width))
    budget = int(share * len(ids) * OUTPUT_DIM) - decoder.count_params()
    encoding = layers.BloomEmbedding(width, parameter_budget=budget, seed=seed)
    return layers.DeepHashEmbedding(
        OUTPUT_DIM, 64, encoding=encoding, deduplicate=True, **network
    )


def _dedicated(ids, share, seed, **options):
    """A row for each known id, and a small network for others.

    What a new id hashes to says nothing of it, so there are few hashes.
    """
    if share != 1:
        raise ValueError(f"All known ids have rows: a share of 1. Received: {share}.")
    network = layers.DeepHashEmbedding(
        OUTPUT_DIM, 32, num_hidden_layers=2, num_hashes=2, seed=seed
    )
    return layers.DedicatedRowsEmbedding(network, ids, **options)


def _budget(ids, share):
    return {"parameter_budget": share, "table_shape": (len(ids), OUTPUT_DIM)}


class WithFeatures(keras.layers.Layer):
    """Side features beside an embedding that does not know any.

    A Dense layer takes both, so that the result has the embedding's width.

    Args:
      layer: From ids to embeddings.
    """

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.dense = keras.layers.Dense(OUTPUT_DIM)

    def call(self, ids, side_features, training=None):
        """Returns embeddings [n, 32] of ids [n] and features [n, s]."""
        embeddings = self.layer(ids, training=training)
        return self.dense(tf.concat([embeddings, side_features], axis=1))


@dataclasses.dataclass(frozen=True)
class Method:
    """How a layer is made.

    Attributes:
      make: From distinct ids, the most frequent first, a share and a seed to a layer.
      takes_features: Whether its calls take side features.
    """

    make: Callable
    takes_features: bool = False


METHODS = {
    "table": Method(_table),
    "table_trained_unknown": Method(_table_for_frequent),
    "narrow_table": Method(_narrow_table),
    "frequent_rows": Method(_frequent_rows),
    "compositional": Method(_compositional),
    "hashing_trick": Method(_hashed(layers.HashingTrickEmbedding)),
    "signed_hashing_trick": Method(_hashed(layers.HashingTrickEmbedding, signed=True)),
    "bloom": Method(_hashed(layers.BloomEmbedding)),
    "double_hash": Method(_hashed(layers.DoubleHashEmbedding)),
    "hash_embedding": Method(_hashed(layers.HashEmbedding)),
    "unified": Method(_unified),
    "deep_hash": Method(_deep_hash, takes_features=True),
    "deep_bloom": Method(_deep_bloom, takes_features=True),
    # Side features go through the network of new items, or beside all embeddings.
    "dedicated": Method(_dedicated, takes_features=True),
    "dedicated_beside": Method(_dedicated),
}
#: Methods with one thing changed.
STUDIED = {
    name: Method(_varied(variant), takes_features=variant.output_factor == 1)
    for name, variant in VARIANTS.items()
} | {
    f"{name}, row_dropout={rate}": Method(
        functools.partial(_dedicated, row_dropout=rate), METHODS[name].takes_features
    )
    for name in ("dedicated", "dedicated_beside")
    for rate in (0.0, 0.005, 0.1, 0.3)
}
#: Of the study of training on (`stream.py`) alone.
STREAMED = {
    "growing_table": Method(_growing_table),
    "growing_table_trained_unknown": Method(_growing_table_trained_unknown),
}
#: What the name of a method ends in if it is given the side features of items.
FEATURES = "+features"


def parse(name):
    """Returns the method of a name, and whether items have side features.

    Raises:
      ValueError: If there is none of that name.
    """
    base = name.removesuffix(FEATURES)
    known = METHODS | STUDIED | STREAMED
    if base not in known:
        raise ValueError(f"`name` must be one of {tuple(known)}. Received: {name!r}.")
    return known[base], name != base


def with_features(method, layer):
    """Returns a layer of a method that takes side features."""
    if not method.takes_features:
        return WithFeatures(layer)
    if isinstance(layer, layers.DeepHashEmbedding):
        layer.deduplicate = False  # Equal ids are told apart by features, if any.
    return layer
