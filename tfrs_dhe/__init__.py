"""Deep hash embeddings and MACH for TensorFlow Recommenders."""

from tfrs_dhe import hashing
from tfrs_dhe._version import __version__

__all__ = ["__version__", "hashing"]
