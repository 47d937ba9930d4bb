"""Pruning against its formula and against sorting the weights."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DeepHashEmbedding
from tfrs_dhe.models import MagnitudePruning, network_size

IDS = np.arange(64)
TARGETS = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)


def make() -> tuple[Any, DeepHashEmbedding]:
    keras.utils.set_random_seed(1)
    layer = DeepHashEmbedding(4, hidden_dim=8, num_hidden_layers=2, num_hashes=32)
    model = keras.Sequential([keras.Input(shape=(), dtype="int64"), layer])
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    return model, layer


def kernels(layer: DeepHashEmbedding) -> list[np.ndarray]:
    network = layer.network
    denses = (network.hidden_0, network.hidden_1, network.output_layer)
    return [tf.convert_to_tensor(dense.kernel).numpy() for dense in denses]


def fit(model: Any, epochs: int, *callbacks: Any) -> list[float]:
    history = model.fit(
        IDS,
        TARGETS,
        batch_size=16,  # Four steps an epoch.
        epochs=epochs,
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
    )
    return history.history["loss"]


class Watch(keras.callbacks.Callback):
    """Notes the shares of zeros after every step; comes after the pruning."""

    def __init__(self, layer: DeepHashEmbedding) -> None:
        super().__init__()
        self.layer = layer
        self.shares: list[list[float]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.shares.append([np.mean(kernel == 0) for kernel in kernels(self.layer)])


def test_zeros_follow_the_polynomial() -> None:
    model, layer = make()
    pruning = MagnitudePruning([layer], 0.75, begin_step=2, end_step=10, frequency=2)
    watch = Watch(layer)
    fit(model, 3, pruning, watch)
    for step, shares in enumerate(watch.shares, start=1):
        # By Zhu and Gupta's formula, at the last even step.
        t = min(max(step // 2 * 2 - 2, 0) / 8, 1)
        expected = 0.75 + (0 - 0.75) * (1 - t) ** 3
        for share, kernel in zip(shares, kernels(layer), strict=True):
            assert share == pytest.approx(expected, abs=0.5 / kernel.size)
    assert watch.shares[-1] == [0.75, 0.75, 0.75]


def test_the_smallest_weights_go() -> None:
    model, layer = make()
    twin, of_twin = make()
    fit(twin, 1)
    # All at once, after the last step.
    fit(model, 1, MagnitudePruning([layer], 0.5, begin_step=3, end_step=4))
    for pruned, kernel in zip(kernels(layer), kernels(of_twin), strict=True):
        threshold = np.median(np.abs(kernel))
        expected = np.where(np.abs(kernel) < threshold, 0, kernel)
        np.testing.assert_allclose(pruned, expected, rtol=0, atol=1e-6)


def test_zeros_stay_while_the_rest_learns() -> None:
    model, layer = make()
    fit(model, 1, MagnitudePruning([layer], 0.5, end_step=4, frequency=1))
    before = kernels(layer)
    losses = fit(model, 10, MagnitudePruning([layer], 0.5, 10_000, begin_step=9_999))
    for old, new in zip(before, kernels(layer), strict=True):
        np.testing.assert_array_equal(new == 0, old == 0)
        assert np.any(new != old)
    assert losses[-1] < losses[0]


def test_counts_steps_that_are_not_told_of() -> None:
    layer = make()[1]
    pruning = MagnitudePruning([layer], 0.5, end_step=8, frequency=4)
    pruning.on_train_begin()
    for _ in range(2):
        pruning.on_epoch_begin(0)
        pruning.on_train_batch_end(1)
        pruning.on_train_batch_end(3)
    assert [np.mean(kernel == 0) for kernel in kernels(layer)] == [0.5, 0.5, 0.5]


def test_goes_on_where_a_training_was_interrupted() -> None:
    """In another process the callback is a new one; the zeros are in the weights."""
    schedule = {"target_share": 0.75, "begin_step": 2, "end_step": 10, "frequency": 3}
    model, layer = make()
    pruning = MagnitudePruning([layer], **schedule)
    fit(model, 1, pruning)
    fit(model, 2, pruning)
    twin, of_twin = make()
    fit(twin, 1, MagnitudePruning([of_twin], **schedule))
    fit(twin, 2, MagnitudePruning([of_twin], **schedule, initial_step=4))
    for whole, resumed in zip(kernels(layer), kernels(of_twin), strict=True):
        assert np.mean(whole == 0) == 0.75
        np.testing.assert_array_equal(whole, resumed)


def test_size_counts_what_is_left() -> None:
    model, layer = make()
    before = network_size(layer)
    assert before.num_weights == layer.count_params() == 32 * 8 + 8 * 8 + 8 * 4 + 4 + 64
    fit(model, 1, MagnitudePruning([layer], 0.75, end_step=4, frequency=1))
    after = network_size(layer)
    assert after.num_weights == before.num_weights
    num_zeros = 3 * (32 * 8 + 8 * 8 + 8 * 4) // 4
    # Biases and offsets, which begin at zero, have learned.
    assert after.num_nonzero == before.num_weights - num_zeros
    # The numbers that are left, and at most a byte to say where each zero is.
    assert after.compressed_bytes < 4 * after.num_nonzero + num_zeros
    assert before.compressed_bytes > 3 * before.num_nonzero


def test_folded_weights_stay_pruned() -> None:
    model, layer = make()
    fit(model, 1, MagnitudePruning([layer], 0.75, end_step=4, frequency=1))
    folded = layer.inference_form().network.arrays()[::2]
    for kernel, pruned in zip(folded, kernels(layer), strict=True):
        np.testing.assert_array_equal(kernel == 0, pruned == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_share": 1.0}, "`target_share` must be above 0 and below 1"),
        ({"target_share": 0.5, "begin_step": 9}, "`begin_step` must be from 0"),
        ({"target_share": 0.5, "frequency": 0}, "`frequency` at least 1"),
        ({"target_share": 0.5, "initial_step": -1}, "`initial_step` must be at least"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MagnitudePruning([make()[1]], end_step=9, **arguments)


def test_wrong_layers() -> None:
    with pytest.raises(ValueError, match="`layers` must be DeepHashEmbedding"):
        MagnitudePruning([keras.layers.Dense(3)], 0.5, end_step=9)
    for none in ([], (), make()[1]):
        with pytest.raises(ValueError, match="must be a list of at least one layer"):
            MagnitudePruning(none, 0.5, end_step=9)
    with pytest.raises(ValueError, match="Prune the layer that it was made from"):
        MagnitudePruning([make()[1].inference_form()], 0.5, end_step=9)
    unbuilt = DeepHashEmbedding(4, hidden_dim=8)
    with pytest.raises(ValueError, match="no weights to prune yet"):
        MagnitudePruning([unbuilt], 0.5, end_step=9).on_train_begin()
