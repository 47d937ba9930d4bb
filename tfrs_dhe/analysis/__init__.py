"""Whether it fits, why it answered so, and when it drifts.

What the papers leave open and a team has to know before it deploys: properties of
encodings, distributions of ids and classes. Results are objects that print and, with
`plot`, draw; matplotlib is needed for that alone.
"""

from tfrs_dhe.analysis.bucket_borrowing import borrow_buckets
from tfrs_dhe.analysis.calibration import Calibration, bucket_calibration
from tfrs_dhe.analysis.count_min_sketch import CountMinSketch
from tfrs_dhe.analysis.distinct_sample import DistinctSample
from tfrs_dhe.analysis.distribution import Distribution, FrequentId, describe_ids
from tfrs_dhe.analysis.divergences import (
    expected_jensen_shannon,
    expected_psi,
    jensen_shannon_distance,
    population_stability_index,
)
from tfrs_dhe.analysis.drift_callback import DriftCallback
from tfrs_dhe.analysis.drift_report import DriftReport, DriftThresholds
from tfrs_dhe.analysis.embedding_explanation import (
    EmbeddingExplanation,
    InputEffect,
    Neighbor,
    explain_embedding,
)
from tfrs_dhe.analysis.encodings import (
    EncodingComparison,
    EncodingProperties,
    compare_encodings,
    encoding_properties,
)
from tfrs_dhe.analysis.error_explanation import (
    ErrorExplanation,
    SharedBucket,
    explain_error,
    explain_examples,
)
from tfrs_dhe.analysis.explanation import (
    BucketEvidence,
    Explanation,
    SharingClass,
    explain,
)
from tfrs_dhe.analysis.heavy_hitters import HeavyHitters
from tfrs_dhe.analysis.id_drift import FrequencyChange, IdDrift, compare_ids
from tfrs_dhe.analysis.id_files import read_ids
from tfrs_dhe.analysis.id_sketch import IdSketch, sketch_ids
from tfrs_dhe.analysis.new_classes import ClassRanks, NewClassRanks, rank_new_classes
from tfrs_dhe.analysis.normalization_drift import (
    BatchNormDrift,
    NormalizationDrift,
    batch_norm_drift,
)
from tfrs_dhe.analysis.rank_stages import RankStages
from tfrs_dhe.analysis.retraining import RetrainingAge, retraining_age
from tfrs_dhe.analysis.samples import in_sample
from tfrs_dhe.analysis.seed_sensitivity import SeedPair, SeedSensitivity, compare_seeds
from tfrs_dhe.analysis.sizing import NetworkSize, Sizing, size_models
from tfrs_dhe.analysis.sweep_results import Effect, Sweep, SweepMean, SweepPoint
from tfrs_dhe.analysis.sweeping import sweep
from tfrs_dhe.analysis.training_summaries import TrainingSummaries
from tfrs_dhe.analysis.zipf import ZipfFit, fit_zipf

__all__ = [
    "BatchNormDrift",
    "BucketEvidence",
    "Calibration",
    "ClassRanks",
    "CountMinSketch",
    "DistinctSample",
    "Distribution",
    "DriftCallback",
    "DriftReport",
    "DriftThresholds",
    "Effect",
    "EmbeddingExplanation",
    "EncodingComparison",
    "EncodingProperties",
    "ErrorExplanation",
    "Explanation",
    "FrequencyChange",
    "FrequentId",
    "HeavyHitters",
    "IdDrift",
    "IdSketch",
    "InputEffect",
    "Neighbor",
    "NetworkSize",
    "NewClassRanks",
    "NormalizationDrift",
    "RankStages",
    "RetrainingAge",
    "SeedPair",
    "SeedSensitivity",
    "SharedBucket",
    "SharingClass",
    "Sizing",
    "Sweep",
    "SweepMean",
    "SweepPoint",
    "TrainingSummaries",
    "ZipfFit",
    "batch_norm_drift",
    "borrow_buckets",
    "bucket_calibration",
    "compare_encodings",
    "compare_ids",
    "compare_seeds",
    "describe_ids",
    "encoding_properties",
    "expected_jensen_shannon",
    "expected_psi",
    "explain",
    "explain_embedding",
    "explain_error",
    "explain_examples",
    "fit_zipf",
    "in_sample",
    "jensen_shannon_distance",
    "population_stability_index",
    "rank_new_classes",
    "read_ids",
    "retraining_age",
    "size_models",
    "sketch_ids",
    "sweep",
]
