"""Exact top-k decoding: which of K classes have the highest scores."""

from tfrs_dhe.mach.decoding.certified import BY_PAIRS
from tfrs_dhe.mach.decoding.inverse_lists import (
    InverseLists,
    build_inverse_lists,
    lists_of_one,
    partner,
    partner_buckets,
)
from tfrs_dhe.mach.decoding.result import TopK
from tfrs_dhe.mach.decoding.top_k import METHODS, top_k

__all__ = [
    "BY_PAIRS",
    "METHODS",
    "InverseLists",
    "TopK",
    "build_inverse_lists",
    "lists_of_one",
    "partner",
    "partner_buckets",
    "top_k",
]
