"""Names and orders of arguments that users rely on; more may be added at the end."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tfrs_dhe import analysis, hashing, layers, mach, serving, tasks

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
    (layers.DedicatedRowsEmbedding, "embedding ids=None num_rows=None"),
    (layers.BloomEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.HashingTrickEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.DoubleHashEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.HashEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.CompositionalEmbedding, "output_dim vocabulary num_remainders=None"),
    (layers.UnifiedEmbedding, "output_dim num_buckets=None parameter_budget=None"),
    (layers.FeatureHashing, "num_bins num_hashes=1 signed=True seed=0"),
    (mach.plan, "num_classes embedding_dim"),
    (analysis.encoding_properties, "encoding ids"),
    (analysis.compare_encodings, "ids encoding=None"),
    (analysis.describe_ids, "ids"),
    (analysis.sketch_ids, "ids"),
    (analysis.read_ids, "path columns='0'"),
    (analysis.size_models, "distribution embedding_dim"),
    (analysis.fit_zipf, "counts min_count=10"),
    (analysis.CountMinSketch, "width=65536 depth=4 seed=0"),
    (analysis.HeavyHitters, "capacity=1024"),
    (analysis.DistinctSample, "capacity=65536 seed=0"),
    (analysis.sweep, "evaluate grid directory"),
    (analysis.in_sample, "ids share seed=0"),
    (analysis.explain, "index query identifier=None"),
    (analysis.explain_error, "index query true_identifier"),
    (analysis.explain_examples, "index examples num_right num_wrong"),
    (analysis.explain_embedding, "layer identifier candidates"),
    (analysis.compare_seeds, "layers ids k=10"),
    (analysis.rank_new_classes, "index examples trained_ids"),
    (analysis.borrow_buckets, "index new_ids similar_ids"),
    (analysis.retraining_age, "windows"),
    (analysis.compare_ids, "reference live"),
    (analysis.bucket_calibration, "head examples"),
    (analysis.batch_norm_drift, "layer ids side_features=None"),
    (analysis.population_stability_index, "reference live smoothing=0.5"),
    (analysis.jensen_shannon_distance, "reference live smoothing=0.0"),
    (analysis.DriftCallback, "reference=None live=None"),
    (analysis.TrainingSummaries, "log_dir"),
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
