"""What a TFRS model is trained on: its loss and its metrics."""

from typing import Any

__all__ = ["MACHRetrieval"]


def __getattr__(name: str) -> Any:
    # Imported on use: the layers have to work where TFRS cannot be imported.
    if name == "MACHRetrieval":
        from tfrs_dhe.tasks.mach_retrieval import MACHRetrieval

        return MACHRetrieval
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
