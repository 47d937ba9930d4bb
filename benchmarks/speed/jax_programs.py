"""StableHLO text in JAX's compiler: what `tpu_compile.py` and the timing share.

JAX's public functions compile functions of JAX; text goes to the compiler beneath,
whose Python names are those of jax 0.10.
"""

from typing import Any

import numpy as np
from jax._src.interpreters import mlir
from jax._src.lib import xla_client
from jax._src.lib.mlir import ir
from stablehlo_text import standard


def _module(text: str) -> Any:
    with mlir.make_ir_context():
        return ir.Module.parse(standard(text))


def _arguments(text: str, device: Any) -> tuple[Any, Any, Any]:
    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    options.executable_build_options.device_assignment = (
        xla_client.DeviceAssignment.create(np.array([[device.id]], np.int32))
    )
    return _module(text), xla_client.DeviceList((device,)), options


def compile_for(text: str, device: Any) -> Any:
    """Returns a program for a device that need not be there."""
    return device.client.compile(*_arguments(text, device))


def load_on(text: str, device: Any) -> Any:
    """Returns a program that runs on a device of this machine."""
    return device.client.compile_and_load(*_arguments(text, device))
