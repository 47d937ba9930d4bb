"""Names and orders of arguments that users rely on; more may be added at the end."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tfrs_dhe import hashing, layers, mach, serving, tasks

SIGNATURES: list[tuple[Callable[..., Any], str]] = [
    (hashing.cityhash64, "strings"),
    (layers.CityHash64, ""),
    (
        layers.DenseHashEncoding,
        "num_hashes=1024 num_buckets=1000000 distribution='uniform' "
        "hash_family='multiply_shift' seed=0",
    ),
    (
        layers.EmbeddingNetwork,
        "output_dim hidden_dim num_hidden_layers=5 activation='mish' "
        "normalization='batch'",
    ),
    (
        layers.DeepHashEmbedding,
        "output_dim hidden_dim=None parameter_budget=None num_hidden_layers=5 "
        "num_hashes=1024",
    ),
    (
        layers.DeepHashEmbedding.call,
        "self ids side_features=None training=None",
    ),
    (
        layers.DeepHashEmbedding.materialize,
        "self ids dtype='float32' batch_size=8192",
    ),
    (layers.DeepHashEmbedding.inference_form, "self deduplicate=None"),
    (layers.MACHHead.quantized, "self bits=8"),
    (layers.EmbeddingNetwork.call, "self inputs training=None"),
    (layers.LocalitySensitiveHash, "num_bits seed=0"),
    (layers.MACHHead, "num_buckets num_repetitions seed=0"),
    (layers.MACHHead.bucket_ids, "self class_ids"),
    (layers.VocabularyEmbedding, "output_dim vocabulary parameter_budget=None"),
    (layers.BloomEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.HashingTrickEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.DoubleHashEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.HashEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.CompositionalEmbedding, "output_dim vocabulary num_remainders=None"),
    (layers.UnifiedEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.FeatureHashing, "num_bins num_hashes=1 signed=True seed=0"),
    (mach.plan, "num_classes embedding_dim"),
    (tasks.gather_candidates, "candidates"),
    (serving.export, "servable base_path sample_inputs"),
]


@pytest.mark.parametrize(
    ("documented", "expected"), SIGNATURES, ids=[f.__qualname__ for f, _ in SIGNATURES]
)
def test_arguments(documented: Callable[..., Any], expected: str) -> None:
    parameters = list(inspect.signature(documented).parameters.values())
    for parameter, words in zip(parameters, expected.split(), strict=False):
        name, _, default = words.partition("=")
        assert parameter.name == name
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if default:
            assert repr(parameter.default) == default
    assert len(parameters) >= len(expected.split())
