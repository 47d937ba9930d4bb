"""A run that learns in a second, and can be interrupted where a test wants."""

import os
import signal

import numpy as np
import tensorflow as tf

from tfrs_dhe import layers, mach, models
from tfrs_dhe._keras import keras

NUM_CLASSES, NUM_BUCKETS, NUM_REPETITIONS, SEED = 40, 8, 4, 3
EPOCHS, STEPS = 3, 12
CLASS_IDS = np.array([f"class {i}" for i in range(NUM_CLASSES)])

#: Called in every step of a training in this process.
on_step = None


def examples(num_examples, seed):
    """Returns noisy vectors [num_examples, 16] around one per class, and classes."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(NUM_CLASSES, 16))
    classes = rng.integers(NUM_CLASSES, size=num_examples)
    noise = rng.normal(size=(num_examples, 16))
    return (centers[classes] + 0.4 * noise).astype(np.float32), classes


class TinyModel(keras.Model):
    """Softmaxes over buckets; a random layer and batch statistics on the way."""

    def __init__(self, query_model, head):
        super().__init__()
        self.query_model = query_model
        self.head = head
        self.mean_loss = keras.metrics.Mean(name="loss")

    def train_step(self, batch):
        with tf.GradientTape() as tape:
            loss = self.loss_of(batch, training=True)
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        tf.numpy_function(lambda: on_step and on_step(), [], [])
        return {"loss": self.mean_loss.result()}

    def test_step(self, batch):
        self.loss_of(batch, training=False)
        return {"loss": self.mean_loss.result()}

    def loss_of(self, batch, training):
        queries, buckets = batch
        logits = self.head(self.query_model(queries, training=training))
        loss = mach.multiclass_loss(logits, buckets)
        self.mean_loss.update_state(loss)
        return loss


def make(repetitions, class_ids=CLASS_IDS, epochs=EPOCHS, **changes):
    """Returns the run; `changes` are other arguments of the head."""
    arguments = {
        "num_buckets": NUM_BUCKETS,
        "num_repetitions": NUM_REPETITIONS,
        "seed": SEED,
        "repetitions": repetitions,
    }
    head = layers.MACHHead(**arguments | changes)
    if head.balanced:
        head.balance(class_ids)
    query_model = keras.Sequential(
        [
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dropout(0.1),
            keras.layers.BatchNormalization(momentum=0.9),
        ]
    )
    model = TinyModel(query_model, head)
    model.compile(optimizer=keras.optimizers.Adam(0.01))

    def dataset(epoch):
        queries, classes = examples(32 * STEPS, seed=0)
        buckets = head.bucket_table(CLASS_IDS).T[classes]
        data = tf.data.Dataset.from_tensor_slices((queries, buckets))
        # Without a seed: the training has set the epoch's.
        return data.shuffle(32 * STEPS).batch(32)

    return models.TrainingRun(
        model, head, dataset, epochs, query_model=query_model, class_ids=class_ids
    )


def make_and_kill_once(repetitions):
    """As `make`, but the first process on repetition 2 is killed in its step 17."""
    global on_step
    marker, steps = os.environ["TINY_RUN_KILLED"], []

    def kill():
        steps.append(None)
        if len(steps) == 17 and not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

    if repetitions == (2,):
        on_step = kill
    return make(repetitions)
