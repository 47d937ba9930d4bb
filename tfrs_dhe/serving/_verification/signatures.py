"""Whether the signatures keep what clients and TF Serving's batching rely on."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfrs_dhe.serving._verification.saved_model import SavedModel

DEFAULT = "serving_default"
_EXCLUSIONS_SIGNATURE = "with_exclusions"
_EXCLUSIONS = "exclusions"
_EMBEDDINGS = "embeddings"


def signature_problems(model: SavedModel) -> list[str]:
    """Returns what is wrong with the names and shapes of the signatures.

    Args:
      model: The SavedModel.
    """
    signatures = model.signatures
    problems = []
    if DEFAULT not in signatures:
        problems.append(
            f"there is no signature {DEFAULT!r}, which clients call by default; there "
            f"is {sorted(signatures)}. Export with signatures={{{DEFAULT!r}: ...}}."
        )
    for name, signature in signatures.items():
        for kind, tensors in (
            ("input", signature.inputs),
            ("output", signature.outputs),
        ):
            problems += [
                f"signature {name!r}: {kind} {each!r} has the shape {shape}, whose "
                "first dimension is not free. Write it for batches of any size: "
                "tf.TensorSpec([None, ...])."
                for each, info in sorted(tensors.items())
                if not _is_batch(shape := shape_of(info))
            ]
        if not signature.outputs:
            problems.append(f"signature {name!r} has no outputs.")
    return problems + _companion_problems(signatures)


def shape_of(info: Any) -> tf.TensorShape:
    """Returns the shape of a TensorInfo.

    Args:
      info: The TensorInfo of an input or output.
    """
    return tf.TensorShape(info.tensor_shape)


def _is_batch(shape: tf.TensorShape) -> bool:
    return shape.rank is not None and shape.rank > 0 and shape[0] is None


def _companion_problems(signatures: Mapping[str, Any]) -> list[str]:
    """Checks the two signatures that stand beside that of an index."""
    problems = []
    default = signatures.get(DEFAULT)
    excluding = signatures.get(_EXCLUSIONS_SIGNATURE)
    if default is not None and excluding is not None:
        wanted = {*default.inputs, _EXCLUSIONS}
        if set(excluding.inputs) != wanted:
            problems.append(
                f"signature {_EXCLUSIONS_SIGNATURE!r} takes "
                f"{sorted(excluding.inputs)} and not {sorted(wanted)}, the inputs of "
                f"{DEFAULT!r} and {_EXCLUSIONS!r}."
            )
        if set(excluding.outputs) != set(default.outputs):
            problems.append(
                f"signature {_EXCLUSIONS_SIGNATURE!r} gives "
                f"{sorted(excluding.outputs)} and not {sorted(default.outputs)}, the "
                f"outputs of {DEFAULT!r}."
            )
    embedding = signatures.get(_EMBEDDINGS)
    if embedding is not None and set(embedding.outputs) != {_EMBEDDINGS}:
        problems.append(
            f"signature {_EMBEDDINGS!r} gives {sorted(embedding.outputs)} and not "
            f"{[_EMBEDDINGS]}."
        )
    return problems
