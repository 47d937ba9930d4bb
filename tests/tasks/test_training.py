"""The task in models: learning, precision, shapes, saving."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe
from tests.tasks.indexes import EveryClass
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead
from tfrs_dhe.layers.factorized_top_k import MACH
from tfrs_dhe.tasks import MACHRetrieval

SIZE = 40
CATALOGUE = [f"item {i}" for i in range(SIZE)]
USERS = np.arange(SIZE)
#: Every user has a class, and so every class is some example's negative.
CLASS_OF_USER = np.random.default_rng(0).permutation(SIZE)
LABELS_OF_USER = np.stack([CLASS_OF_USER, (USERS + 1) % SIZE, (USERS + 2) % SIZE], 1)
AGGREGATION = {
    "softmax": "unbiased_mean",
    "multilabel": "mean_log_probability",
    "in_batch": "mean_logit",
}


def make_data(objective: str, integers: bool = False, batch_size: int = 24) -> Any:
    rows = LABELS_OF_USER if objective == "multilabel" else CLASS_OF_USER
    ids = rows if integers else np.array(CATALOGUE)[rows]
    data = tf.data.Dataset.from_tensor_slices({"user": USERS, "id": ids})
    return data.shuffle(SIZE, seed=0).batch(batch_size)  # The last batch is smaller.


def make_model(
    objective: str,
    base: Any = tfrs.Model,
    integers: bool = False,
    metrics_in_training: bool = True,
    **options: Any,
) -> Any:
    class Model(base):
        def __init__(self) -> None:
            super().__init__()
            self.user_model = keras.layers.Embedding(SIZE, 32)
            head = MACHHead(32, 4, **options)
            self.index = MACH(
                head,
                aggregation=AGGREGATION[objective],
                activation="sigmoid" if objective == "multilabel" else "softmax",
            ).index(np.arange(SIZE) if integers else CATALOGUE)
            metric = tfrs.metrics.FactorizedTopK(self.index, ks=(1, 3))
            self.task = MACHRetrieval(head, metrics=metric, objective=objective)

        def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
            return self.task(
                self.user_model(features["user"]),
                candidate_ids=features["id"],
                compute_metrics=metrics_in_training or not training,
            )

    model = Model()
    model.compile(keras.optimizers.Adam(0.1))
    return model


@pytest.mark.parametrize(
    ("objective", "base", "dtype"),
    [
        ("softmax", tfrs.Model, "float32"),
        ("softmax", tfrs_dhe.models.Model, "mixed_float16"),
        ("multilabel", tfrs.Model, "float32"),
        ("in_batch", tfrs_dhe.models.Model, "float32"),
        ("in_batch", tfrs.Model, "mixed_float16"),
    ],
)
def test_learns_what_can_be_learned(objective: str, base: Any, dtype: str) -> None:
    """The index is made once, before training, and answers with present weights."""
    keras.mixed_precision.set_global_policy(dtype)
    try:
        model = make_model(objective, base)
        assert model.task.head.dtype_policy.name == dtype
        epochs = 30 if objective == "multilabel" else 12
        history = model.fit(make_data(objective), epochs=epochs, verbose=0).history
        logs = model.evaluate(make_data(objective), return_dict=True, verbose=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    name = "factorized_top_k/top_{}_categorical_accuracy"
    # Of three labels, one can come first.
    first = 1 / 3 if objective == "multilabel" else 1
    for key, value in {name.format(1): first, name.format(3): 1}.items():
        assert history[key][0] < value / 2
        assert logs[key] == pytest.approx(value)


@pytest.mark.parametrize("objective", ["softmax", "in_batch"])
def test_index_answers_with_the_weights_of_the_moment(objective: str) -> None:
    model = make_model(objective, integers=True)
    model.fit(make_data(objective, integers=True), verbose=0)
    queries = model.user_model(tf.constant(USERS))
    before, _ = model.index(queries)
    model.fit(make_data(objective, integers=True), verbose=0)
    after, ids = model.index(queries)
    assert np.abs(after - before).max() > 0.01
    fresh = EveryClass(model.task.head, np.arange(SIZE), AGGREGATION[objective])
    for actual, expected in zip((after, ids), fresh(queries), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_metrics_in_validation_alone() -> None:
    """As one trains: the index is first asked after an epoch."""
    model = make_model("softmax", metrics_in_training=False)
    data = make_data("softmax")
    history = model.fit(data, epochs=8, validation_data=data, verbose=0).history
    name = "factorized_top_k/top_3_categorical_accuracy"
    assert history[name] == [0] * 8
    assert history[f"val_{name}"][-1] == 1


@pytest.mark.parametrize("objective", ["softmax", "multilabel", "in_batch"])
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_loss_is_float32_in_mixed_precision(objective: str, dtype: str) -> None:
    """From logits that are rounded, but no further rounding."""
    queries = tf.random.normal([3, 8])
    ids = tf.constant([["a"], ["b"], ["a"]] if objective == "multilabel" else [5, 6, 5])
    head = MACHHead(50, 4, dtype=dtype, kernel_initializer="random_normal")
    rounding = 2**-11 if dtype == "mixed_float16" else 2**-8
    losses = {}
    for name in (dtype, "float32"):
        task = MACHRetrieval(head, objective=objective, dtype=name)
        losses[name] = task(queries, candidate_ids=ids)
        assert losses[name].dtype == tf.float32
    same_weights = MACHHead(50, 4, embedding_dim=8)
    same_weights.set_weights(head.get_weights())
    exact = MACHRetrieval(same_weights, objective=objective)(queries, candidate_ids=ids)
    for loss in losses.values():
        np.testing.assert_allclose(loss, exact, rtol=rounding)


@pytest.mark.parametrize("objective", ["softmax", "multilabel", "in_batch"])
def test_any_batch_size_in_a_graph(objective: str) -> None:
    head = MACHHead(10, 3)
    task = MACHRetrieval(
        head,
        batch_metrics=[keras.metrics.MeanSquaredError()],
        objective=objective,
    )
    shape = [None, None] if objective == "multilabel" else [None]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4]),
            tf.TensorSpec(shape, tf.string),
            tf.TensorSpec([None]),
        ]
    )
    def graph(queries: Any, ids: Any, weight: Any) -> tf.Tensor:
        return task(queries, candidate_ids=ids, sample_weight=weight)

    for size in (1, 5, 2, 0):
        queries = tf.random.normal([size, 4])
        ids = np.array(CATALOGUE[:size])
        ids = tf.constant(ids[:, np.newaxis] if objective == "multilabel" else ids)
        ids = tf.cast(ids, tf.string) if size else tf.zeros(ids.shape, tf.string)
        weight = tf.random.uniform([size])
        eager = task(queries, candidate_ids=ids, sample_weight=weight)
        np.testing.assert_allclose(graph(queries, ids, weight), eager, rtol=1e-5)


@pytest.mark.parametrize("objective", ["softmax", "in_batch"])
def test_xla(objective: str) -> None:
    """Integers only: XLA knows no strings."""
    queries, ids = tf.random.normal([5, 4]), tf.constant([7, 8, 7, 9, 1])
    task = MACHRetrieval(MACHHead(10, 3), objective=objective)
    expected = task(queries, candidate_ids=ids)
    compiled = tf.function(task, jit_compile=True)(queries, candidate_ids=ids)
    np.testing.assert_allclose(compiled, expected, rtol=1e-5)


def test_regularization_counts_once() -> None:
    """The head is a part of the task, and of the index in its metrics."""
    model = make_model("softmax", kernel_regularizer=keras.regularizers.L2(0.5))
    logs = model.fit(make_data("softmax"), verbose=0).history
    np.testing.assert_allclose(
        logs["regularization_loss"],
        logs["total_loss"][0] - logs["loss"][0],
        rtol=1e-4,
    )
    assert len(model.losses) == 1
    kernel = model.task.head.kernel.numpy()
    np.testing.assert_allclose(model.losses[0], 0.5 * np.sum(kernel**2), rtol=1e-5)
    assert len(model.trainable_variables) == 3


def test_checkpoint_of_a_model(tmp_path: Any) -> None:
    data = make_data("softmax", batch_size=SIZE)
    model, loaded = make_model("softmax"), make_model("softmax")
    model.fit(data, verbose=0)
    model.save_weights(str(tmp_path / "checkpoint"))
    loaded.load_weights(str(tmp_path / "checkpoint")).expect_partial()
    np.testing.assert_allclose(
        loaded.evaluate(data, verbose=0), model.evaluate(data, verbose=0), rtol=1e-6
    )
    np.testing.assert_array_equal(loaded.task.head.kernel, model.task.head.kernel)


def test_saved_model_with_the_task(tmp_path: Any) -> None:
    model = make_model("in_batch")
    data = make_data("in_batch")
    model.fit(data, verbose=0)
    tf.saved_model.save(model, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.task.head.kernel, model.task.head.kernel)
