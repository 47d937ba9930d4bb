r"""Data larger than memory: training from files, and embeddings into files.

Interactions of users and items are in sharded TFRecord files, and are streamed: there
is no vocabulary to collect first, no table that grows with the ids, and no list of
interactions. The trained item tower then embeds a catalogue, file by file. Memory stays
what TensorFlow, a shuffle buffer and the model take, however much data there is; the
peak is shown after each part.

    python examples/out_of_core.py
    python examples/out_of_core.py --directory big --num-interactions 10000000 \
        --num-items 5000000 --num-shards 100

With `--directory` files are kept, and interactions that are there are not made again.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import argparse
import contextlib
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe

NUM_TOPICS = 16
TOP = 10
#: Arguments that figures depend on.
SETTINGS = (
    "num_interactions",
    "num_items",
    "num_shards",
    "epochs",
    "batch_size",
    "learning_rate",
    "embedding_batch_size",
    "shuffle_buffer",
    "seed",
)
FEATURES = {
    "user_id": tf.io.FixedLenFeature([], tf.string),
    "item_id": tf.io.FixedLenFeature([], tf.string),
}


# Data.


def item_ids(numbers):
    return np.char.add("item-", numbers.astype(str))


def shard_interactions(shard, args):
    """Returns the user ids and item ids of a shard, which depend on its number alone.

    Users and items have topics, and meet within one. Half the items are drawn by
    Zipf's law; the other half goes through the catalogue, so that every id occurs.
    """
    rng = np.random.default_rng([args.seed, shard])
    first, last = (
        args.num_interactions * s // args.num_shards for s in (shard, shard + 1)
    )
    numbers = np.arange(first, last)
    items = numbers // 2 % args.num_items
    # A uniform logarithm of the rank; ranks of a topic are its items in order.
    ranks = np.exp(rng.random(len(items)) * np.log(args.num_items)).astype(np.int64) - 1
    items = np.where(numbers % 2 == 0, items, ranks)
    # Neighbours in the catalogue are of different topics, and so are users.
    num_users = max(args.num_items // 25, NUM_TOPICS)
    users = rng.integers(num_users // NUM_TOPICS, size=len(items)) * NUM_TOPICS
    users += items % NUM_TOPICS
    order = rng.permutation(len(items))
    return np.char.add("user-", users[order].astype(str)), item_ids(items[order])


def write_interactions(args):
    """Writes the shards that are missing, and returns the paths of all."""
    paths = []
    for shard in range(args.num_shards):
        name = f"interactions-{shard:05d}-of-{args.num_shards:05d}.tfrecord"
        paths.append(args.directory / name)
        if paths[-1].exists():
            continue
        part = paths[-1].with_suffix(".part")
        with tf.io.TFRecordWriter(str(part)) as writer:
            for user, item in zip(*shard_interactions(shard, args), strict=True):
                writer.write(serialized(user, item))
        part.rename(paths[-1])  # A file is there as a whole or not at all.
    return paths


def serialized(user, item):
    """Returns an interaction as a tf.train.Example."""
    features = {"user_id": user, "item_id": item}
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[value.encode()])
                )
                for name, value in features.items()
            }
        )
    ).SerializeToString()


def write_catalogue(args):
    """Writes the ids of all items, a line each, and returns the path."""
    path = args.directory / "catalogue.txt"
    with path.open("w") as file:
        for first in range(0, args.num_items, 100_000):
            last = min(first + 100_000, args.num_items)
            file.write("\n".join(item_ids(np.arange(first, last))) + "\n")
    return path


def read_interactions(paths, args, shuffle=True):
    """Returns batches of int64 keys, read from files as they are needed."""
    names = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    if shuffle:
        names = names.shuffle(len(paths), seed=args.seed)
    records = names.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(8, len(paths)),  # Files that are open at a time.
        block_length=64,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if shuffle:
        # What is shuffled are records, which are smaller than tensors of strings.
        records = records.shuffle(args.shuffle_buffer, seed=args.seed)

    def keys(batch):
        features = tf.io.parse_example(batch, FEATURES)
        # Strings end here: the model is fed with numbers, and XLA can compile it.
        return {
            name: tfrs_dhe.hashing.int64_keys(ids) for name, ids in features.items()
        }

    batches = records.batch(args.batch_size, drop_remainder=True)
    return batches.map(keys, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


# Model.


class TwoTowers(tfrs.Model):
    """Users and items, whose tables would have a row for each of millions of ids."""

    def __init__(self):
        super().__init__()
        self.user_model, self.item_model = (
            tfrs_dhe.layers.DeepHashEmbedding(
                32, hidden_dim=128, num_hidden_layers=2, num_hashes=256, name=name
            )
            for name in ("user_model", "item_model")
        )
        self.task = tfrs.tasks.Retrieval(
            remove_accidental_hits=True,
            batch_metrics=[
                tf.keras.metrics.TopKCategoricalAccuracy(TOP, name="in_batch")
            ],
        )

    def compute_loss(self, features, training=False):
        return self.task(
            self.user_model(features["user_id"], training=training),
            self.item_model(features["item_id"], training=training),
            candidate_ids=features["item_id"],
        )


# Embeddings.


def write_embeddings(model, catalogue, args):
    """Writes files of ids and of their embeddings, and returns the rates.

    `embeddings-00007-of-00050.npy` has the rows of the ids that are the lines of
    `ids-00007-of-00050.txt`.

    Returns:
      Embeddings a second and a processor second, file by file.
    """
    # Batch normalization is folded into the layers before it, and XLA compiles all.
    compiled = tf.function(model.item_model.inference_form(), jit_compile=True)
    size = args.embedding_batch_size

    def embed(keys):
        # A batch of another size would be compiled again.
        padded = tf.pad(keys, [[0, size - len(keys)]])
        return compiled(padded)[: len(keys)].numpy()

    embed(tf.zeros([0], tf.int64))  # Compiles.
    per_shard = -(-args.num_items // args.num_shards)
    num_shards = -(-args.num_items // per_shard)
    ids = tf.data.TextLineDataset(str(catalogue)).batch(per_shard).prefetch(1)
    rates = []
    for shard, lines in enumerate(ids):
        start = time.perf_counter(), time.process_time()
        suffix = f"{shard:05d}-of-{num_shards:05d}"
        keys = tfrs_dhe.hashing.int64_keys(lines)
        firsts = range(0, len(keys), size)
        rows = np.concatenate([embed(keys[first : first + size]) for first in firsts])
        np.save(args.directory / f"embeddings-{suffix}.npy", rows)
        text = b"\n".join(lines.numpy()) + b"\n"
        (args.directory / f"ids-{suffix}.txt").write_bytes(text)
        end = time.perf_counter(), time.process_time()
        rates.append(len(rows) / np.subtract(end, start))
    return np.array(rates)


# The run.


class Part:
    """Times a part of the run, and notes its figures.

    Seconds are those of the clock and of processors; the latter leave out what other
    programs do on the machine.
    """

    def __init__(self, figures, name, count=None):
        self.values = figures[name] = {}
        self._count = count

    def __enter__(self):
        self._start = time.perf_counter(), time.process_time()
        return self.values

    def __exit__(self, *exception):
        clock = time.perf_counter() - self._start[0]
        processor = time.process_time() - self._start[1]
        self.values["seconds"], self.values["processor seconds"] = clock, processor
        self.values["a second"] = self._count / clock
        self.values["a processor second"] = self._count / processor
        self.values["peak MB"] = peak_mb()


def peak_mb():
    """Returns the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


