"""Writes the StableHLO text of whole training steps, and what they start from.

Run `python benchmarks/speed/stablehlo.py --directory programs` from the repository's
root. For each model there are then

    programs/NAME.mlir   the program: a batch and all variables in, the loss and the
                         variables' new values out
    programs/NAME.npz    its arguments, by number, and `losses`: what TensorFlow, op by
                         op, computes in the first steps from them

which `tpu_compile.py` compiles for a TPU, and `stablehlo_time.py` runs and times on a
GPU or CPU, both without TensorFlow.
"""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from training_steps import MODELS, Sizes, make_batch, make_step

NUM_LOSSES = 3


def program(name: str, sizes: Sizes) -> tuple[str, list[np.ndarray]]:
    """Returns the text of a model's step and the arguments to start with."""
    step: Any = make_step(name, sizes, compiled=True)
    batch = make_batch(sizes)
    specs = {key: tf.TensorSpec(x.shape, x.dtype) for key, x in batch.items()}
    text = step.experimental_get_compiler_ir(**specs)(stage="stablehlo")
    # The batch comes first, then the variables in the order they are captured in.
    traced = step.get_concrete_function(**specs)
    of_handle = {id(v.handle): v for v in traced.graph.variables}
    variables = [of_handle[id(handle)] for handle in traced.captured_inputs]
    return text, [x.numpy() for x in (*batch.values(), *variables)]


def first_losses(name: str, sizes: Sizes) -> list[float]:
    """Returns the losses of the first steps on the same batch, op by op."""
    step, batch = make_step(name, sizes, compiled=False), make_batch(sizes)
    return [float(step(**batch)) for _ in range(NUM_LOSSES)]


def write(name: str, sizes: Sizes, directory: Path) -> None:
    """Writes the files of a model."""
    text, arguments = program(name, sizes)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.mlir").write_text(text)
    numbered = {f"{i:04d}": argument for i, argument in enumerate(arguments)}
    losses = np.array(first_losses(name, sizes))
    np.savez(directory / f"{name}.npz", losses=losses, **numbered)


def main() -> None:
    """Writes the files of all models."""
    parser = argparse.ArgumentParser(description="StableHLO text of training steps.")
    parser.add_argument("--directory", type=Path, required=True)
    for field in dataclasses.fields(Sizes):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default)
    args = vars(parser.parse_args())
    directory = args.pop("directory")
    for name in MODELS:
        write(name, Sizes(**args), directory)
        print(directory / f"{name}.mlir")


if __name__ == "__main__":
    main()
