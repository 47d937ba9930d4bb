"""Whether all files that a server reads are in the version directory, and whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2

from tfrs_dhe.serving._verification.graph import Graph, Scope
from tfrs_dhe.serving._verification.nodes import attribute, data_inputs
from tfrs_dhe.serving._verification.registry import Registry
from tfrs_dhe.serving._verification.saved_model import ASSETS, VARIABLES, SavedModel

# TensorFlow's reader turns only some of its errors into its own kind.
_UNREADABLE = (tf.errors.OpError, LookupError, RuntimeError, ValueError)
_AGAIN = "Export the model again, or copy the whole directory."


def variable_file_problems(model: SavedModel, graph: Graph) -> list[str]:
    """Returns what is missing or damaged in the folder of variables.

    Args:
      model: The SavedModel.
      graph: Its graph.
    """
    if not model.restore_op:
        return []
    prefix = model.path / VARIABLES
    index = prefix.with_name(f"{prefix.name}.index")
    if not index.is_file():
        return [f"{index.relative_to(model.path)} is missing. {_AGAIN}"]
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = sorted(reader.get_variable_to_shape_map())
    except _UNREADABLE as error:
        return [f"{index.relative_to(model.path)} cannot be read: {error}. {_AGAIN}"]
    problems: dict[str, list[str]] = {}
    for name in names:
        try:
            # The bytes are compared with their checksums on the way.
            reader.get_tensor(name)
        except _UNREADABLE as error:
            problems.setdefault(str(error), []).append(name)
    folder = VARIABLES.parent
    sentences = [
        f"{folder}: {_listed(damaged)} cannot be read: {error}. {_AGAIN}"
        for error, damaged in problems.items()
    ]
    missing = sorted(_restored_names(model, graph) - set(names))
    if missing:
        sentences.append(f"{folder} lacks {_listed(missing)}, to be restored. {_AGAIN}")
    return sentences


def asset_problems(model: SavedModel, graph: Graph, registry: Registry) -> list[str]:
    """Returns which files are missing, or are named by a path of this machine.

    Args:
      model: The SavedModel.
      graph: Its graph.
      registry: The ops, of which some take names of files.
    """
    problems: dict[str, None] = {}
    for name in model.asset_tensors.values():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            problems[
                f"asset {name!r} is outside of {ASSETS}/. Export the model again."
            ] = None
        elif not (model.path / ASSETS / name).is_file():
            problems[f"{ASSETS / name} is missing. {_AGAIN}"] = None
    for entry, outputs in model.entries().items():
        for scope, node in graph.walk(outputs):
            for position in registry.file_inputs.get(node.op, ()):
                inputs = data_inputs(node)
                if position < len(inputs):
                    for name in _constants(model, graph, scope, inputs[position]):
                        problems[
                            f"{entry}: op {node.op} ({scope.place(node)}) reads the "
                            f"file {name!r}, which is not part of the export. Make it "
                            "an asset (tf.saved_model.Asset)."
                        ] = None
    return list(problems)


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _restored_names(model: SavedModel, graph: Graph) -> set[str]:
    """Returns the names by which restoring asks for tensors."""
    names: set[str] = set()
    for scope, node in graph.walk([model.restore_op]):
        if node.op == "RestoreV2":
            found = graph.origin(scope, data_inputs(node)[1])
            if found and found[1].op == "Const":
                names.update(_strings(found[1]))
    return names


def _constants(
    model: SavedModel, graph: Graph, scope: Scope, reference: str
) -> Iterator[str]:
    """Yields the string constants that a file name is made of, assets aside."""
    references = [(scope, reference)]
    seen = set()
    while references:
        found = graph.origin(*references.pop())
        if found is None or (found[0], found[1].name) in seen:
            continue
        at, node = found
        seen.add((at, node.name))
        if at is graph.main and node.name in model.asset_tensors:
            continue
        if node.op == "Const" and attribute(node, "dtype").type == types_pb2.DT_STRING:
            yield from filter(None, _strings(node))
        references += [(at, each) for each in data_inputs(node)]


def _strings(node: Any) -> list[str]:
    values = tf.make_ndarray(node.attr["value"].tensor).ravel()
    return [value.decode(errors="replace") for value in values]
