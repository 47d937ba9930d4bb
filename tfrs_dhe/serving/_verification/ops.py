"""Whether a server can run every op that it would have to."""

from collections.abc import Iterator, Sequence

from tfrs_dhe.serving._verification.graph import Graph
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
    problems: dict[str, None] = {}
    for entry, outputs in model.entries().items():
        for problem in _problems(graph, registry, outputs):
            problems[f"{entry}: {problem}"] = None
    # TensorFlow imports the whole main graph, whatever a signature needs of it.
    for node in graph.main.nodes.values():
        if node.op not in registry.ops and node.op not in graph.functions:
            text = f"op {node.op} is not registered in stock TensorFlow"
            if not any(text in problem for problem in problems):
                problems[f"the graph: {text} ({graph.main.place(node)})."] = None
    return list(problems)


def _problems(
    graph: Graph, registry: Registry, outputs: Sequence[str]
) -> Iterator[str]:
    compiled = {}
    for scope, node in graph.walk(outputs):
        function = graph.functions.get(scope.function)
        if node.attr[_COMPILE].b or (function and function.attr[_COMPILE].b):
            compiled[scope.function or node.name] = None
        if node.op in graph.functions:
            continue
        refusal = registry.refusal(node)
        if refusal is not None:
            yield f"{refusal} ({scope.place(node)}). {_remedy(node.op)}"
    if compiled:
        yield (
            f"{', '.join(compiled)} must be compiled by XLA, which a stock server "
            "does not do on CPU. Trace the function without `jit_compile`."
        )


def _remedy(op: str) -> str:
    if "PyFunc" in op:
        return (
            "It calls Python (tf.py_function or tf.numpy_function): write it with "
            "TensorFlow ops."
        )
    return "Write it with other TensorFlow ops."
