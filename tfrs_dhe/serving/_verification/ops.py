"""Whether a server can run every op that it would have to."""

from collections.abc import Sequence

from tfrs_dhe.serving._verification.graph import Graph
from tfrs_dhe.serving._verification.nodes import attribute, called
from tfrs_dhe.serving._verification.registry import Registry
from tfrs_dhe.serving._verification.saved_model import SavedModel

_COMPILE = "_XlaMustCompile"


def op_problems(model: SavedModel, graph: Graph, registry: Registry) -> list[str]:
    """Returns what a server cannot run.

    Args:
      model: The SavedModel.
      graph: Its graph.
      registry: The ops and kernels of a server.

    Returns:
      A sentence for each op of each signature.
    """
    problems = []
    named: set[str] = set()
    for entry, outputs in model.entries().items():
        refusals, compiled = _refusals(graph, registry, outputs)
        named.update(refusals)
        problems += [f"{entry}: {_sentence(*item)}" for item in refusals.items()]
        if compiled:
            problems.append(
                f"{entry}: {', '.join(compiled)} must be compiled by XLA, which a "
                "stock server does not do on CPU. Trace it without `jit_compile`."
            )
    # TensorFlow refuses a graph with such an op in it, whatever a signature needs.
    unregistered = _unregistered(graph, registry)
    return problems + [
        f"the graph: {_sentence(refusal, places)}"
        for refusal, places in unregistered.items()
        if refusal not in named
    ]


def needed_ops(model: SavedModel, graph: Graph) -> set[str]:
    """Returns the ops that a server runs.

    Args:
      model: The SavedModel.
      graph: Its graph.
    """
    walks = (graph.walk(outputs) for outputs in model.entries().values())
    return {node.op for walk in walks for _, node in walk} - set(graph.functions)


def _refusals(
    graph: Graph, registry: Registry, outputs: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Returns where each thing is that cannot be run, and what is to be compiled."""
    refusals: dict[str, list[str]] = {}
    compiled: dict[str, None] = {}
    for scope, node in graph.walk(outputs):
        function = graph.functions.get(scope.function)
        owners = [node, function] if function else [node]
        if any(attribute(owner, _COMPILE).b for owner in owners):
            compiled[scope.function or node.name] = None
        missing = [name for name in called(node)[1:] if name not in graph.functions]
        found = [f"function {name} is missing from the graph" for name in missing]
        if node.op not in graph.functions:
            found.append(registry.refusal(node) or "")
        for refusal in filter(None, found):
            refusals.setdefault(refusal, []).append(scope.place(node))
    return refusals, list(compiled)


def _unregistered(graph: Graph, registry: Registry) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for scope in [graph.main, *map(graph.body, graph.functions)]:
        for node in scope.nodes.values():
            if node.op not in graph.functions and node.op not in registry.ops:
                refusal = registry.refusal(node) or ""
                places.setdefault(refusal, []).append(scope.place(node))
    return places


def _sentence(refusal: str, places: Sequence[str]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{refusal} ({places[0]}{more}). {_remedy(refusal)}"


def _remedy(refusal: str) -> str:
    if "PyFunc" in refusal:
        return (
            "It calls Python (tf.py_function or tf.numpy_function): write it with "
            "TensorFlow ops."
        )
    if refusal.startswith("function"):
        return "Export the model again."
    return "Write it with other TensorFlow ops."
