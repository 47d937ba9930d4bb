"""A training step of a TFRS two-tower model: deep hash embeddings, next to tables.

Run `python benchmarks/speed/two_towers.py` from the repository's root. A step is all
that `fit` does with a batch: both towers, the task `tfrs.tasks.Retrieval` with the
other items of the batch as negatives, gradients, batch statistics and Adam. Each model
is measured in a process of its own, which reports the most memory it ever held: the
weights, Adam's two numbers for each of them, and what a step needs besides.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from timing import conditions, median_times, peak_memory
from training_steps import Retrieval, Sizes, make_batch, tfrs

from tfrs_dhe._keras import keras

MODELS = ("dhe", "tables")


class TableRetrieval(tfrs.Model):
    """As `Retrieval`, with a row of a table for each user and each item."""

    def __init__(self, num_rows: int, dim: int) -> None:
        super().__init__()
        self.users = keras.layers.Embedding(num_rows, dim)
        self.items = keras.layers.Embedding(num_rows, dim)
        self.task = tfrs.tasks.Retrieval(remove_accidental_hits=True)

    def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
        """Returns the loss of a batch."""
        return self.task(
            self.users(features["user_id"]),
            self.items(features["item_id"]),
            candidate_ids=features["item_id"],
        )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time of a step and memory of a process that does it."""
    before = peak_memory()
    sizes = Sizes(batch_size=args.batch_size, embedding_dim=args.dim)
    batch = {k: x for k, x in make_batch(sizes).items() if k != "rating"}
    if args.model == "dhe":
        model = Retrieval(sizes)
    else:
        model = TableRetrieval(args.num_rows, args.dim)
        # Numbers of rows, as a vocabulary would give them.
        batch = {name: ids % args.num_rows for name, ids in batch.items()}
    model.compile(keras.optimizers.Adam(1e-3))
    model.compute_loss(batch)  # Makes the weights, outside of the step.
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda features: [model.train_step(features)["loss"]])
    time = median_times({"": step}, batch, args.repeats)[""]
    variables = [*model.variables, *model.optimizer.variables]
    return {
        "model": args.model,
        "parameters": sum(int(np.prod(x.shape)) for x in model.trainable_variables),
        "bytes_of_variables": sum(4 * int(np.prod(x.shape)) for x in variables),
        "seconds": time.wall,
        "processor_seconds": time.processor,
        "peak_bytes": peak_memory(),
        "peak_bytes_before": before,
    }


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Two towers of DHE and of tables.")
    parser.add_argument("--num-rows", type=int, default=10_000_000, help="of a table")
    parser.add_argument("--dim", type=int, default=16, help="of embeddings")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--model", choices=MODELS, help="measure this one, here")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    if args.model is not None:
        print(json.dumps(measure(args)))
        return
    rows = []
    for model in MODELS:
        command = [sys.executable, *sys.argv, "--model", model]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout))
    print(f"{'model':<9}{'parameters':>13}{'with Adam, GB':>15}{'ms':>10}", end="")
    print(f"{'peak GB':>9}{'before':>8}")
    for row in rows:
        line = f"{row['model']:<9}{row['parameters']:>13,}"
        line += f"{row['bytes_of_variables'] / 1e9:>15.3f}{row['seconds'] * 1e3:>10.1f}"
        line += f"{row['peak_bytes'] / 1e9:>9.2f}"
        print(line + f"{row['peak_bytes_before'] / 1e9:>8.2f}")
    if args.output is not None:
        settings = {k: v for k, v in vars(args).items() if k not in ("output", "model")}
        result = {**settings, **conditions(), "rows": rows}
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
