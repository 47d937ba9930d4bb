"""Training speed of the decoder, next to its matrix products alone and to PyTorch.

Run `python benchmarks/speed/decoder.py` from the repository's root. A step is forward
and backward through Dense, batch normalization and Mish, several times, and the last
Dense, with the gradients of all weights. The products are those of the same step and
nothing else. All take turns, and figures of one run can be compared.

`--torch-python PATH` names a Python that has PyTorch; the same network is measured
there by `decoder_torch.py`, right after.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from timing import conditions, median_times, peak_memory

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import EmbeddingNetwork, _compiled_normalization

PRODUCTS = "matrix products"
OUTPUT_DIM = 32

Step = Callable[[tf.Tensor], list[tf.Tensor]]


def training_step(
    forward: Callable[[tf.Tensor], tf.Tensor], weights: list[Any]
) -> Step:
    """A function from a batch to the gradients of weights."""

    def step(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = forward(inputs)
            # Its gradient is the outputs: no pass over them that counts.
            loss = tf.nn.l2_loss(outputs)
        gradients: list[tf.Tensor] = tape.gradient(loss, weights)
        return gradients

    return step


def products(network: EmbeddingNetwork) -> Step:
    """The step of a network with nothing between its products."""
    kernels = [weight for weight in network.trainable_weights if weight.shape.rank == 2]

    def forward(rows: tf.Tensor) -> tf.Tensor:
        for kernel in kernels:
            rows = tf.matmul(rows, kernel)
        return rows

    return training_step(forward, kernels)


def of_keras(width: int, num_layers: int) -> Step:
    """The same network of Keras's own layers."""
    layers = []
    for _ in range(num_layers):
        layers += [
            keras.layers.Dense(width, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("mish"),
        ]
    model = keras.Sequential([*layers, keras.layers.Dense(OUTPUT_DIM)])
    model.build((None, width))
    return training_step(
        lambda rows: model(rows, training=True), model.trainable_weights
    )


def op_by_op(step: Step) -> Step:
    """The step as it was where nothing compiles itself."""

    def traced(inputs: tf.Tensor) -> list[tf.Tensor]:
        is_useful = _compiled_normalization.is_useful
        _compiled_normalization.is_useful = lambda *_: False
        try:
            return step(inputs)
        finally:
            _compiled_normalization.is_useful = is_useful

    return traced


def make_steps(width: int, num_layers: int) -> dict[str, Step]:
    """All ways to train, as graphs but one."""
    network = EmbeddingNetwork(OUTPUT_DIM, width, num_layers)
    network.build((None, width))
    step = training_step(
        lambda rows: network(rows, training=True), network.trainable_weights
    )
    dynamic = [tf.TensorSpec([None, width])]
    return {
        PRODUCTS: tf.function(products(network)),
        "EmbeddingNetwork": tf.function(step),
        "EmbeddingNetwork, batch of any size": tf.function(step, dynamic),
        "EmbeddingNetwork, eager": step,
        "EmbeddingNetwork, jit_compile": tf.function(step, jit_compile=True),
        "EmbeddingNetwork, op by op": tf.function(op_by_op(step)),
        "layers of Keras": tf.function(of_keras(width, num_layers)),
    }


def in_torch(python: str, args: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step in PyTorch; nothing, with a word, if it is not there."""
    command = [python, str(Path(__file__).with_name("decoder_torch.py"))]
    for name in ("batch_size", "width", "num_layers", "repeats"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"PyTorch was not measured: {python} failed.")
        return {}
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Training speed of the decoder.")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--num-layers", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--torch-python", help="a Python that has PyTorch")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if min(args.batch_size, args.width, args.num_layers, args.repeats) < 1:
        parser.error("sizes and --repeats must be at least 1")
    tf.get_logger().setLevel("ERROR")  # Several functions of one code are wanted.

    inputs = tf.random.stateless_normal([args.batch_size, args.width], seed=[0, 0])
    times = median_times(make_steps(args.width, args.num_layers), inputs, args.repeats)
    seconds = {name: time.wall for name, time in times.items()}
    if args.torch_python is None:
        print("PyTorch is not measured: --torch-python names no Python that has it.")
    else:
        seconds |= in_torch(args.torch_python, args)
    rows = [
        {
            "step": name,
            "seconds": value,
            "ratio_to_products": value / seconds[PRODUCTS],
        }
        for name, value in seconds.items()
    ]
    print(f"[{args.batch_size}, {args.width}], {args.num_layers} hidden layers")
    print(f"{'forward and backward':<38}{'ms':>8}{'/ products':>12}")
    for row in rows:
        line = f"{row['step']:<38}{row['seconds'] * 1e3:>8.1f}"
        print(line + f"{row['ratio_to_products']:>12.2f}")
    if args.output is not None:
        settings = {
            name: value
            for name, value in vars(args).items()
            if name not in ("output", "torch_python")
        }
        peak = {"peak_bytes": peak_memory()}
        result = {**settings, **conditions(), **peak, "rows": rows}
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
