"""Whether graphs hold programs that XLA has to compile."""

import itertools
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2


def xla_functions(graph_def: Any) -> int:
    """Counts what has to be compiled, in a graph and its functions."""
    functions = [function.node_def for function in graph_def.library.function]
    nodes = itertools.chain(graph_def.node, *functions)
    return sum(node.attr["_XlaMustCompile"].b for node in nodes)


def saved_xla_functions(folder: Path) -> int:
    """Counts them in a SavedModel."""
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    return xla_functions(saved.meta_graphs[0].graph_def)
