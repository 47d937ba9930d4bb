"""Whether the signatures keep what clients and TF Serving's batching rely on."""

from collections.abc import Collection, Mapping
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
    nodes = {node.name for node in model.meta_graph.graph_def.node}
    for name, signature in signatures.items():
        for kind, tensors in (
            ("input", signature.inputs),
            ("output", signature.outputs),
        ):
            problems += [
                f"signature {name!r}: {kind} {each!r} {problem}"
                for each, info in sorted(tensors.items())
                if (problem := _tensor_problem(info, nodes))
            ]
        if not signature.outputs:
            problems.append(f"signature {name!r} has no outputs.")
    return problems + _companion_problems(signatures)


def _tensor_problem(info: Any, nodes: Collection[str]) -> str:
    if info.WhichOneof("encoding") != "name":
        return (
            "is no dense tensor, and TF Serving answers no others. Take padded lists "
            "and a mask in place of a sparse or ragged one."
        )
    if info.name.partition(":")[0] not in nodes:
        return f"is the tensor {info.name}, which the graph lacks. Export again."
    shape = shape_of(info)
    if shape.rank is None or shape.rank == 0 or shape[0] is not None:
        return (
            f"has the shape {shape}, whose first dimension is not free. Write it for "
            "batches of any size: tf.TensorSpec([None, ...])."
        )
    return ""


def shape_of(info: Any) -> tf.TensorShape:
    """Returns the shape of a TensorInfo.

    Args:
      info: The TensorInfo of an input or output.
    """
    return tf.TensorShape(info.tensor_shape)


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
