"""The training step of `decoder.py` in PyTorch, eager and compiled.

`decoder.py --torch-python PATH` runs it and reads the seconds that it prints as JSON,
from a Python that has PyTorch and no TensorFlow.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

OUTPUT_DIM = 32
WARM_UP = 3


def training_step(forward: Callable, weights: list[nn.Parameter]) -> Callable:
    """A function from a batch to the gradients of weights."""

    def step(inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = forward(inputs)
        return torch.autograd.grad(outputs.square().sum() / 2, weights)

    return step


def make_steps(width: int, num_layers: int) -> dict[str, Callable]:
    """The matrix products alone, and the network."""
    layers: list[nn.Module] = []
    for _ in range(num_layers):
        dense = nn.Linear(width, width, bias=False)
        layers += [dense, nn.BatchNorm1d(width), nn.Mish(inplace=False)]
    network = nn.Sequential(*layers, nn.Linear(width, OUTPUT_DIM)).train()
    kernels = [weight for weight in network.parameters() if weight.dim() == 2]

    def products(rows: torch.Tensor) -> torch.Tensor:
        for kernel in kernels:
            rows = rows @ kernel.T
        return rows

    weights = list(network.parameters())
    return {
        "PyTorch, matrix products": training_step(products, kernels),
        "PyTorch": training_step(network, weights),
        "PyTorch, torch.compile": training_step(torch.compile(network), weights),
    }


def median_seconds(steps: dict[str, Callable], inputs: torch.Tensor, repeats: int):
    """Medians of `repeats` calls, taken in turns; without what cannot run here."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(WARM_UP + repeats):
        for name in list(taken):
            start = time.perf_counter()
            try:
                steps[name](inputs)
            except Exception as error:  # torch.compile needs a C++ compiler.
                print(f"{name}: {str(error).splitlines()[0]}", file=sys.stderr)
                del taken[name]
                continue
            if repeat >= WARM_UP:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def main() -> None:
    """Prints seconds of each step."""
    parser = argparse.ArgumentParser(description="The decoder's step in PyTorch.")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--num-layers", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    torch.manual_seed(0)
    inputs = torch.randn(args.batch_size, args.width)
    steps = make_steps(args.width, args.num_layers)
    print(json.dumps(median_seconds(steps, inputs, args.repeats)))


if __name__ == "__main__":
    main()
