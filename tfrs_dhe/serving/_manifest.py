"""What a version is, for people and for the version after it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe._version import __version__
from tfrs_dhe.serving import _hash_constants
from tfrs_dhe.serving._version_directory import versions

#: Where the file is in a version's directory. TF Serving ignores it.
MANIFEST_PATH = Path("assets.extra") / "tfrs_dhe_manifest.json"


def make_manifest(
    servable: Any,
    functions: Mapping[str, Any],
    resources: Sequence[Any],
    hash_constants: Mapping[str, Mapping[str, Any]],
    batch_sizes: Sequence[int],
    has_warmup: bool,
) -> dict[str, Any]:
    """Returns the manifest of an export.

    Args:
      servable: What is exported.
      functions: The concrete functions by the names of the signatures.
      resources: What they read.
      hash_constants: Hash constants by the paths of the layers.
      batch_sizes: Those of the samples.
      has_warmup: Whether the samples are warmup requests as well.
    """
    variables = [r for r in resources if isinstance(r, tf.Variable)]
    return {
        "servable": type(servable).__name__,
        "tfrs_dhe": __version__,
        "tensorflow": tf.__version__,
        "keras": f"{keras.__name__} {keras.__version__}",
        # Answers of a GPU differ from those of a CPU in the last digits.
        "recorded_on": "GPU" if tf.config.list_logical_devices("GPU") else "CPU",
        "num_parameters": sum(_size(v) for v in variables if v.dtype.is_floating),
        "signatures": {
            name: {
                "inputs": _specs(function.structured_input_signature[1]),
                "outputs": _specs(function.structured_outputs),
            }
            for name, function in functions.items()
        },
        "batch_sizes": list(batch_sizes),
        "warmup": has_warmup,
        "hash_constants": dict(hash_constants),
    }


def write_manifest(version_path: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest of a version.

    Args:
      version_path: The version's directory.
      manifest: What `make_manifest` returned.
    """
    path = version_path / MANIFEST_PATH
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(version_path: Path) -> dict[str, Any] | None:
    """Returns the manifest of a version, None if it has none."""
    path = version_path / MANIFEST_PATH
    return json.loads(path.read_text()) if path.is_file() else None


def check_hash_constants(
    base_path: Path, hash_constants: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raises a ValueError if ids mean something else than in the latest version.

    Args:
      base_path: The directory of the model's versions.
      hash_constants: Those of the version to come, by the paths of the layers.
    """
    for version, path in reversed(versions(base_path).items()):
        manifest = read_manifest(path)
        if manifest is None:
            continue
        changes = _hash_constants.changes(manifest["hash_constants"], hash_constants)
        if changes:
            raise ValueError(
                f"The hash constants are not those of version {version} in "
                f"{base_path}, so ids would have other encodings and buckets: "
                f"{'; '.join(changes)}. Export a model that was trained further from "
                "that version, or a new model to another `base_path`, or pass "
                "allow_changed_hashes=True."
            )
        return


def _specs(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"dtype": tensor.dtype.name, "shape": tensor.shape.as_list()}
        for name, tensor in tensors.items()
    }


def _size(variable: tf.Variable) -> int:
    return int(np.prod(tf.shape(variable).numpy()))
