"""Ids a second through `tf.data`, and how long the demo's training waits for batches.

Run from the repository's root:

    python benchmarks/speed/input_pipeline.py

The first part hashes strings of 16 bytes to CityHash64 keys in `Dataset.map`, batch by
batch. The second runs epochs of `examples/demo.py` on its data, with its settings,
and takes the time from asking for a batch to having it. It asks as `fit` does, in the
step's graph; the rest of the step starts when the batch is there. Beside it stands
what is left of that time when all batches are in memory already.
"""

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import tensorflow as tf
from timing import conditions, peak_memory

from tfrs_dhe import datasets, hashing
from tfrs_dhe._keras import keras

EXAMPLES = Path(__file__).parents[2] / "examples"
ID_BYTES = 16


def ids_per_second(num_ids: int, batch_size: int, repeats: int) -> float:
    """Returns the best of several passes over random ids."""
    generator = random.Random(0)
    ids = tf.constant([generator.randbytes(ID_BYTES) for _ in range(num_ids)])
    batches = tf.data.Dataset.from_tensors(ids).unbatch().batch(batch_size)
    batches = batches.cache()
    keys = batches.map(hashing.cityhash64, num_parallel_calls=tf.data.AUTOTUNE)
    keys = keys.prefetch(tf.data.AUTOTUNE)
    for _ in batches:  # Fills the cache: cutting batches is not what is measured.
        pass
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in keys:
            pass
        seconds.append(time.perf_counter() - start)
    return num_ids / min(seconds)


def demo_training() -> tuple[keras.Model, tf.data.Dataset]:
    """Returns the demo's model with deep hash embeddings, and its batches."""
    sys.path.append(str(EXAMPLES))
    import common
    import demo

    parser = common.argument_parser("", epochs=1)
    args = parser.parse_args([])
    args.num_hashes, args.num_hidden_layers, args.share = 256, 3, 0.25
    split = datasets.split_by_time(common.load(args).positives())
    batches = split.train_batches(512, seed=args.seed)
    batches = batches.map(common.add_movie_probability(split)).prefetch(2)
    model = demo.TwoTowerModel(
        demo.make_deep_hash_embedding(split.train_user_ids, args),
        demo.make_deep_hash_embedding(split.train_movie_ids, args),
    )
    model.compile(optimizer=keras.optimizers.Adam(5e-3))
    return model, batches


def waiting(epochs: int) -> list[dict[str, Any]]:
    """Returns seconds of each epoch of the demo, and those of them that it waits."""
    model, batches = demo_training()

    @tf.function(reduce_retracing=True)
    def step(iterator: Any) -> Any:
        asked = tf.timestamp()
        with tf.control_dependencies([asked]):
            batch = next(iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            waited = tf.timestamp() - asked
        with tf.control_dependencies([waited]):
            return waited, model.train_step(batch)["loss"]

    def epoch(batches: tf.data.Dataset) -> dict[str, float]:
        start, waited = time.perf_counter(), 0.0
        iterator = iter(batches)
        for _ in range(num_batches):
            waited += float(step(iterator)[0])
        return {"seconds": time.perf_counter() - start, "waiting": waited}

    num_batches = int(batches.cardinality())
    sources = {"read": batches, "in_memory": batches.cache().prefetch(2)}
    for source in sources.values():
        epoch(source)  # Traces, compiles and fills the cache.
    return [
        {"batches": name, **epoch(source)}
        for _ in range(epochs)
        for name, source in sources.items()
    ]


def measure(num_ids: int, batch_size: int, repeats: int, epochs: int) -> dict[str, Any]:
    """Returns both parts."""
    return {
        "num_ids": num_ids,
        "batch_size": batch_size,
        "repeats": repeats,
        **conditions(),
        "ids_per_second": ids_per_second(num_ids, batch_size, repeats),
        "epochs": waiting(epochs),
        "peak_bytes": peak_memory(),
    }


def print_table(result: dict[str, Any]) -> None:
    """Prints both parts."""
    print(
        f"{result['ids_per_second'] / 1e6:.1f} million ids of {ID_BYTES} bytes a second"
    )
    for epoch in result["epochs"]:
        share = epoch["waiting"] / epoch["seconds"]
        print(
            f"an epoch of the demo, batches {epoch['batches'].replace('_', ' ')}: "
            f"{epoch['seconds']:.2f} s, waiting {share:.1%}"
        )


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-ids", type=int, default=4_000_000)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    result = measure(args.num_ids, args.batch_size, args.repeats, args.epochs)
    print_table(result)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
