"""Deep hash embeddings and MACH for TensorFlow Recommenders."""

from tfrs_dhe import datasets, hashing, layers, mach, models, serving, tasks
from tfrs_dhe._version import __version__

__all__ = [
    "__version__",
    "datasets",
    "hashing",
    "layers",
    "mach",
    "models",
    "serving",
    "tasks",
]
