"""`compile(jit_compile=True)` on ids as int64, on both Kerases, against op by op."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DeepHashEmbedding, MACHHead

EPOCHS, BATCH = 3, 16


def set_float_dtype(dtype: str) -> None:
    keras.backend.set_floatx(dtype)
    # In Keras 3 a policy that was once set does not follow `set_floatx`.
    keras.mixed_precision.set_global_policy(dtype)


@pytest.fixture(autouse=True)
def float64():
    """Rounding is then far below every difference that matters."""
    set_float_dtype("float64")
    yield
    set_float_dtype("float32")


def make_model(jit_compile: bool):
    """Ids of users and items -> logits of the buckets of what comes next."""
    keras.utils.set_random_seed(5)
    ids = keras.Input([2], dtype="int64")
    options = {"num_hidden_layers": 2, "num_hashes": 16, "mask_value": 0}
    embeddings = DeepHashEmbedding(4, 8, **options)(ids)
    flat = keras.layers.Reshape([8])(embeddings)
    logits = MACHHead(5, 3)(flat)
    model = keras.Model(ids, logits)
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    return model


def test_compiled_training_is_that_op_by_op() -> None:
    """With a last batch that is smaller, and compiled by itself."""
    rng = np.random.default_rng(0)
    limits = np.iinfo(np.int64)
    ids = rng.integers(limits.min, limits.max, [3 * BATCH + 5, 2])
    ids[::4, 1] = 0  # Padding.
    buckets = MACHHead(5, 3, embedding_dim=8).bucket_ids(ids[:, 0])
    data = tf.data.Dataset.from_tensor_slices((ids, buckets)).batch(BATCH)
    histories, weights = [], []
    for jit_compile in (False, True):
        model = make_model(jit_compile)
        history = model.fit(data, epochs=EPOCHS, verbose=0).history["loss"]
        histories.append(history)
        weights.append(model.get_weights())
    assert histories[0][-1] < histories[0][0]
    # Legacy Keras keeps the mean of losses in float32.
    np.testing.assert_allclose(histories[1], histories[0], rtol=16 * 2.0**-24)
    for compiled, plain in zip(weights[1], weights[0], strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=0, atol=1e-10)
