"""Trains small models on one device, on two replicas, or as a worker of a cluster.

A program of its own, since devices and cluster of a process are decided once:

    python -m tests.models.distributed one_device retrieval DIRECTORY
"""

import functools
import json
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe
from tfrs_dhe._keras import keras

EPOCHS, BATCH, NUM_REPETITIONS = 3, 24, 3
#: The last batch is smaller, and odd.
NUM_EXAMPLES = 3 * BATCH + 7
#: Where the worker that is to be killed dies: in the middle of the second epoch.
KILLED_AT = (1, 2)


def dataset():
    """Returns batches, the same in every epoch; users and items repeat in each."""
    rng = np.random.default_rng(0)
    users, items = (
        rng.integers(12, size=NUM_EXAMPLES),
        rng.integers(9, size=NUM_EXAMPLES),
    )
    columns = {
        "user_id": np.char.add("user ", users.astype(str)),
        "item_id": np.char.add("item ", items.astype(str)),
    }
    return tf.data.Dataset.from_tensor_slices(columns).batch(BATCH)


def tower(**options):
    return tfrs_dhe.layers.DeepHashEmbedding(
        8, 16, num_hidden_layers=2, num_hashes=32, momentum=0.9, **options
    )


class Retrieval(tfrs.Model):
    """Two towers; the other items of the whole batch are the negatives."""

    def __init__(self):
        super().__init__()
        self.users, self.items = tower(), tower(deduplicate=True)
        self.task = tfrs.tasks.Retrieval(remove_accidental_hits=True)

    def compute_loss(self, features, training=False):
        candidates = {
            "embeddings": self.items(features["item_id"], training=training),
            "ids": tfrs_dhe.hashing.int64_keys(features["item_id"]),
        }
        candidates = tfrs_dhe.tasks.gather_candidates(candidates)
        loss = self.task(
            self.users(features["user_id"], training=training),
            candidates["embeddings"],
            candidate_ids=candidates["ids"],
        )
        return tf.cast(loss, tf.float32)  # As the step of TFRS wants it.


class MACH(tfrs_dhe.models.Model):
    """A tower and a head over buckets."""

    objective = "softmax"

    def __init__(self):
        super().__init__()
        self.users = tower()
        head = tfrs_dhe.layers.MACHHead(6, NUM_REPETITIONS)
        self.task = tfrs_dhe.tasks.MACHRetrieval(head, objective=self.objective)

    def compute_loss(self, features, training=False):
        return self.task(
            self.users(features["user_id"]), candidate_ids=self.candidates(features)
        )

    def candidates(self, features):
        return features["item_id"]


class InBatchMACH(MACH):
    """One score an item, against the other items of the whole batch."""

    objective = "in_batch"

    def candidates(self, features):
        keys = tfrs_dhe.hashing.int64_keys(features["item_id"])
        return tfrs_dhe.tasks.gather_candidates(keys)


MODELS = {"retrieval": Retrieval, "mach": MACH, "in_batch": InBatchMACH}


class Losses(keras.callbacks.Callback):
    """Writes down the losses of each epoch, and kills the process where asked to."""

    def __init__(self, prefix, kill_marker=None):
        super().__init__()
        self.prefix, self.kill_marker = prefix, kill_marker

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.losses = epoch, []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        marker = self.kill_marker
        if marker and (self.epoch, batch) == KILLED_AT and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_end(self, epoch, logs=None):
        path = Path(f"{self.prefix}-losses-{epoch}.json")
        assert not path.exists()  # What was done before a restart is not done again.
        path.write_text(json.dumps(self.losses))


def make(name):
    """Returns a compiled model, to be called in the scope of a strategy."""
    # Rounding is then far below every difference that matters.
    keras.backend.set_floatx("float64")
    keras.utils.set_random_seed(3)
    model = MODELS[name]()
    model.compile(keras.optimizers.Adam(0.01))
    return model


def save(model, prefix):
    weights = {f"{i:02d}": weight for i, weight in enumerate(model.get_weights())}
    np.savez(f"{prefix}-weights.npz", **weights)


def train(name, strategy, prefix, backup, kill_marker=None):
    """Trains, from where a killed process was, and writes losses and weights."""
    with strategy.scope():
        model = make(name)
    callbacks = [
        Losses(prefix, kill_marker),
        keras.callbacks.BackupAndRestore(str(backup)),
    ]
    model.fit(dataset(), epochs=EPOCHS, callbacks=callbacks, verbose=0)
    save(model, prefix)
    return model


def one_device(names, directory):
    for name in names:
        prefix = directory / f"{name}-one_device"
        train(name, tf.distribute.get_strategy(), prefix, f"{prefix}-backup")


def mirrored(names, directory):
    """Two replicas in a process, whose checkpoints one device reads."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    for name in names:
        prefix = directory / f"{name}-mirrored"
        model = train(name, strategy, prefix, f"{prefix}-backup")
        model.save_weights(f"{prefix}-checkpoint")
        loaded = make(name)
        loaded.load_weights(f"{prefix}-checkpoint")
        loaded.evaluate(dataset(), verbose=0)  # Makes the weights.
        save(loaded, directory / f"{name}-loaded")


def worker(names, directory):
    """One of two processes, of which the second is killed once."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == 2
    task = strategy.cluster_resolver.task_id
    for name in names:
        train(
            name,
            strategy,
            directory / f"{name}-worker{task}",
            directory / f"{name}-backup",
            kill_marker=directory / "killed" if task == 1 else None,
        )


def parameter_server(num_workers, names, directory):
    """A coordinator of workers and a parameter server, all in this process."""
    cluster = {
        "worker": [f"localhost:{port}" for port in free_ports(num_workers)],
        "ps": [f"localhost:{port}" for port in free_ports(1)],
    }
    spec = tf.train.ClusterSpec(cluster)
    # Steps wait for one another in threads, of which two cores have too few.
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=4)
    servers = [
        tf.distribute.Server(spec, job_name=job, task_index=i, config=config)
        for job in cluster
        for i in range(len(cluster[job]))
    ]
    strategy = tf.distribute.ParameterServerStrategy(
        tf.distribute.cluster_resolver.SimpleClusterResolver(
            spec, rpc_layer=servers[0].server_def.protocol
        )
    )
    for name in names:
        with strategy.scope():
            model = make(name)
        before = loss_of(make(name))
        steps = {"epochs": EPOCHS, "steps_per_epoch": len(dataset())}
        model.fit(dataset().repeat(), **steps, verbose=0)
        prefix = directory / f"{name}-by{num_workers}"
        save(model, prefix)
        # On this device, since workers report the last step of one of them.
        trained = make(name)
        loss_of(trained)  # Makes the weights.
        trained.set_weights(model.get_weights())
        Path(f"{prefix}-losses.json").write_text(json.dumps([before, loss_of(trained)]))


def loss_of(model):
    """Returns the loss over all data, not in training."""
    return float(sum(model.compute_loss(batch) for batch in dataset()))


def free_ports(count):
    """Returns ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


PLACES = {
    "one_device": one_device,
    "mirrored": mirrored,
    "worker": worker,
    "parameter_server_1": functools.partial(parameter_server, 1),
    "parameter_server_2": functools.partial(parameter_server, 2),
}

if __name__ == "__main__":
    PLACES[sys.argv[1]](sys.argv[2].split(","), Path(sys.argv[3]))
