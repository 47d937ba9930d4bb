"""MACH on tensors: buckets, losses and aggregation; no Keras, no variables."""

from tfrs_dhe.mach.aggregation import (
    AGGREGATIONS,
    bucket_values,
    class_scores,
    combine,
)
from tfrs_dhe.mach.buckets import (
    balanced_boundaries,
    bucket_dtype,
    bucket_ids,
    bucket_table,
)
from tfrs_dhe.mach.losses import (
    in_batch_loss,
    merge_labels,
    multiclass_loss,
    multilabel_loss,
)
from tfrs_dhe.mach.plan_figures import Plan
from tfrs_dhe.mach.planner import plan

__all__ = [
    "AGGREGATIONS",
    "Plan",
    "balanced_boundaries",
    "bucket_dtype",
    "bucket_ids",
    "bucket_table",
    "bucket_values",
    "class_scores",
    "combine",
    "in_batch_loss",
    "merge_labels",
    "multiclass_loss",
    "multilabel_loss",
    "plan",
]
