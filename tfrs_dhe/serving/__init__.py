"""From a trained model to a directory that stock TF Serving answers from."""

from tfrs_dhe.serving._configs import write_configs
from tfrs_dhe.serving._export import export

__all__ = ["export", "write_configs"]
