"""Compiles training steps for a TPU, on a machine that has none, and reports on them.

    pip install '.[tpu-compile]'
    python benchmarks/speed/stablehlo.py --directory programs
    python benchmarks/speed/tpu_compile.py programs/*.mlir

The compiler is the one that a TPU's machine has, of the package libtpu. Its figures are
its own estimates of the program that it made: operations, bytes moved, and memory.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

# libtpu asks for the machine that it is on, unless it is told.
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# It locks a TPU for one process, also where it only compiles.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")

import jax
from jax.experimental import topologies
from jax_programs import compile_for
from stablehlo_text import wide_divisions


def report(text: str, topology: str) -> dict[str, Any]:
    """Returns the compiler's figures of a program on one chip of a topology."""
    chips = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    compiled = compile_for(text, chips.devices[0])
    cost, memory = compiled.cost_analysis(), compiled.get_compiled_memory_stats()
    return {
        "operations": cost["flops"],
        "transcendental operations": cost["transcendentals"],
        "bytes moved": cost["bytes accessed"],
        "bytes of arguments": memory.argument_size_in_bytes,
        "bytes of results": memory.output_size_in_bytes,
        "of them in place": memory.alias_size_in_bytes,
        "bytes of temporaries": memory.temp_size_in_bytes,
        "bytes of code": memory.generated_code_size_in_bytes,
        "64-bit divisions": len(wide_divisions(text)),
    }


def main() -> None:
    """Compiles, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Compiles StableHLO text for a TPU.")
    parser.add_argument("programs", type=Path, nargs="+", help="files of StableHLO")
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    result: dict[str, Any] = {"topology": args.topology, "jax": jax.__version__}
    for path in args.programs:
        result[path.stem] = report(path.read_text(), args.topology)
        print(f"\n{path.stem}", flush=True)
        for name, value in result[path.stem].items():
            print(f"  {name:<28}{value:>18,.0f}", flush=True)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
