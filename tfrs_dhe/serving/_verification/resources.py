"""Whether all variables and tables that are read have been filled.

`tf.saved_model.save` of a Keras 3 model writes functions that read one variable and
a checkpoint that is restored into another. Python's loader puts the objects together
again; a server goes by the graph and fails at the first request.
"""

import collections
from collections.abc import Iterator, Sequence
from typing import Any

from tfrs_dhe.serving._verification.graph import Graph, Scope
from tfrs_dhe.serving._verification.nodes import attribute, data_inputs
from tfrs_dhe.serving._verification.saved_model import SavedModel

_VARIABLE = "VarHandleOp"
_TABLES = (
    "HashTableV2",
    "MutableDenseHashTableV2",
    "MutableHashTableOfTensorsV2",
    "MutableHashTableV2",
)
_FILLING = frozenset(
    (
        "AssignVariableOp",
        "InitializeTableFromDataset",
        "InitializeTableFromTextFileV2",
        "InitializeTableV2",
        "LookupTableImportV2",
    )
)
# These take a handle and look at nothing in it.
_NOT_READING = frozenset(
    ("DestroyResourceOp", "DisableCopyOnRead", "VarIsInitializedOp")
)

# The kind of resource and the name by which a session knows it.
Resource = tuple[str, str]


def resource_problems(model: SavedModel, graph: Graph) -> list[str]:
    """Returns which variables and tables are read and never filled.

    Args:
      model: The SavedModel.
      graph: Its graph.

    Returns:
      A sentence for each of them.
    """
    filled = set()
    for outputs in model.loading().values():
        for resource, node, position in _uses(graph, outputs):
            if position == 0 and node.op in _FILLING:
                filled.add(resource)
    readers: dict[Resource, list[str]] = collections.defaultdict(list)
    for entry, outputs in model.entries().items():
        read = {
            resource
            for resource, node, position in _uses(graph, outputs)
            if not (position == 0 and node.op in _FILLING)
        }
        for resource in read - filled:
            readers[resource].append(entry)
    return [
        f"{kind} {name!r} is read by {', '.join(entries)}, but neither restoring nor "
        f"initialization fills it. {_REMEDIES[kind]}"
        for (kind, name), entries in sorted(readers.items())
    ]


def read_resources(model: SavedModel, graph: Graph) -> set[Resource]:
    """Returns the variables and tables that the signatures read.

    Args:
      model: The SavedModel.
      graph: Its graph.
    """
    return {
        resource
        for outputs in model.requests().values()
        for resource, _, _ in _uses(graph, outputs)
    }


_REMEDIES = {
    "variable": (
        "Attributes of the exported object must lead to this variable; a Keras 3 "
        "model is exported by `model.export()`, or with "
        "`module.raw = [v.value for v in model.variables]`."
    ),
    "table": "Make the table an attribute of the exported object.",
}


def _uses(graph: Graph, outputs: Sequence[str]) -> Iterator[tuple[Resource, Any, int]]:
    """Yields which resource is used by which node, as its how manieth input."""
    for scope, node in graph.walk(outputs):
        # A handle passed on is used by what gets it.
        if node.op in _NOT_READING or graph.passes_on(scope, node):
            continue
        for position, reference in enumerate(data_inputs(node)):
            found = graph.origin(scope, reference)
            resource = found and _resource(*found)
            if resource:
                yield resource, node, position


def _resource(scope: Scope, node: Any) -> Resource | None:
    if node.op == _VARIABLE:
        kind = "variable"
    elif node.op in _TABLES:
        kind = "table"
    else:
        return None
    shared = attribute(node, "shared_name").s.decode()
    own = f"{scope.function}/{node.name}" if scope.function else node.name
    return kind, shared or own
