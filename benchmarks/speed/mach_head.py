"""A training step of a MACH head, next to that of a full softmax over all classes.

Run `python benchmarks/speed/mach_head.py` from the repository's root. A step is head,
loss, gradients and Adam on a batch of embeddings. Each head is measured in a process
of its own, which reports the most memory it ever held, by step and state together.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from timing import conditions, median_times, peak_memory

from tfrs_dhe import mach
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead

HEADS = ("mach", "softmax")


def make_head(args: argparse.Namespace) -> tuple[Any, Callable[..., tf.Tensor]]:
    """A head, and its loss for embeddings [batch, d] and classes [batch]."""
    if args.head == "mach":
        head = MACHHead(args.num_buckets, args.num_repetitions)

        def loss(embeddings: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
            return mach.multiclass_loss(head(embeddings), head.bucket_ids(classes))

    else:
        head = keras.layers.Dense(args.num_classes)

        def loss(embeddings: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                classes, head(embeddings)
            )
            return tf.reduce_sum(losses)

    head.build((None, args.dim))
    return head, loss


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time of a step and memory of a process that does it."""
    before = peak_memory()
    head, loss_of = make_head(args)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(head.trainable_variables)
    classes = tf.random.stateless_uniform(
        [args.batch_size], [0, 0], maxval=args.num_classes, dtype=tf.int64
    )

    @tf.function
    def step(embeddings: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = loss_of(embeddings, classes)
        gradients = tape.gradient(loss, head.trainable_variables)
        optimizer.apply_gradients(zip(gradients, head.trainable_variables, strict=True))
        return [loss]

    embeddings = tf.random.stateless_normal([args.batch_size, args.dim], seed=[0, 1])
    time = median_times({"": step}, embeddings, args.repeats)[""]
    return {
        "head": args.head,
        "parameters": sum(int(tf.size(x)) for x in head.trainable_variables),
        "seconds": time.wall,
        "processor_seconds": time.processor,
        "peak_bytes": peak_memory(),
        "peak_bytes_before": before,
    }


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="MACH head and full softmax.")
    parser.add_argument("--num-classes", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--num-buckets", type=int, default=4096)
    parser.add_argument("--num-repetitions", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--head", choices=HEADS, help="measure this one, here")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    if args.head is not None:
        print(json.dumps(measure(args)))
        return
    rows = []
    for head in HEADS:
        command = [sys.executable, *sys.argv, "--head", head]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout))
    print(f"{'head':<9}{'parameters':>13}{'ms':>10}{'peak GB':>9}{'before':>8}")
    for row in rows:
        line = f"{row['head']:<9}{row['parameters']:>13,}{row['seconds'] * 1e3:>10.1f}"
        line += f"{row['peak_bytes'] / 1e9:>9.2f}"
        print(line + f"{row['peak_bytes_before'] / 1e9:>8.2f}")
    ratio = rows[1]["seconds"] / rows[0]["seconds"]
    print(f"MACH is {ratio:.1f} times faster")
    if args.output is not None:
        settings = {k: v for k, v in vars(args).items() if k not in ("output", "head")}
        result = {**settings, **conditions(), "rows": rows}
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
