import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import mach
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead

RNG = np.random.default_rng(0)
QUERIES = RNG.normal(size=(6, 8)).astype(np.float32)
CLASSES = np.array([f"class {i}" for i in range(40)], dtype=object)


def trained_head(**options: Any) -> Any:
    """A head whose weights are all moved off their initial values."""
    head = MACHHead(**{"num_buckets": 10, "num_repetitions": 4, **options})
    head(QUERIES)
    for weight in head.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    return head


def weights(head: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows [R, B, d] and the biases [R, B]."""
    shape = (len(head.repetitions), head.num_buckets)
    kernel = np.array(head.kernel).reshape(*shape, -1)
    bias = np.zeros(shape) if head.bias is None else np.array(head.bias).reshape(shape)
    return kernel, bias


@pytest.mark.parametrize(
    "options",
    [{}, {"use_bias": False}, {"repetitions": (3, 1)}, {"balanced": True}],
    ids=str,
)
def test_logits_and_joint_scores_are_the_formulas(options: dict[str, Any]) -> None:
    head = trained_head(**options)
    kernel, bias = weights(head)
    logits = np.einsum("qd,rbd->qrb", QUERIES, kernel) + bias
    np.testing.assert_allclose(head(QUERIES), logits, rtol=0, atol=1e-5)

    buckets = head.bucket_ids(tf.constant(CLASSES)).numpy()
    repetition = np.arange(len(head.repetitions))
    embeddings = kernel[repetition, buckets].sum(axis=1)
    np.testing.assert_allclose(
        head.class_embeddings(tf.constant(CLASSES)), embeddings, rtol=0, atol=1e-5
    )
    scores = logits[:, repetition, buckets].sum(axis=-1)
    actual = head.class_scores(QUERIES, tf.constant(CLASSES))
    np.testing.assert_allclose(actual, scores, rtol=0, atol=3e-5)

    mean = mach.class_scores(
        mach.bucket_values(head(QUERIES), "mean_logit"), buckets, "mean_logit"
    )
    np.testing.assert_allclose(mean, scores / len(repetition), rtol=0, atol=1e-5)


def test_number_of_weights() -> None:
    assert trained_head().count_params() == 4 * 10 * (8 + 1)


def test_part_of_the_repetitions_is_a_part_of_the_head() -> None:
    """What is trained elsewhere has the same classes in the same buckets."""
    whole = trained_head()
    part = trained_head(repetitions=[2, 0])
    kernel, bias = weights(whole)
    part.set_weights([kernel[[2, 0]].reshape(20, 8), bias[[2, 0]].ravel()])
    np.testing.assert_allclose(
        part(QUERIES), whole(QUERIES).numpy()[:, [2, 0]], rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(
        part.bucket_ids(CLASSES), whole.bucket_ids(CLASSES).numpy()[:, [2, 0]]
    )


def test_embeddings_before_the_first_call() -> None:
    head = MACHHead(10, 4, embedding_dim=8)
    assert head.class_embeddings(tf.constant([[1, 2], [3, 4]])).shape == [2, 2, 8]
    assert head(QUERIES).shape == [6, 4, 10]
    with pytest.raises(ValueError, match=r"`class_embeddings`.*embedding_dim=64"):
        MACHHead(10, 4).class_embeddings(tf.constant([1]))


def test_gradient_of_joint_scores_touches_the_rows_of_the_classes_alone() -> None:
    head = trained_head()
    ids = tf.constant(CLASSES[:2])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(head.class_scores(QUERIES, ids) ** 2)
    gradient = tape.gradient(loss, head.trainable_weights[0])
    assert isinstance(gradient, tf.IndexedSlices)
    touched = np.flatnonzero(np.abs(tf.convert_to_tensor(gradient)).sum(axis=1))
    rows = head.bucket_ids(ids).numpy() + np.arange(4) * 10
    assert set(touched) == set(rows.ravel())


@pytest.mark.parametrize("counts", [None, np.arange(40.0)])
def test_balance(counts: Any) -> None:
    head = MACHHead(5, 3, balanced=True)
    before = head.bucket_table(CLASSES)
    np.testing.assert_array_equal(before, MACHHead(5, 3).bucket_table(CLASSES))
    head.balance(CLASSES, counts)
    table = head.bucket_table(CLASSES)
    load = np.ones(40) if counts is None else counts
    for row in table:
        loads = np.bincount(row, weights=load, minlength=5)
        if counts is None:
            assert set(loads) == {8}
        else:
            assert loads.max() <= load.sum() / 5 + load.max()
    with pytest.raises(ValueError, match="balanced=True"):
        MACHHead(5, 3).balance(CLASSES)


def test_balanced_buckets_are_saved(tmp_path: Any) -> None:
    inputs = keras.Input([8])
    head = MACHHead(5, 3, balanced=True)
    model = keras.Model(inputs, head(inputs))
    head.balance(CLASSES)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    np.testing.assert_array_equal(
        loaded.bucket_table(CLASSES), head.bucket_table(CLASSES)
    )


def test_bias_starts_at_the_frequencies() -> None:
    head = MACHHead(10, 4)
    with pytest.raises(ValueError, match="`initialize_bias`"):
        head.initialize_bias(CLASSES, np.ones(40))
    head(QUERIES)
    counts = np.arange(40.0)
    head.initialize_bias(CLASSES, counts)
    _, bias = weights(head)
    for r, row in enumerate(head.bucket_table(CLASSES)):
        for bucket in range(10):
            total = counts[row == bucket].sum()
            expected = np.log((total + 1) / (counts.sum() + 10))
            assert bias[r, bucket] == pytest.approx(expected, rel=1e-6)
    # Where nothing else is known, the softmax is the smoothed frequencies.
    softmax = tf.nn.softmax(head(np.zeros([1, 8], np.float32)))[0]
    np.testing.assert_allclose(softmax, np.exp(bias), rtol=1e-5)


def test_biases_of_sigmoids_are_log_odds_of_independent_classes() -> None:
    head = MACHHead(10, 3, embedding_dim=8)
    counts = np.arange(40) % 7 * 1.0
    counts[5] = 20  # in every example
    head.initialize_bias(CLASSES, counts, num_examples=20)
    _, bias = weights(head)
    for r, row in enumerate(head.bucket_table(CLASSES)):
        for bucket in range(10):
            absent = math.prod(1 - n / 20 for n in counts[row == bucket])
            present = min(max(1 - absent, 1 / 22), 21 / 22)
            expected = math.log(present / (1 - present))
            assert bias[r, bucket] == pytest.approx(expected, rel=1e-5)


def test_counts_above_the_number_of_examples_are_an_error() -> None:
    head = MACHHead(10, 3, embedding_dim=8)
    with pytest.raises(ValueError, match="num_examples=20 and a count of 21"):
        head.initialize_bias(CLASSES, np.full(40, 21.0), num_examples=20)


def test_a_few_steps_learn_a_rule() -> None:
    """Both ways of training find the class that each of 40 queries stands for."""
    queries = tf.constant(RNG.normal(size=(40, 16)).astype(np.float32))
    ids = tf.constant(CLASSES)

    def independent(head: Any) -> tf.Tensor:
        return mach.multiclass_loss(head(queries), head.bucket_ids(ids))

    def joint(head: Any) -> tf.Tensor:
        return mach.in_batch_loss(head.class_scores(queries, ids))

    for loss, aggregation in [
        (independent, "mean_log_probability"),
        (joint, "mean_logit"),
    ]:
        head = MACHHead(20, 4, seed=1)
        head(queries)
        optimizer = keras.optimizers.Adam(0.05)
        for _ in range(60):
            with tf.GradientTape() as tape:
                value = loss(head)
            gradients = tape.gradient(value, head.trainable_weights)
            optimizer.apply_gradients(
                zip(gradients, head.trainable_weights, strict=True)
            )
        scores = mach.class_scores(
            mach.bucket_values(head(queries), aggregation),
            head.bucket_ids(ids),
            aggregation,
        )
        assert (np.argmax(scores, axis=1) == np.arange(40)).all()


def test_config_survives_json() -> None:
    head = MACHHead(
        10, 4, seed=2**64 - 1, repetitions=np.array([3, 1]), kernel_regularizer="l2"
    )
    layer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(head)
    )
    assert layer.get_config() == head.get_config()
    assert layer.repetitions == (3, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_buckets": 1}, "`num_buckets`"),
        ({"num_repetitions": 0}, "`num_repetitions`"),
        ({"repetitions": (4,)}, "`repetitions`"),
        ({"seed": None}, "`seed`"),
        ({"embedding_dim": 0}, "`embedding_dim`"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MACHHead(**{"num_buckets": 10, "num_repetitions": 4, **arguments})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (tf.constant(["a", "b"]), "`inputs` must be numbers.*string"),
        (tf.ones([2, 7]), r"`inputs` must be vectors.*d = 8.*\(2, 7\)"),
        (tf.constant(1.0), r"`inputs` must be vectors.*d = 8.*\(\)"),
    ],
)
@pytest.mark.parametrize("quantized", [False, True])
def test_inputs_that_are_no_vectors_of_its_width_are_named(
    inputs: tf.Tensor, message: str, quantized: bool
) -> None:
    head: Any = MACHHead(10, 4, embedding_dim=8)
    if quantized:
        head = head.quantized()
        with pytest.raises(ValueError, match=message):
            head.logit_error(inputs)
    with pytest.raises(ValueError, match=message):
        head(inputs)
    with pytest.raises(ValueError, match=message):
        head.class_scores(inputs, ["a"])
