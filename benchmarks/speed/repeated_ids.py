"""A training step with the repeated ids of a batch computed once each, and without.

Run from the repository's root, with the folder that holds the folders of the sets:

    python benchmarks/speed/repeated_ids.py --data-dir FOLDER

Batches of 4096 are taken from a real set: drawn from all its interactions, as after a
shuffle, or in the order of the file, as without. They are items of sessions-nowplaying,
session by session, and users of amazon-book, user by user. The layer is the paper's,
1024 hashes and 5 x 512; a step is encoding, network, gradients, batch statistics and
Adam.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
from timing import conditions, median_times, peak_memory

from tfrs_dhe import datasets, hashing
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DeepHashEmbedding


def session_items(folder: Path) -> np.ndarray:
    """Returns the item of each event, int64 [num_events]."""
    path = folder / "sessions-nowplaying" / "train_sessions.txt"
    return datasets.read_sessions(path).items.astype(np.int64)


def book_users(folder: Path) -> np.ndarray:
    """Returns the user of each interaction as a key, int64 [num_interactions]."""
    lines = (folder / "amazon-book" / "interactions.tsv").read_bytes().splitlines()
    users = tf.constant([line.split(b"\t", 1)[0] for line in lines])
    return hashing.int64_keys(users).numpy()


SETS = {
    "items of sessions-nowplaying": session_items,
    "users of amazon-book": book_users,
}


def make_step(
    deduplicate: bool, hidden_dim: int, num_hidden_layers: int, num_hashes: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the training step of a layer whose embeddings have a target each."""
    layer = DeepHashEmbedding(
        32,
        hidden_dim,
        num_hidden_layers=num_hidden_layers,
        num_hashes=num_hashes,
        deduplicate=deduplicate,
    )
    optimizer = keras.optimizers.Adam(jit_compile=False)
    layer(tf.zeros([1], tf.int64), training=False)
    optimizer.build(layer.trainable_variables)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def step(ids: tf.Tensor) -> tf.Tensor:
        targets = tf.cast(ids[:, tf.newaxis] % 2, tf.float32)
        with tf.GradientTape() as tape:
            errors = (layer(ids, training=True) - targets) ** 2
            losses = tf.reduce_mean(errors, axis=-1)
            loss = tf.reduce_mean(losses)
        variables = layer.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return losses

    return step


def measure(
    ids_of_sets: dict[str, np.ndarray],
    batch_size: int,
    repeats: int,
    seed: int,
    **sizes: int,
) -> dict[str, Any]:
    """Seconds of a step on each set, with ids computed once and without."""
    generator = np.random.default_rng(seed)
    rows = []
    for name, ids in ids_of_sets.items():
        start = generator.integers(len(ids) - batch_size + 1)
        drawn = generator.choice(ids, batch_size)
        in_order = ids[start : start + batch_size]
        for order, batch in ("drawn", drawn), ("in order", in_order):
            steps = {once: make_step(once, **sizes) for once in (False, True)}
            seconds = median_times(steps, tf.constant(batch), repeats)
            rows.append(
                {
                    "set": name,
                    "order": order,
                    "distinct_ids": len(np.unique(batch)),
                    "seconds": seconds[False].wall,
                    "seconds_once": seconds[True].wall,
                    "ratio": seconds[False].wall / seconds[True].wall,
                    "processor_ratio": seconds[False].processor
                    / seconds[True].processor,
                }
            )
    return {
        "batch_size": batch_size,
        "repeats": repeats,
        "seed": seed,
        **sizes,
        **conditions(),
        "peak_bytes": peak_memory(),
        "rows": rows,
    }


def print_table(result: dict[str, Any]) -> None:
    """Prints one line per set."""
    print(f"{'batch of ' + str(result['batch_size']):<40}{'distinct':>9}", end="")
    print(f"{'each, ms':>10}{'once, ms':>10}{'ratio':>7}{'of work':>9}")
    for row in result["rows"]:
        line = f"{row['set'] + ', ' + row['order']:<40}{row['distinct_ids']:>9}"
        line += f"{row['seconds'] * 1e3:>10.1f}"
        line += f"{row['seconds_once'] * 1e3:>10.1f}{row['ratio']:>7.2f}"
        print(line + f"{row['processor_ratio']:>9.2f}")


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--hidden-dim", type=int, default=512)
    parser.add_argument("--num-hidden-layers", type=int, default=5)
    parser.add_argument("--num-hashes", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    sizes = ("hidden_dim", "num_hidden_layers", "num_hashes")
    result = measure(
        {name: read(args.data_dir) for name, read in SETS.items()},
        args.batch_size,
        args.repeats,
        args.seed,
        **{name: getattr(args, name) for name in sizes},
    )
    print_table(result)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
