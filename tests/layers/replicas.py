"""Steps and trainings of deep hash embeddings on one device and on two replicas.

`main` is for a process of its own, since the devices of a process are decided once.
"""

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DeepHashEmbedding

# An odd number, so that one replica has fewer; ids repeat within and across replicas.
IDS = np.array([7, 8, 7, 0, 9, 0, 7, 8, 5, 7, 0])
OPTIONS = {"plain": {}, "padding": {"mask_value": 0}, "deduplicate": {}}


def make_layer(name):
    """Returns a built layer, whose weights depend on nothing but the seed."""
    keras.utils.set_random_seed(1)
    layer = DeepHashEmbedding(
        3,
        6,
        num_hidden_layers=2,
        num_hashes=16,
        deduplicate=name == "deduplicate",
        dtype="float64",
        **OPTIONS[name],
    )
    layer(tf.constant(IDS), training=False)
    return layer


def step(layer, ids):
    """Returns outputs, and gradients of a loss that no row's loss is like."""
    with tf.GradientTape() as tape:
        outputs = layer(ids, training=True)
        loss = tf.reduce_sum(outputs * tf.cast(ids % 5 + 1, outputs.dtype)[:, None])
    gradients = tape.gradient(loss, layer.trainable_variables)
    return outputs, [tf.convert_to_tensor(gradient) for gradient in gradients]


def on_one_device(name):
    """Returns outputs, gradients and then the weights that are not trained."""
    layer = make_layer(name)
    outputs, gradients = tf.function(step)(layer, tf.constant(IDS))
    return [outputs, *gradients, *layer.non_trainable_variables]


def on_two_replicas(name):
    """Returns the same, of the whole batch."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = make_layer(name)
    batch = tf.data.Dataset.from_tensor_slices(IDS).batch(len(IDS))
    (ids,) = strategy.experimental_distribute_dataset(batch)
    assert len(strategy.experimental_local_results(ids)) == 2
    outputs, gradients = tf.function(lambda ids: strategy.run(step, args=(layer, ids)))(
        ids
    )
    outputs = tf.concat(strategy.experimental_local_results(outputs), axis=0)
    gradients = [strategy.reduce("SUM", gradient, axis=None) for gradient in gradients]
    return [outputs, *gradients, *layer.non_trainable_variables]


def fitted(strategy):
    """Returns the losses of the epochs of a training, and the weights after it."""
    ids = np.arange(40) % 23
    targets = (ids % 3).astype("float64")
    with strategy.scope():
        inputs = keras.Input((), dtype="int64")
        head = keras.layers.Dense(1, kernel_initializer="ones", dtype="float64")
        model = keras.Model(inputs, head(make_layer("plain")(inputs)))
        model.compile(keras.optimizers.Adam(0.05), "mse")
    # Whole batches: Keras takes the mean of the replicas' mean losses.
    batches = tf.data.Dataset.from_tensor_slices((ids, targets)).batch(10)
    history = model.fit(batches, epochs=3, verbose=0)
    return [history.history["loss"], *model.get_weights()]


def main(path):
    """Writes what both places gave."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    arrays = {}
    for name in OPTIONS:
        for place in (on_one_device, on_two_replicas):
            for i, value in enumerate(place(name)):
                array = tf.convert_to_tensor(value).numpy()
                arrays[f"{name} {place.__name__} {i:02d}"] = array
    for place in (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    ):
        for i, value in enumerate(fitted(place)):
            arrays[f"fitted {place.num_replicas_in_sync} {i:02d}"] = value
    np.savez(path, **arrays)
