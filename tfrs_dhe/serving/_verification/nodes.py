"""What a NodeDef says: its inputs, its attributes and the functions it calls."""

from typing import Any

from tensorflow.core.framework import attr_value_pb2


def called(node: Any) -> list[str]:
    """Returns the op of a node, which may be a function, and the functions it calls.

    Args:
      node: A NodeDef.
    """
    names = [node.op]
    for value in node.attr.values():
        if value.HasField("func"):
            names.append(value.func.name)
        names += [function.name for function in value.list.func]
    return names


def attribute(owner: Any, name: str) -> Any:
    """Returns an attribute, an empty one if there is none.

    Args:
      owner: A NodeDef or FunctionDef. Its own map would add what is looked up.
      name: The attribute's name.
    """
    return owner.attr[name] if name in owner.attr else attr_value_pb2.AttrValue()


def data_inputs(node: Any) -> list[str]:
    """Returns the inputs of a node without those that only order it."""
    return [reference for reference in node.input if not reference.startswith("^")]


def parts(reference: str) -> tuple[str, int]:
    """Splits a reference into the name of a node and the index of its output.

    Args:
      reference: `node`, `node:1`, `node:output:1` or `^node`.
    """
    name, *rest = reference.removeprefix("^").split(":")
    return name, int(rest[-1]) if rest else 0
