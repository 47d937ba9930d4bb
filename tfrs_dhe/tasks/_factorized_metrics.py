"""Metrics over a catalogue that fit a head and what it is trained on."""

from collections.abc import Sequence
from typing import Any

from tfrs_dhe._keras import require_tfrs
from tfrs_dhe.layers.factorized_top_k import MACH
from tfrs_dhe.layers.mach_head import MACHHead

tfrs: Any = require_tfrs("tfrs_dhe.tasks.MACHRetrieval")

#: The aggregations that rank as the sums of logits do, which are what is trained.
_JOINT_AGGREGATIONS = ("mean_logit", "mean_log_probability")


def as_list(value: Any) -> list[Any]:
    """Returns one, several or no metrics (None) as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) else [value]


def check_factorized_metrics(
    metrics: Sequence[Any], head: MACHHead, objective: str
) -> None:
    """Raises a ValueError if a metric would measure something else than the task.

    Args:
      metrics: What the task was given.
      head: The head of the task.
      objective: What it is trained on.
    """
    for metric in metrics:
        if not isinstance(metric, tfrs.metrics.Factorized):
            raise ValueError(
                "`metrics` must be tfrs.metrics.FactorizedTopK, one or several; "
                "Keras metrics belong in `batch_metrics` or `loss_metrics`. "
                f"Received: {metric!r}."
            )
        index = getattr(metric, "_candidates", None)
        if isinstance(index, MACH):
            _check_index(index, head, objective)


def _check_index(index: Any, head: MACHHead, objective: str) -> None:
    if index.head is not head:
        raise ValueError(
            "`metrics` must search with the head that the task trains. Received an "
            f"index of another head, {index.head.name!r} and not {head.name!r}."
        )
    if index.query_model is not None:
        raise ValueError(
            "`metrics` must search with an index of the head alone: the task hands on "
            "embeddings, which `query_model` would take for its features. Received an "
            f"index with query_model={index.query_model!r}."
        )
    if objective == "in_batch":
        fits = index.aggregation in _JOINT_AGGREGATIONS
        remedy = "aggregation='mean_logit'"
    else:
        activation = "sigmoid" if objective == "multilabel" else "softmax"
        fits = index.aggregation == "mean_logit" or index.activation == activation
        remedy = f"activation={activation!r}"
    if not fits:
        raise ValueError(
            f"`metrics` must rank as objective={objective!r} trains: make the index "
            f"with {remedy}. Received one with aggregation={index.aggregation!r} and "
            f"activation={index.activation!r}."
        )
