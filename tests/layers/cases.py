"""Every public layer in every form that the same list of checks runs on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrs_dhe import layers
from tfrs_dhe._keras import is_legacy, keras

STRINGS = np.array(["", "user_17", "ü", "a" * 100, "user_17", "zzz"], dtype=object)
INTEGERS = np.array([0, -1, 2**62, 17, 17, -(2**63)], dtype=np.int64)
PADDED = np.array([["a", "b", ""], ["c", "", ""]] * 3, dtype=object)
FLOATS = np.linspace(-2, 2, 6 * 12, dtype=np.float32).reshape(6, 12)


@dataclass(frozen=True, eq=False)  # A case equals itself alone: arrays do not hash.
class LayerCase:
    """A layer with example inputs.

    Attributes:
      name: For the test's id.
      make: Constructs the layer; takes Keras's own arguments, such as `dtype`.
      inputs: The first argument: an array, or a dict of arrays.
      side_features: The second argument, if any.
      output_shape: Expected shape or dict of shapes, worked out by hand.
      output_dtype: Expected dtype with the default policy.
      takes_training: Whether calls take the argument `training`, and it matters.
      has_network: Whether outputs are sums, which a graph may take in another order.
      has_strings: Whether the input holds strings, which XLA does not know.
    """

    name: str
    make: Callable[..., Any]
    inputs: Any
    output_shape: Any
    side_features: np.ndarray | None = None
    output_dtype: str = "float32"
    takes_training: bool = False
    has_network: bool = False
    has_strings: bool = field(init=False)

    def __post_init__(self) -> None:
        arrays = self.inputs.values() if self.is_dict else [self.inputs]
        object.__setattr__(
            self, "has_strings", any(array.dtype == object for array in arrays)
        )

    @property
    def is_dict(self) -> bool:
        return isinstance(self.inputs, dict)

    def call(self, layer: Any, training: bool | None = False) -> Any:
        return self.call_on(layer, self.inputs, self.side_features, training)

    def call_on(
        self, layer: Any, inputs: Any, side_features: Any, training: bool | None = None
    ) -> Any:
        arguments = {}
        if self.takes_training and training is not None:
            arguments["training"] = training
        if side_features is not None:
            arguments["side_features"] = side_features
        return layer(inputs, **arguments)

    def functional_model(self, layer: Any) -> Any:
        """Returns a functional model of the layer alone, and its input names."""

        def placeholder(name: str, array: np.ndarray) -> Any:
            dtype = "string" if array.dtype == object else array.dtype.name
            return keras.Input(shape=array.shape[1:], dtype=dtype, name=name)

        inputs: Any
        if self.is_dict:
            inputs = {name: placeholder(name, a) for name, a in self.inputs.items()}
            model_inputs = dict(inputs)
        else:
            inputs = placeholder("ids", self.inputs)
            model_inputs = {"ids": inputs}
        side_features = None
        if self.side_features is not None:
            side_features = placeholder("side", self.side_features)
            model_inputs["side"] = side_features
        return keras.Model(model_inputs, self.call_on(layer, inputs, side_features))

    def model_inputs(self) -> dict[str, np.ndarray]:
        inputs = dict(self.inputs) if self.is_dict else {"ids": self.inputs}
        if self.side_features is not None:
            inputs["side"] = self.side_features
        return inputs


def _dhe(**options: Any) -> Callable[..., Any]:
    defaults = {"hidden_dim": 6, "num_hidden_layers": 2, "num_hashes": 16}

    def make(**kwargs: Any) -> Any:
        return layers.DeepHashEmbedding(4, **{**defaults, **options}, **kwargs)

    return make


def _dhe_of_bloom(**options: Any) -> Callable[..., Any]:
    def make(**kwargs: Any) -> Any:
        encoding = layers.BloomEmbedding(3, num_buckets=7, name="bloom")
        return layers.DeepHashEmbedding(
            4, 6, num_hidden_layers=2, encoding=encoding, **options, **kwargs
        )

    return make


def _network(**options: Any) -> Callable[..., Any]:
    def make(**kwargs: Any) -> Any:
        return layers.EmbeddingNetwork(
            4, **{"hidden_dim": 6, "num_hidden_layers": 2, **options}, **kwargs
        )

    return make


def _inference(trained: Callable[..., Any], inputs: Any, side: Any = None) -> Any:
    """Returns how to make the inference form of a layer that has learned a bit."""

    def make(**kwargs: Any) -> Any:
        layer = trained(**kwargs)
        arguments = {} if side is None else {"side_features": side}
        layer(inputs, training=True, **arguments)
        return layer.inference_form()

    return make


def _materialized(
    ids: Any, row_dtype: str, key_index: str = "hash_table", **options: Any
) -> Callable[..., Any]:
    def make(**kwargs: Any) -> Any:
        layer = _dhe(**options)(**kwargs)
        layer(ids, training=True)
        return layer.materialize(ids, row_dtype, key_index=key_index)

    return make


def _dedicated(ids: Any, **options: Any) -> Callable[..., Any]:
    """Makes a layer that draws no random numbers."""

    def make(**kwargs: Any) -> Any:
        embedding = _dhe(**options)(**kwargs)
        return layers.DedicatedRowsEmbedding(embedding, ids, row_dropout=0, **kwargs)

    return make


def _materialized_with_side_features(**kwargs: Any) -> Any:
    layer = _dhe()(**kwargs)
    layer(INTEGERS, side_features=FLOATS, training=True)
    return layer.materialize(INTEGERS[:3], "int8", side_features=FLOATS[:3])


def _table(name: str, **options: Any) -> Callable[..., Any]:
    def make(**kwargs: Any) -> Any:
        return getattr(layers, name)(4, **options, **kwargs)

    return make


def _encoding(**options: Any) -> Callable[..., Any]:
    def make(**kwargs: Any) -> Any:
        return layers.DenseHashEncoding(8, **options, **kwargs)

    return make


def _head(**options: Any) -> Callable[..., Any]:
    def make(**kwargs: Any) -> Any:
        return layers.MACHHead(5, 3, **options, **kwargs)

    return make


def _quantized_head(**options: Any) -> Callable[..., Any]:
    def make(**kwargs: Any) -> Any:
        return _head(embedding_dim=12, **options)(**kwargs).quantized()

    return make


def _collection(**options: Any) -> Callable[..., Any]:
    def make(**kwargs: Any) -> Any:
        return layers.DeepHashEmbeddingCollection(
            ["user", "movie"],
            4,
            num_hidden_layers=2,
            num_hashes=16,
            **{"hidden_dim": 6, **options},
            **kwargs,
        )

    return make


def _trained(name: str, make: Any, inputs: Any, shape: Any, **kw: Any) -> LayerCase:
    return LayerCase(
        name, make, inputs, shape, takes_training=True, has_network=True, **kw
    )


_FEATURES = {"user": STRINGS, "movie": INTEGERS}
_FEATURE_SHAPES = {"user": (6, 4), "movie": (6, 4)}

#: It needs TFRS, which is there under legacy Keras alone.
_UNIFIED = [
    LayerCase(
        "unified-strings",
        _table("UnifiedEmbedding", num_buckets=5),
        STRINGS,
        (6, 4),
    ),
    LayerCase(
        "unified-lists",
        _table(
            "UnifiedEmbedding",
            parameter_budget=80,
            num_chunks=4,
            num_tables=2,
            mask_value="",
        ),
        PADDED,
        (6, 3, 4),
    ),
][: 2 * is_legacy]

CASES = [
    LayerCase(
        "city_hash-strings", layers.CityHash64, STRINGS, (6,), output_dtype="int64"
    ),
    LayerCase(
        "city_hash-lists", layers.CityHash64, PADDED, (6, 3), output_dtype="int64"
    ),
    LayerCase(
        "city_hash-integers", layers.CityHash64, INTEGERS, (6,), output_dtype="int64"
    ),
    LayerCase("encoding", _encoding(), INTEGERS, (6, 8)),
    LayerCase("encoding-int32", _encoding(), np.arange(6, dtype=np.int32), (6, 8)),
    LayerCase(
        "encoding-uint64", _encoding(), INTEGERS.astype(np.uint64) + 2**63, (6, 8)
    ),
    LayerCase("encoding-matrix", _encoding(), INTEGERS.reshape(2, 3), (2, 3, 8)),
    LayerCase(
        "encoding-gaussian", _encoding(distribution="gaussian"), INTEGERS, (6, 8)
    ),
    LayerCase(
        "encoding-carter_wegman",
        _encoding(hash_family="carter_wegman", seed=2**63, mix_keys=False),
        INTEGERS,
        (6, 8),
    ),
    _trained("network", _network(), FLOATS, (6, 4)),
    _trained("network-rank3", _network(), FLOATS.reshape(3, 2, 12), (3, 2, 4)),
    _trained("network-layer_norm", _network(normalization="layer"), FLOATS, (6, 4)),
    _trained(
        "network-none-relu",
        _network(normalization=None, activation="relu"),
        FLOATS,
        (6, 4),
    ),
    _trained(
        "network-activate_first",
        _network(order="activate_then_normalize", hidden_dim=(5, 7)),
        FLOATS,
        (6, 4),
    ),
    _trained(
        "network-budget",
        _network(hidden_dim=None, parameter_budget=0.5, table_shape=(100, 6)),
        FLOATS,
        (6, 4),
    ),
    _trained("dhe-strings", _dhe(), STRINGS, (6, 4)),
    _trained("dhe-integers", _dhe(), INTEGERS, (6, 4)),
    _trained("dhe-lists", _dhe(mask_value=""), PADDED, (6, 3, 4)),
    _trained(
        "dhe-lists-of-integers",
        _dhe(mask_value=0),
        np.array([[1, 2, 0], [3, 0, 0]] * 3),
        (6, 3, 4),
    ),
    _trained("dhe-deduplicate", _dhe(deduplicate=True), STRINGS, (6, 4)),
    _trained(
        "dhe-gaussian-budget",
        _dhe(hidden_dim=None, parameter_budget=700, distribution="gaussian", seed=9),
        INTEGERS,
        (6, 4),
    ),
    _trained("dhe-side_features", _dhe(), STRINGS, (6, 4), side_features=FLOATS),
    LayerCase(
        "network-inference",
        _inference(_network(order="activate_then_normalize"), FLOATS),
        FLOATS,
        (6, 4),
        has_network=True,
    ),
    LayerCase(
        "dhe-inference-deduplicate",
        _inference(_dhe(mask_value="", deduplicate=True), PADDED),
        PADDED,
        (6, 3, 4),
        has_network=True,
    ),
    LayerCase(
        "dhe-inference-side_features",
        _inference(_dhe(hidden_dim=None, parameter_budget=700), INTEGERS, FLOATS),
        INTEGERS,
        (6, 4),
        side_features=FLOATS,
        has_network=True,
    ),
    _trained(
        "dhe-bloom",
        _dhe_of_bloom(normalization=None),
        INTEGERS,
        (6, 4),
        side_features=FLOATS,
    ),
    LayerCase(
        "inference-bloom",
        _inference(_dhe_of_bloom(deduplicate=True), STRINGS),
        STRINGS,
        (6, 4),
        has_network=True,
    ),
    LayerCase(
        "materialized-integers",
        _materialized(INTEGERS[:3], "float32"),
        INTEGERS,
        (6, 4),
        has_network=True,
    ),
    LayerCase(
        "materialized-int8-strings",
        _materialized(STRINGS[:3], "int8"),
        STRINGS,
        (6, 4),
        has_network=True,
    ),
    LayerCase(
        "materialized-int4-sorted",
        _materialized(INTEGERS[:3], "int4", "sorted"),
        INTEGERS,
        (6, 4),
        has_network=True,
    ),
    LayerCase(
        "materialized-bfloat16-lists",
        _materialized(PADDED[:, :1], "bfloat16", mask_value=""),
        PADDED,
        (6, 3, 4),
        has_network=True,
    ),
    LayerCase(
        "materialized-side_features",
        _materialized_with_side_features,
        INTEGERS,
        (6, 4),
        side_features=FLOATS,
        has_network=True,
    ),
    _trained("dedicated-strings", _dedicated(["ü", "zzz", "user_17"]), STRINGS, (6, 4)),
    _trained("dedicated-lists", _dedicated(["a"], mask_value=""), PADDED, (6, 3, 4)),
    _trained(
        "dedicated-side_features",
        _dedicated(INTEGERS[:3]),
        INTEGERS,
        (6, 4),
        side_features=FLOATS,
    ),
    LayerCase(
        "vocabulary-strings",
        _table("VocabularyEmbedding", vocabulary=["ü", "zzz", "user_17"]),
        STRINGS,
        (6, 4),
    ),
    LayerCase(
        "vocabulary-integers-budget",
        _table(
            "VocabularyEmbedding",
            vocabulary=[-1, 2**62, 17],
            parameter_budget=0.6,
            table_shape=(5, 4),
        ),
        INTEGERS,
        (6, 4),
    ),
    LayerCase(
        "hashing_trick-strings",
        _table("HashingTrickEmbedding", num_buckets=5, signed=True),
        STRINGS,
        (6, 4),
    ),
    LayerCase(
        "hashing_trick-lists",
        _table("HashingTrickEmbedding", parameter_budget=30, mask_value="", seed=3),
        PADDED,
        (6, 3, 4),
    ),
    LayerCase(
        "bloom-strings",
        _table("BloomEmbedding", num_buckets=5),
        STRINGS,
        (6, 4),
    ),
    LayerCase(
        "bloom-budget-lists",
        _table(
            "BloomEmbedding",
            parameter_budget=30,
            num_hashes=2,
            signed=False,
            mask_value="",
        ),
        PADDED,
        (6, 3, 4),
    ),
    LayerCase(
        "double_hash-integers",
        _table("DoubleHashEmbedding", num_buckets=5),
        INTEGERS,
        (6, 4),
    ),
    LayerCase(
        "double_hash-concat-strings",
        _table("DoubleHashEmbedding", parameter_budget=80, combiner="concat"),
        STRINGS,
        (6, 4),
    ),
    LayerCase(
        "hash_embedding-integers",
        _table("HashEmbedding", num_buckets=5, num_hashes=3, num_importance_rows=9),
        INTEGERS,
        (6, 4),
        has_network=True,
    ),
    LayerCase(
        "hash_embedding-strings",
        _table("HashEmbedding", parameter_budget=0.5, table_shape=(100, 4)),
        STRINGS,
        (6, 4),
        has_network=True,
    ),
    LayerCase(
        "compositional-strings",
        _table(
            "CompositionalEmbedding",
            vocabulary=[*"abcdefgh", "ü"],
            num_remainders=3,
        ),
        STRINGS,
        (6, 4),
    ),
    LayerCase(
        "compositional-integers",
        _table(
            "CompositionalEmbedding",
            vocabulary=[-1, 2**62, 17, 5],
            parameter_budget=20,
            combiner="sum",
        ),
        INTEGERS,
        (6, 4),
    ),
    *_UNIFIED,
    _trained("collection", _collection(), _FEATURES, _FEATURE_SHAPES),
    _trained(
        "collection-shared",
        _collection(shared_network=True, mask_value=None, seed=3),
        _FEATURES,
        _FEATURE_SHAPES,
    ),
    _trained(
        "collection-budget",
        _collection(hidden_dim=None, parameter_budget=1500),
        _FEATURES,
        _FEATURE_SHAPES,
    ),
    LayerCase("mach_head", _head(), FLOATS, (6, 3, 5)),
    LayerCase("mach_head-rank3", _head(), FLOATS.reshape(3, 2, 12), (3, 2, 3, 5)),
    LayerCase(
        "mach_head-some-repetitions",
        _head(repetitions=(2, 0), use_bias=False, seed=2**64 - 1),
        FLOATS,
        (6, 2, 5),
    ),
    LayerCase(
        "mach_head-balanced", _head(balanced=True, embedding_dim=12), FLOATS, (6, 3, 5)
    ),
    LayerCase(
        "mach_head-int8",
        _quantized_head(balanced=True, repetitions=(2, 0)),
        FLOATS,
        (6, 2, 5),
    ),
    LayerCase(
        "locality_sensitive_hash",
        lambda **kwargs: layers.LocalitySensitiveHash(5, seed=1, **kwargs),
        FLOATS,
        (6, 5),
    ),
]
