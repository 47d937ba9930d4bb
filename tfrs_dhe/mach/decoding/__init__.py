"""Exact top-k decoding: which of K classes have the highest scores."""

from tfrs_dhe.mach.decoding.inverse_lists import (
    InverseLists,
    build_inverse_lists,
    lists_of_one,
    partner,
)
from tfrs_dhe.mach.decoding.result import TopK
from tfrs_dhe.mach.decoding.top_k import METHODS, top_k

__all__ = [
    "METHODS",
    "InverseLists",
    "TopK",
    "build_inverse_lists",
    "lists_of_one",
    "partner",
    "top_k",
]
