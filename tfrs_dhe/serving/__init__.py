"""From a trained model to a directory that stock TF Serving answers from."""

from tfrs_dhe.serving import native
from tfrs_dhe.serving.inspection import Inspection, inspect
from tfrs_dhe.serving.verification import Verification, VerificationError, verify

__all__ = [
    "Inspection",
    "Verification",
    "VerificationError",
    "inspect",
    "native",
    "verify",
]
