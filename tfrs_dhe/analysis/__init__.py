"""Whether it fits, why it answered so, and when it drifts.

What the papers leave open and a team has to know before it deploys. Results are objects
that print and, with `plot`, draw; matplotlib is needed for that alone.
"""

from tfrs_dhe.analysis.encoding_properties import (
    EncodingComparison,
    EncodingProperties,
    compare_encodings,
    encoding_properties,
)

__all__ = [
    "EncodingComparison",
    "EncodingProperties",
    "compare_encodings",
    "encoding_properties",
]
