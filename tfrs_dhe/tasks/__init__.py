"""What a TFRS model is trained on: its loss and its metrics."""

from typing import Any

from tfrs_dhe.tasks.gather_candidates import gather_candidates

__all__ = ["MACHRetrieval", "gather_candidates"]


def __getattr__(name: str) -> Any:
    # Imported on use: the layers have to work where TFRS cannot be imported.
    if name == "MACHRetrieval":
        from tfrs_dhe.tasks.mach_retrieval import MACHRetrieval

        return MACHRetrieval
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
