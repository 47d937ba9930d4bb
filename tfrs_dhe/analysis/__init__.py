"""Whether it fits, why it answered so, and when it drifts.

What the papers leave open and a team has to know before it deploys: properties of
encodings, distributions of ids and classes. Results are objects that print and, with
`plot`, draw; matplotlib is needed for that alone.
"""

from tfrs_dhe.analysis.count_min_sketch import CountMinSketch
from tfrs_dhe.analysis.distinct_sample import DistinctSample
from tfrs_dhe.analysis.distribution import Distribution, FrequentId, describe_ids
from tfrs_dhe.analysis.encoding_properties import (
    EncodingComparison,
    EncodingProperties,
    compare_encodings,
    encoding_properties,
)
from tfrs_dhe.analysis.heavy_hitters import HeavyHitters
from tfrs_dhe.analysis.id_sketch import IdSketch, sketch_ids
from tfrs_dhe.analysis.sizing import NetworkSize, Sizing, size_models
from tfrs_dhe.analysis.zipf import ZipfFit, fit_zipf

__all__ = [
    "CountMinSketch",
    "DistinctSample",
    "Distribution",
    "EncodingComparison",
    "EncodingProperties",
    "FrequentId",
    "HeavyHitters",
    "IdSketch",
    "NetworkSize",
    "Sizing",
    "ZipfFit",
    "compare_encodings",
    "describe_ids",
    "encoding_properties",
    "fit_zipf",
    "size_models",
    "sketch_ids",
]
