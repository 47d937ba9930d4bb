"""Models, and what a TFRS model needs so that `training` reaches its towers."""

from typing import Any

from tfrs_dhe.models.distillation import Distillation, distill_embeddings
from tfrs_dhe.models.mach_ensemble import MACHEnsemble
from tfrs_dhe.models.magnitude_pruning import (
    MagnitudePruning,
    NetworkSize,
    network_size,
)
from tfrs_dhe.models.training_run import TrainingRun

__all__ = [
    "Distillation",
    "MACHEnsemble",
    "MagnitudePruning",
    "Model",
    "NetworkSize",
    "TrainingRun",
    "distill_embeddings",
    "network_size",
]


def __getattr__(name: str) -> Any:
    # Imported on use: the layers have to work where TFRS cannot be imported.
    if name == "Model":
        from tfrs_dhe.models.training_aware_model import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
