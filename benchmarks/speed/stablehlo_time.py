"""Runs and times training steps from their StableHLO text, on a GPU or CPU.

    pip install jax       # on a GPU's machine: pip install 'jax[cuda13]'
    python benchmarks/speed/stablehlo_time.py programs/*.mlir

needs the files of `stablehlo.py` and no TensorFlow. Each step goes on from the
variables that the one before left, as in training; its first losses must be
TensorFlow's.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax_programs import load_on
from stablehlo_text import updates

#: A GPU rounds what it multiplies to 11 bits. Another program would be far off.
LOSS_TOLERANCE = 1e-2


class Step:
    """A training step with the variables that it has changed so far."""

    def __init__(self, text: str, arguments: list[np.ndarray], device: Any) -> None:
        self._run = load_on(text, device)
        self._updates = updates(text)
        self._arguments = [jax.device_put(x, device) for x in arguments]

    def __call__(self) -> Any:
        """Does a step and returns its loss, perhaps before it is computed."""
        outputs = self._run.execute(self._arguments)
        for output, argument in self._updates.items():
            self._arguments[argument] = outputs[output]
        # The only output that is no variable.
        (loss,) = (x for i, x in enumerate(outputs) if i not in self._updates)
        return loss


def measure(path: Path, repeats: int, device: Any) -> dict[str, Any]:
    """Returns the median time of a step, in seconds, and whether it trains."""
    with np.load(path.with_suffix(".npz")) as file:
        arguments = [file[name] for name in sorted(file.files) if name != "losses"]
        expected = file["losses"]
    start = time.perf_counter()
    step = Step(path.read_text(), arguments, device)
    compile_seconds = time.perf_counter() - start
    losses = [float(step()) for _ in expected]
    error = np.abs(np.array(losses) / expected - 1).max()
    if not error < LOSS_TOLERANCE:
        raise SystemExit(
            f"{path.name}: the losses {losses} are not TensorFlow's, {expected}."
        )
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        loss = step().block_until_ready()
        seconds.append(time.perf_counter() - start)
    return {
        "seconds of a step": statistics.median(seconds),
        "seconds to compile": compile_seconds,
        "relative error of first losses": float(error),
        "first loss": losses[0],
        "last loss": float(loss),
    }


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Times StableHLO text through JAX.")
    parser.add_argument("programs", type=Path, nargs="+", help="files of StableHLO")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    jax.config.update("jax_enable_x64", True)  # Ids have 64 bits.
    device = jax.devices()[0]
    result: dict[str, Any] = {"device": device.device_kind, "jax": jax.__version__}
    print(f"{device.device_kind}, jax {jax.__version__}")
    for path in args.programs:
        figures = measure(path, args.repeats, device)
        result[path.stem] = figures
        line = f"{path.stem:<16}{figures['seconds of a step'] * 1e3:>10.2f} ms a step"
        print(f"{line}, loss {figures['first loss']:.4g} to {figures['last loss']:.4g}")
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