class Peaks(tf.keras.callbacks.Callback):
    """Notes the peak of memory at every tenth of the steps."""

    def __init__(self, steps):
        super().__init__()
        self._every, self.peaks = max(steps // 10, 1), []

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self._every == 0:
            self.peaks.append(peak_mb())


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--directory", type=Path, help="where files are kept")
    parser.add_argument("--num-interactions", type=int, default=60_000)
    parser.add_argument("--num-items", type=int, default=2_000)
    parser.add_argument("--num-shards", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--embedding-batch-size", type=int, default=4096)
    parser.add_argument("--shuffle-buffer", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args(argv)
    if args.num_shards < 2:
        parser.error("--num-shards must be at least 2: the last is not trained on")
    return args


def run(args):
    """Writes, trains, tests and embeds; returns the model and the figures."""
    tf.keras.utils.set_random_seed(args.seed)
    figures = {"start": {"peak MB": peak_mb()}}

    with Part(figures, "writing interactions", args.num_interactions) as values:
        paths = write_interactions(args)
        catalogue = write_catalogue(args)
        values["MB of files"] = sum(path.stat().st_size for path in paths) / 1e6

    *train_paths, test_path = paths
    count = args.num_interactions // args.num_shards * len(train_paths) * args.epochs
    peaks = Peaks(count // args.batch_size // args.epochs)
    model = TwoTowers()
    model.compile(tf.keras.optimizers.Adam(args.learning_rate))
    with Part(figures, "training, interactions", count) as values:
        train = read_interactions(train_paths, args)
        model.fit(train, epochs=args.epochs, callbacks=[peaks], verbose=2)
        values["peak MB by tenth"] = peaks.peaks

    test = read_interactions([test_path], args, shuffle=False)
    logs = model.evaluate(test, return_dict=True, verbose=0)
    figures["test"] = {
        f"in-batch top {TOP}": logs["in_batch"],
        "by chance": TOP / args.batch_size,
    }

    with Part(figures, "embedding the catalogue", args.num_items) as values:
        rates = write_embeddings(model, catalogue, args)
        for column, unit in enumerate(("a second", "a processor second")):
            values[f"{unit}, slowest file"] = float(rates[:, column].min())
            values[f"{unit}, median file"] = float(np.median(rates[:, column]))
            values[f"{unit}, fastest file"] = float(rates[:, column].max())
    return model, figures


def main(argv=None):
    args = parse(argv)
    with contextlib.ExitStack() as stack:
        if args.directory is None:
            args.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        args.directory.mkdir(parents=True, exist_ok=True)
        _, figures = run(args)
    for part, values in figures.items():
        print(f"\n{part}")
        for name, value in values.items():
            if isinstance(value, list):
                shown = " ".join(f"{number:,.0f}" for number in value)
            else:
                shown = f"{value:,.3f}" if value < 10 else f"{value:,.0f}"
            print(f"  {name:<34}{shown}")
    if args.output is not None:
        options = {
            name: value for name, value in vars(args).items() if name in SETTINGS
        }
        args.output.write_text(json.dumps({**options, **figures}, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    main()
