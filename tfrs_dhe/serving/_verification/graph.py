"""Walks a graph through the functions that it calls, and traces values back.

A function that is called twice may get another variable each time, so the walk goes
over calls: a `Scope` is the main graph or one call of a function, with what the
caller passed to it.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tensorflow.core.framework import types_pb2

from tfrs_dhe.serving._verification.nodes import called, data_inputs, parts

# What comes out is what went in.
_PASSING = frozenset(
    (
        "Enter",
        "Exit",
        "Identity",
        "IdentityN",
        "Merge",
        "NextIteration",
        "StopGradient",
        "Switch",
    )
)
_WHILE = ("While", "StatelessWhile")
# A function that is called again with the same of these is not walked again.
_FOLLOWED = (types_pb2.DT_RESOURCE, types_pb2.DT_STRING)


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """The main graph, or one call of a function.

    Attributes:
      function: The function's name, empty for the main graph.
      nodes: The nodes by their names.
      returns: References to what the function returns, in its order.
      parameters: For each parameter, the caller and its reference to the argument;
        None where it is not known.
      types: The type of each parameter.
      callers: The names of the functions that this call is within.
    """

    function: str
    nodes: Mapping[str, Any]
    returns: Sequence[str] = ()
    parameters: Mapping[str, "tuple[Scope, str] | None"] = dataclasses.field(
        default_factory=dict
    )
    types: Mapping[str, int] = dataclasses.field(default_factory=dict)
    callers: frozenset[str] = frozenset()

    def place(self, node: Any) -> str:
        """Returns where a node is, for a message."""
        within = f" of function {self.function}" if self.function else ""
        return f"node {node.name}{within}"


class Graph:
    """A graph and its library of functions.

    Args:
      graph_def: The GraphDef.
      handle_ops: Names of the ops that make handles of resources. Without them,
        resources are not traced into functions.

    Attributes:
      main: The main graph.
      functions: The FunctionDefs by their names.
      untraced: The functions met so far whose resources could not be told.
    """

    def __init__(self, graph_def: Any, handle_ops: Collection[str] = ()):
        self._handle_ops = handle_ops
        self.main = Scope("", {node.name: node for node in graph_def.node})
        self.functions = {f.signature.name: f for f in graph_def.library.function}
        self._bodies: dict[str, Scope] = {}
        self.untraced: dict[str, None] = {}
        self._calls: dict[tuple[Scope, str], list[Scope]] = {}

    def walk(self, outputs: Sequence[str]) -> Iterator[tuple[Scope, Any]]:
        """Yields what outputs of the main graph need.

        Args:
          outputs: Names of nodes or tensors of the main graph.

        Yields:
          Each node of the main graph on the way to the outputs, and all nodes of the
          functions that these call, with their scopes.
        """
        seen = set()
        scopes = []
        for node in self._needed(outputs):
            yield self.main, node
            scopes += self.calls(self.main, node)
        while scopes:
            scope = scopes.pop()
            key = self._key(scope)
            if key in seen:
                continue
            seen.add(key)
            for node in scope.nodes.values():
                yield scope, node
                scopes += self.calls(scope, node)

    def body(self, name: str) -> Scope:
        """Returns a function's body, without a call of it.

        Args:
          name: The function's name.
        """
        if name not in self._bodies:
            function = self.functions[name]
            self._bodies[name] = Scope(
                name,
                {node.name: node for node in function.node_def},
                [function.ret[arg.name] for arg in function.signature.output_arg],
                types={arg.name: arg.type for arg in function.signature.input_arg},
            )
        return self._bodies[name]

    def calls(self, scope: Scope, node: Any) -> list[Scope]:
        """Returns the calls of functions that a node makes.

        Args:
          scope: Where the node is.
          node: A NodeDef; its functions may be attributes or the op itself.
        """
        key = (scope, node.name)
        if key not in self._calls:
            self._calls[key] = [
                self._call(scope, node, name)
                for name in called(node)
                if name in self.functions and name not in scope.callers
            ]
        return self._calls[key]

    def passes_on(self, scope: Scope, node: Any) -> bool:
        """Returns whether a node hands its inputs on, as a call and an identity do.

        Args:
          scope: Where the node is.
          node: A NodeDef.
        """
        return node.op in _PASSING or bool(self.calls(scope, node))

    def origin(self, scope: Scope, reference: str) -> tuple[Scope, Any] | None:
        """Returns the node that made a value, seen through calls and identities.

        Args:
          scope: Where the reference is.
          reference: What a node names as its input.

        Returns:
          The scope and the node; None where it comes from outside the graph or the
          argument of a call is not known.
        """
        visited = set()
        while (scope, reference) not in visited:
            visited.add((scope, reference))
            if reference in scope.parameters:
                argument = scope.parameters[reference]
                if argument is None:
                    return None
                scope, reference = argument
                continue
            name, index = parts(reference)
            node = scope.nodes.get(name)
            if node is None:
                return None
            inputs = data_inputs(node)
            calls = self.calls(scope, node)
            if node.op in _PASSING:
                reference = inputs[index if node.op == "IdentityN" else 0]
            elif node.op in _WHILE:
                reference = inputs[index]
            elif calls and index < len(calls[0].returns):
                scope, reference = calls[0], calls[0].returns[index]
            else:
                return scope, node
        return None

    def _needed(self, outputs: Sequence[str]) -> Iterator[Any]:
        names = [parts(output)[0] for output in outputs]
        seen = set()
        while names:
            name = names.pop()
            node = self.main.nodes.get(name)
            if name in seen or node is None:
                continue
            seen.add(name)
            yield node
            names += [parts(reference)[0] for reference in node.input]

    def _call(self, scope: Scope, node: Any, name: str) -> Scope:
        body = self.body(name)
        return dataclasses.replace(
            body,
            parameters=self._arguments(scope, node, body),
            callers=scope.callers | {name},
        )

    def _arguments(
        self, scope: Scope, node: Any, body: Scope
    ) -> dict[str, tuple[Scope, str] | None]:
        """Matches the parameters of a function with the inputs of the node.

        The last inputs of a node are those of its functions: all of a call, all but
        the choice of a branch, the captured ones of a dataset's function. Some ops
        take further inputs after them, so resources are matched in their own order,
        which nothing else disturbs.
        """
        types = body.types
        inputs = data_inputs(node)
        last = inputs[max(0, len(inputs) - len(types)) :]
        missing = len(types) - len(last)
        arguments: dict[str, tuple[Scope, str] | None] = {
            name: (scope, last[i - missing]) if i >= missing else None
            for i, name in enumerate(types)
        }
        wanted = [n for n, dtype in types.items() if dtype == types_pb2.DT_RESOURCE]
        if wanted:
            given = [ref for ref in inputs if self._is_resource(scope, ref)]
            known = len(given) == len(wanted)
            if not known:
                self.untraced[body.function] = None
            for i, name in enumerate(wanted):
                arguments[name] = (scope, given[i]) if known else None
        return arguments

    def _is_resource(self, scope: Scope, reference: str) -> bool:
        if reference in scope.types:
            return scope.types[reference] == types_pb2.DT_RESOURCE
        found = self.origin(scope, reference)
        return found is not None and found[1].op in self._handle_ops

    def _key(self, scope: Scope) -> tuple[Any, ...]:
        followed = [n for n, dtype in scope.types.items() if dtype in _FOLLOWED]
        origins = (self.origin(scope, name) for name in followed)
        return (scope.function, *((o[0], o[1].name) if o else None for o in origins))
