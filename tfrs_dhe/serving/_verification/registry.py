"""The ops and CPU kernels of a process that has no Python, as a server is."""

import collections
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import kernel_def_pb2, op_def_pb2, types_pb2

from tfrs_dhe.serving._verification import processes
from tfrs_dhe.serving._verification.nodes import attribute

# Kernels for any device, such as that of NoOp, are registered as DEFAULT.
_CPU = ("CPU", "DEFAULT")
# What TensorFlow's ops call an input that is the name of a file to read.
_PATHS = ("ckpt_path", "file_pattern", "filename", "filenames", "path")
_OTHER_PATHS = (
    ("GenerateVocabRemapping", "new_vocab_file"),
    ("GenerateVocabRemapping", "old_vocab_file"),
    ("MatchingFiles", "pattern"),
    ("RestoreV2", "prefix"),
)


@dataclasses.dataclass(frozen=True)
class Registry:
    """What TensorFlow registers without Python.

    Attributes:
      ops: The definition of each op by its name.
      kernels: The CPU kernels of each op by its name.
    """

    ops: Mapping[str, Any]
    kernels: Mapping[str, Sequence[Any]]

    @functools.cached_property
    def handle_ops(self) -> frozenset[str]:
        """The ops that make handles of variables, tables and other resources."""
        return frozenset(
            op.name
            for op in self.ops.values()
            if any(arg.type == types_pb2.DT_RESOURCE for arg in op.output_arg)
        )

    @functools.cached_property
    def file_inputs(self) -> Mapping[str, Sequence[int]]:
        """The positions of the inputs that are names of files, by op."""
        return {
            op.name: positions
            for op in self.ops.values()
            if (positions := [i for i, a in enumerate(op.input_arg) if _is_path(op, a)])
        }

    def refusal(self, node: Any) -> str | None:
        """Returns why a server could not run `node`, or None if it can.

        Args:
          node: A NodeDef that calls no function by its op's name.
        """
        if node.op not in self.ops:
            return f"op {node.op} is not registered in stock TensorFlow"
        kernels = self.kernels.get(node.op, ())
        if not kernels:
            return f"op {node.op} has no CPU kernel without Python"
        if any(self._fits(kernel, node) for kernel in kernels):
            return None
        return f"op {node.op} has no CPU kernel for {self._types(node)}"

    def _fits(self, kernel: Any, node: Any) -> bool:
        if kernel.label != attribute(node, "_kernel").s.decode():
            return False
        return all(
            set(self._types_of(node, constraint.name))
            <= set(constraint.allowed_values.list.type)
            for constraint in kernel.constraint
        )

    def _types_of(self, node: Any, name: str) -> Sequence[int]:
        """Returns the types that an attribute holds, also where it is the default."""
        value = node.attr.get(name)
        if value is None:
            defaults = {attr.name: attr for attr in self.ops[node.op].attr}
            value = defaults[name].default_value
        return [value.type] if value.HasField("type") else value.list.type

    def _types(self, node: Any) -> str:
        names = [a.name for a in self.ops[node.op].attr if "type" in a.type]
        return ", ".join(
            f"{name}={'/'.join(tf.dtypes.as_dtype(t).name for t in types)}"
            for name in names
            if (types := self._types_of(node, name))
        )


def _is_path(op: Any, argument: Any) -> bool:
    if argument.type != types_pb2.DT_STRING:
        return False
    return argument.name in _PATHS or (op.name, argument.name) in _OTHER_PATHS


@functools.cache
def registry() -> Registry:
    """Returns the registry of this TensorFlow, asked once in a process of its own.

    Raises:
      RuntimeError: If the process that is asked fails.
    """
    script = Path(__file__).with_name("list_kernels.py")
    done = processes.run_script(script, [], timeout=120)
    if done.returncode != 0:
        raise RuntimeError(
            "TensorFlow's own libraries could not be asked for their kernels:\n"
            f"{processes.last_lines(done.stderr)}"
        )
    size = int.from_bytes(done.stdout[:8], "little")
    ops = op_def_pb2.OpList.FromString(done.stdout[8 : 8 + size])
    kernels = collections.defaultdict(list)
    for kernel in kernel_def_pb2.KernelList.FromString(done.stdout[8 + size :]).kernel:
        if kernel.device_type in _CPU:
            kernels[kernel.op].append(kernel)
    return Registry({op.name: op for op in ops.op}, dict(kernels))
