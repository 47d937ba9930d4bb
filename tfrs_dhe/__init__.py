"""Deep hash embeddings and MACH for TensorFlow Recommenders."""

from tfrs_dhe import analysis, datasets, hashing, layers, mach, models, serving, tasks
from tfrs_dhe._version import __version__

__all__ = [
    "__version__",
    "analysis",
    "datasets",
    "hashing",
    "layers",
    "mach",
    "models",
    "serving",
    "tasks",
]
