"""From a trained model to a directory that stock TF Serving answers from."""

from tfrs_dhe.serving import native

__all__ = ["native"]
