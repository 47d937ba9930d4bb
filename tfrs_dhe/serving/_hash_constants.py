"""The constants that say what an id means to a model.

Where one of them changes, every id has another encoding or other buckets, and the
weights that were trained belong to other ids.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfrs_dhe import layers, models

#: Configuration of each layer that hashes, and the weights that are part of it.
_CONSTANTS: dict[type, tuple[tuple[str, ...], str | None]] = {
    layers.DenseHashEncoding: (
        (
            "num_hashes",
            "num_buckets",
            "distribution",
            "hash_family",
            "seed",
            "mix_keys",
        ),
        None,
    ),
    layers.MACHHead: (
        ("num_buckets", "num_repetitions", "repetitions", "seed", "balanced"),
        "boundaries",
    ),
    # HashingTrickEmbedding is one of them.
    layers.BloomEmbedding: (("num_buckets", "num_hashes", "signed", "seed"), None),
    layers.DoubleHashEmbedding: (("num_buckets", "seed"), None),
    layers.HashEmbedding: (
        ("num_buckets", "num_hashes", "num_importance_rows", "seed"),
        None,
    ),
    layers.UnifiedEmbedding: (("num_buckets", "num_chunks", "num_tables"), None),
    layers.FeatureHashing: (("num_bins", "num_hashes", "signed", "seed"), None),
    layers.LocalitySensitiveHash: (("num_bits", "seed"), "hyperplanes"),
}


def hash_constants(parts: Iterable[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the hash constants of all layers that hash, by their paths.

    Args:
      parts: What a servable is made of, with paths.
    """
    found = {}
    repetitions: dict[str, str] = {}
    for path, part in parts:
        if isinstance(part, models.MACHEnsemble):
            repetitions |= _paths_by_repetition(path, part)
        for old, new in repetitions.items():
            if path == old or path.startswith(f"{old}."):
                path = new + path.removeprefix(old)
        for kind, (names, weight) in _CONSTANTS.items():
            if isinstance(part, kind):
                constants: dict[str, Any] = {"layer": kind.__name__}
                constants |= {name: _plain(getattr(part, name)) for name in names}
                if weight is not None:
                    constants[weight] = _digest(getattr(part, weight, None))
                found[path] = constants
    return found


def changes(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Returns what changed in the hash constants of a model, in words.

    A layer is known by its path. One whose path is gone may have moved: it counts as
    changed only if no layer at a new path has its constants.

    Args:
      before: Hash constants by path.
      after: Those of the next version.
    """
    words = []
    moved = [after[path] for path in after if path not in before]
    for path, old in before.items():
        if path in after:
            words += [
                f"`{path}` ({old['layer']}): {name} was {value!r} and is "
                f"{after[path].get(name)!r}"
                for name, value in old.items()
                if value != after[path].get(name)
            ]
        elif old in moved:
            moved.remove(old)
        else:
            words.append(f"`{path}` ({old['layer']}) with {_in_words(old)} is gone")
    return words


def _paths_by_repetition(path: str, ensemble: Any) -> dict[str, str]:
    """Returns paths that stay when a missing repetition of an ensemble comes."""
    paths = {}
    for i, head in enumerate(ensemble.heads):
        numbers = "_".join(map(str, head.repetitions))
        for part in ("head", "query_model"):
            paths[f"{path}.{part}_{i}"] = f"{path}.{part}_of_repetition_{numbers}"
    return paths


def _in_words(constants: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in constants.items() if k != "layer")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):  # JSON takes none of them.
        value = value.item()
    return list(value) if isinstance(value, tuple) else value


def _digest(weight: Any) -> str | None:
    """Returns the same for the same numbers, on every machine."""
    if weight is None:
        return None
    array = np.asarray(weight)
    little_endian = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(little_endian.tobytes()).hexdigest()
