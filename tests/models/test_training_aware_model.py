"""The BatchNorm trap: a TFRS model whose towers are called without `training`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe
from tfrs_dhe._keras import keras

USERS = [str(i % 7) for i in range(64)]
MOVIES = [str(i % 10) for i in range(64)]
DATA = tf.data.Dataset.from_tensor_slices({"user": USERS, "movie": MOVIES}).batch(16)


class Spy(keras.layers.Layer):
    """Notes the flag that reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool | None] = []

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        self.seen.append(training)
        return inputs


def make_model(
    base: Any, passes_training: bool, has_metric: bool = True, **options: Any
) -> Any:
    class TwoTowers(base):
        def __init__(self) -> None:
            super().__init__()
            self.spy = Spy()
            self.user_model = keras.Sequential(
                [
                    tfrs_dhe.layers.DeepHashEmbedding(
                        4, 8, num_hidden_layers=2, num_hashes=16, **options
                    ),
                    self.spy,
                ]
            )
            self.movie_model = tfrs_dhe.layers.DeepHashEmbedding(
                4, 8, num_hidden_layers=2, num_hashes=16, **options
            )
            candidates = tf.data.Dataset.from_tensor_slices(MOVIES[:10]).batch(5)
            candidates = candidates.map(self.movie_model)
            metric = tfrs.metrics.FactorizedTopK(candidates) if has_metric else None
            self.task = tfrs.tasks.Retrieval(metrics=metric)

        def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
            flag = {"training": training} if passes_training else {}
            return self.task(
                self.user_model(features["user"], **flag),
                self.movie_model(features["movie"], **flag),
            )

    model = TwoTowers()
    model.compile(optimizer=keras.optimizers.Adagrad(0.1))
    return model


def moving_statistics(model: Any) -> list[np.ndarray]:
    return [v.numpy() for v in model.movie_model.variables if "moving_" in v.name]


@pytest.fixture(params=[False, True], ids=["graph", "eager"])
def run_eagerly(request: pytest.FixtureRequest) -> Iterator[bool]:
    tf.config.run_functions_eagerly(request.param)
    yield request.param
    tf.config.run_functions_eagerly(False)


def test_tfrs_model_as_in_the_tutorials_says_what_to_write(run_eagerly: bool) -> None:
    model = make_model(tfrs.Model, passes_training=False)
    with pytest.raises(ValueError, match="called without `training`") as error:
        model.fit(DATA, verbose=0)
    assert "training=training" in str(error.value)
    assert "tfrs_dhe.models.Model" in str(error.value)


@pytest.mark.parametrize(
    ("base", "passes_training"),
    [
        (tfrs.Model, True),
        (tfrs_dhe.models.Model, False),
        (tfrs_dhe.models.Model, True),
    ],
)
def test_statistics_are_learned(
    base: Any, passes_training: bool, run_eagerly: bool
) -> None:
    # Run eagerly, the metric traces its candidates anew for every batch.
    model = make_model(base, passes_training, has_metric=not run_eagerly)
    model.fit(DATA, verbose=0)
    assert set(model.spy.seen) == {True}
    statistics = moving_statistics(model)
    assert len(statistics) == 4
    for value, initial in zip(statistics, [0, 1, 0, 1], strict=True):
        assert np.abs(value - initial).min() > 0

    model.spy.seen.clear()
    model.evaluate(DATA, verbose=0)
    assert set(model.spy.seen) == {False}
    for value, expected in zip(moving_statistics(model), statistics, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_both_ways_train_alike() -> None:
    models = []
    for base, passes_training in ((tfrs.Model, True), (tfrs_dhe.models.Model, False)):
        keras.utils.set_random_seed(0)
        model = make_model(base, passes_training)
        model.fit(DATA, epochs=2, verbose=0)
        models.append(model)
    for actual, expected in zip(models[1].weights, models[0].weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_optimizer_gets_whole_weights_in_mixed_precision() -> None:
    class Regression(tfrs_dhe.models.Model):
        def __init__(self) -> None:
            super().__init__()
            self.tower = keras.layers.Dense(1, use_bias=False)

        def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
            return tf.reduce_sum(tf.cast(self.tower(features), tf.float32))

    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = Regression()
        model.compile(keras.optimizers.SGD(2.0**-14))
        model.tower.build((None, 1))
        model.tower.kernel.assign([[1.0]])
        model.fit(tf.data.Dataset.from_tensors(tf.ones([1, 1])), verbose=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.tower.compute_dtype == "float16"
    # The step of 2^-14 would be lost in float16.
    assert model.tower.kernel.numpy() == 1 - 2.0**-14


def test_losses_of_activities_are_those_of_one_step(run_eagerly: bool) -> None:
    class Towerless(tfrs_dhe.models.Model):
        def __init__(self) -> None:
            super().__init__()
            self.tower = keras.layers.Dense(
                1,
                kernel_initializer="ones",
                activity_regularizer=keras.regularizers.L2(0.5),
            )

        def compute_loss(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
            return 0.0 * tf.reduce_sum(self.tower(x))

    model = Towerless()
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    # Batches of 2, 2 and 1: a step of another shape is traced anew.
    data = tf.data.Dataset.from_tensor_slices([[1.0], [1.0], [2.0], [2.0], [3.0]])
    history = model.fit(data.batch(2), epochs=2, verbose=0).history
    # Of the last batch: .5 * 3^2, by the number of its examples.
    assert history["regularization_loss"] == [4.5, 4.5]
    logs = model.evaluate(data.take(4).batch(2), verbose=0, return_dict=True)
    assert logs["regularization_loss"] == 2.0  # .5 * (2^2 + 2^2) / 2


def test_model_is_saved_without_a_trace_of_the_step(tmp_path: Any) -> None:
    model = make_model(tfrs_dhe.models.Model, passes_training=False)
    model.fit(DATA, verbose=0)
    tf.saved_model.save(model.user_model, str(tmp_path / "tower"))
    loaded = tf.saved_model.load(str(tmp_path / "tower"))
    ids = tf.constant(["1", "never seen"])
    np.testing.assert_allclose(
        loaded(ids, training=False), model.user_model(ids, training=False), atol=1e-6
    )


@pytest.mark.parametrize("normalization", ["layer", None])
def test_networks_without_statistics_need_no_flag(normalization: str | None) -> None:
    model = make_model(tfrs.Model, passes_training=False, normalization=normalization)
    assert np.isfinite(model.fit(DATA, verbose=0).history["loss"]).all()


def test_gradients_in_inference_mode_by_request() -> None:
    layer = tfrs_dhe.layers.EmbeddingNetwork(4, 8, num_hidden_layers=2)
    x = tf.ones([2, 3])
    layer(x, training=False)
    before = layer.get_weights()
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=False)
    assert np.isfinite(tape.gradient(y, x)).all()
    layer.trainable = False
    before = layer.get_weights()  # in the order of a frozen layer
    with tf.GradientTape():
        layer(x)  # frozen, so there is nothing to learn
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
