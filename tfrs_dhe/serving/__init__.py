"""From a trained model to a directory that stock TF Serving answers from."""

from tfrs_dhe.serving import native
from tfrs_dhe.serving._configs import write_configs
from tfrs_dhe.serving._export import export
from tfrs_dhe.serving.inspection import Inspection, inspect
from tfrs_dhe.serving.verification import Verification, VerificationError, verify

__all__ = [
    "Inspection",
    "Verification",
    "VerificationError",
    "export",
    "inspect",
    "native",
    "verify",
    "write_configs",
]
