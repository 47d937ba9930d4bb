import json
import re
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tests.models import tiny_run
from tests.models.conftest import read_weights
from tfrs_dhe import mach
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead, factorized_top_k
from tfrs_dhe.models import MACHEnsemble, _repetition_directory

R, B = tiny_run.NUM_REPETITIONS, tiny_run.NUM_BUCKETS


def folder(directory, repetition):
    return directory / f"repetition-{repetition:04d}"


def copy(trained, directory, repetitions):
    for repetition in repetitions:
        shutil.copytree(folder(trained, repetition), folder(directory, repetition))
    return directory


def edit_manifest(path, **entries):
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


@pytest.fixture(scope="module")
def ensemble(trained):
    return MACHEnsemble.from_directory(tiny_run.make, trained)


def logits_by_numpy(directory, repetition, queries):
    """Returns the logits [batch, B] of one trained model, from its files."""
    weights = read_weights(directory, repetition)
    number = re.compile(r"variables/(\d+)/")
    ordered = [
        weights[n] for n in sorted(weights, key=lambda n: int(number.match(n)[1]))
    ]
    # Keras 3 counts the state of dropout among them.
    kernel, bias, gamma, beta, mean, variance, rows, biases = (
        w.astype(np.float64) for w in ordered if w.dtype == np.float32
    )
    hidden = np.maximum(queries @ kernel + bias, 0)
    hidden = (hidden - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    return hidden @ rows.T + biases


def test_logits_are_those_of_the_single_models_side_by_side(trained, ensemble):
    queries, _ = tiny_run.examples(5, seed=1)
    logits = ensemble(queries)
    assert logits.shape == (5, R, B)
    assert ensemble.repetitions == tuple(range(R))
    assert ensemble.missing_repetitions == ()
    expected = [logits_by_numpy(trained, r, queries) for r in range(R)]
    np.testing.assert_allclose(logits, np.stack(expected, 1), rtol=1e-4, atol=1e-4)


def scores_by_numpy(logits, aggregation, buckets):
    """Returns the scores [batch, K] of classes from logits [batch, R, B]."""
    z = logits.astype(np.float64)
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    values = {"mean_logit": z, "mean_log_probability": np.log(p)}.get(aggregation, p)
    of_classes = np.stack([values[:, r, row] for r, row in enumerate(buckets)])
    if aggregation == "unbiased_mean":
        return B / (B - 1) * (of_classes.mean(0) - 1 / B)
    name = {"min": np.min, "median": np.median}.get(aggregation, np.mean)
    return name(of_classes, axis=0)


def class_scores(ensemble, queries, aggregation):
    values = mach.bucket_values(ensemble(queries), aggregation)
    table = ensemble.bucket_table(tiny_run.CLASS_IDS)
    return mach.class_scores(values, tf.constant(table.T), aggregation).numpy()


@pytest.mark.parametrize("aggregation", mach.AGGREGATIONS)
def test_classes_are_scored_by_the_repetitions_that_are_there(
    trained, tmp_path, ensemble, aggregation
):
    queries, _ = tiny_run.examples(5, seed=1)
    with pytest.warns(UserWarning, match="1 of 4 repetitions are missing: 1"):
        part = MACHEnsemble.from_directory(
            tiny_run.make, copy(trained, tmp_path, [0, 2, 3])
        )
    for merged, held in ((ensemble, [0, 1, 2, 3]), (part, [0, 2, 3])):
        logits = np.stack([logits_by_numpy(trained, r, queries) for r in held], 1)
        buckets = MACHHead(B, R, seed=tiny_run.SEED).bucket_table(tiny_run.CLASS_IDS)
        np.testing.assert_allclose(
            class_scores(merged, queries, aggregation),
            scores_by_numpy(logits, aggregation, buckets[held]),
            rtol=1e-4,
            atol=1e-4,
        )


def test_merged_repetitions_are_better_than_each(trained, ensemble):
    queries, classes = tiny_run.examples(2000, seed=1)
    values = mach.bucket_values(ensemble(queries), "mean_log_probability").numpy()
    table = ensemble.bucket_table(tiny_run.CLASS_IDS)

    def top_1_accuracy(repetitions):
        scores = sum(values[:, r, table[r]] for r in repetitions)
        return np.mean(scores.argmax(1) == classes)

    single = [top_1_accuracy([r]) for r in range(R)]
    assert top_1_accuracy(range(R)) > 2 * max(single)


def test_missing_repetitions_are_counted_and_named(trained, tmp_path, ensemble):
    copy(trained, tmp_path, [3, 0, 1])
    edit_manifest(folder(tmp_path, 1), state="training")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        part = MACHEnsemble.from_directory(tiny_run.make, tmp_path)
    said = [str(warning.message) for warning in caught]
    assert any(
        f"repetition 1 in {folder(tmp_path, 1)}: not fin" in text for text in said
    )
    assert any("2 of 4 repetitions are missing: 1, 2. " in text for text in said)
    assert part.repetitions == (0, 3)
    assert part.missing_repetitions == (1, 2)
    assert (part.num_repetitions, part.num_buckets, part.seed) == (R, B, 3)
    queries, _ = tiny_run.examples(5, seed=1)
    np.testing.assert_array_equal(part(queries), ensemble(queries).numpy()[:, [0, 3]])
    ids = tf.constant(["class 1", "class 7"])
    np.testing.assert_array_equal(
        part.bucket_ids(ids), ensemble.bucket_ids(ids).numpy()[:, [0, 3]]
    )


def test_directories_of_several_places_are_merged(trained, tmp_path):
    places = [
        copy(trained, tmp_path / "one", [2, 3]),
        copy(trained, tmp_path / "b", [0, 1]),
    ]
    merged = MACHEnsemble.from_directory(tiny_run.make, places)
    assert merged.repetitions == (0, 1, 2, 3)
    queries, _ = tiny_run.examples(5, seed=1)
    expected = [logits_by_numpy(trained, r, queries) for r in range(R)]
    np.testing.assert_allclose(
        merged(queries), np.stack(expected, 1), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({"seed": 4}, "seed of the hash functions 3; this is 4"),
        ({"num_buckets": 9}, "number of buckets B 8; this is 9"),
        ({"num_repetitions": 5}, "number of repetitions R 4; this is 5"),
        (
            {"class_ids": tiny_run.CLASS_IDS[1:]},
            r"class set of 40 classes \(\w+\); this is of 39 classes",
        ),
        ({"balanced": True}, "balanced boundaries of buckets none; this is [0-9a-f]+"),
    ],
)
def test_other_hash_functions_and_classes_are_refused(trained, changes, values):
    with pytest.raises(ValueError, match=f"{trained}/repetition-0000 .*{values}"):
        MACHEnsemble.from_directory(lambda r: tiny_run.make(r, **changes), trained)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("seed", 4),
        ("num_buckets", 9),
        ("class_set", {"num_classes": 40, "digest": "0123"}),
        ("keras", "another_keras"),
    ],
)
def test_one_that_differs_from_the_others_is_refused(trained, tmp_path, entry, value):
    copy(trained, tmp_path, [0, 1, 2])
    edit_manifest(folder(tmp_path, 1), **{entry: value})
    with pytest.raises(
        ValueError, match=f"{tmp_path}/repetition-0001 was trained with"
    ):
        MACHEnsemble.from_directory(tiny_run.make, tmp_path)


def test_repetition_in_two_places_is_refused(trained, tmp_path):
    copy(trained, tmp_path, [0])
    shutil.copytree(folder(tmp_path, 0), tmp_path / "twice")
    with pytest.raises(ValueError, match=r"Repetition 0 is in .*0000 and in .*twice"):
        MACHEnsemble.from_directory(tiny_run.make, tmp_path)


def test_nothing_to_merge_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"no finished repetition in {tmp_path}"):
        MACHEnsemble.from_directory(tiny_run.make, tmp_path)


def test_weights_of_another_model_are_refused(trained):
    def make(repetitions):
        run = tiny_run.make(repetitions)
        run.query_model.add(keras.layers.Dense(32))
        return run

    with pytest.raises(ValueError, match="repetition-0000 are of another model"):
        MACHEnsemble.from_directory(make, trained)


def test_repetitions_that_share_a_model(tmp_path, train):
    def make(repetitions):
        return tiny_run.make(repetitions, epochs=1)

    train(make, tmp_path, (0, 1))
    train(make, tmp_path, (2, 3))
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "repetitions-0000-0001",
        "repetitions-0002-0003",
    ]
    merged = MACHEnsemble.from_directory(make, tmp_path)
    assert merged.repetitions == (0, 1, 2, 3)
    assert merged(np.zeros([2, 16], np.float32)).shape == (2, R, B)


def test_saved_model_gives_the_same_logits(ensemble, tmp_path):
    queries, _ = tiny_run.examples(5, seed=1)

    class Served(tf.Module):
        def __init__(self):
            super().__init__()
            self.ensemble = ensemble

        @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32)])
        def __call__(self, queries):
            return self.ensemble(queries)

    tf.saved_model.save(Served(), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded(queries), ensemble(queries), rtol=1e-6, atol=1e-6)


def test_keras_file_gives_the_same_logits(tmp_path):
    shared = keras.Sequential([keras.layers.Dense(5)])
    heads = [MACHHead(10, 3, seed=1, repetitions=[r]) for r in range(3)]
    ensemble = MACHEnsemble(
        heads, [shared, keras.Sequential([keras.layers.Dense(4)]), shared]
    )
    queries = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    logits = ensemble(queries)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_array_equal(loaded(queries), logits)
    assert loaded.query_models[0] is loaded.query_models[2]
    assert (loaded.seed, loaded.repetitions) == (1, (0, 1, 2))


def test_heads_may_come_in_any_order():
    queries = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    whole = MACHHead(10, 4, seed=5, embedding_dim=6, bias_initializer="normal")
    kernel, bias = (
        np.reshape(whole.kernel, [4, 10, 6]),
        np.reshape(whole.bias, [4, 10]),
    )
    heads = []
    for held in ((3, 0), (2,), (1,)):
        head = MACHHead(10, 4, seed=5, repetitions=held, embedding_dim=6)
        head.kernel.assign(kernel[list(held)].reshape(-1, 6))
        head.bias.assign(bias[list(held)].reshape(-1))
        heads.append(head)
    ensemble = MACHEnsemble(heads)
    np.testing.assert_allclose(ensemble(queries), whole(queries), rtol=1e-5, atol=1e-6)
    ids = tf.ragged.constant([["a", "b"], [], ["c"]])
    buckets, expected = ensemble.bucket_ids(ids), whole.bucket_ids(ids)
    np.testing.assert_array_equal(buckets.flat_values, expected.flat_values)
    np.testing.assert_array_equal(buckets.row_splits, expected.row_splits)
    table = ensemble.bucket_table([7, 8, 9])
    np.testing.assert_array_equal(table, whole.bucket_table([7, 8, 9]))
    assert table.dtype == np.uint8


def test_shared_query_model_runs_once():
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            calls.append(None)
            return inputs * 2.0

    shared = Counting()
    heads = [MACHHead(10, 3, repetitions=[r]) for r in range(3)]
    ensemble = MACHEnsemble(heads, [shared, shared, None])
    queries = np.ones([2, 4], np.float32)
    ensemble(queries)  # Keras 3 calls a model twice to build it.
    calls.clear()
    logits = ensemble(queries)
    assert len(calls) == 1
    np.testing.assert_array_equal(logits[:, 1], heads[1](queries * 2)[:, 0])
    np.testing.assert_array_equal(logits[:, 2], heads[2](queries)[:, 0])
    assert not ensemble.trainable_variables


def test_heads_that_do_not_fit_are_refused():
    def head(repetition, num_buckets=10, num_repetitions=2, seed=0, balanced=False):
        return MACHHead(
            num_buckets, num_repetitions, seed, [repetition], balanced=balanced
        )

    for name, other in (
        ("num_buckets", head(1, num_buckets=11)),
        ("num_repetitions", head(1, num_repetitions=3)),
        ("seed", head(1, seed=1)),
        ("balanced", head(1, balanced=True)),
    ):
        with pytest.raises(ValueError, match=f"must agree in `{name}`"):
            MACHEnsemble([head(0), other])
    with pytest.raises(ValueError, match=r"different repetitions. Received: \[0, 0\]"):
        MACHEnsemble([head(0), head(0)])
    with pytest.raises(ValueError, match="one entry for each of the 2 heads"):
        MACHEnsemble([head(0), head(1)], [None])
    with pytest.raises(ValueError, match="at least one"):
        MACHEnsemble([])


def test_class_set_does_not_depend_on_the_order():
    class_set = _repetition_directory.class_set
    ids = [f"item {i}" for i in range(100)]
    assert class_set(ids) == class_set(ids[::-1])
    assert class_set(ids)["num_classes"] == 100
    digests = [class_set(x)["digest"] for x in (ids, ids[:-1], [*ids[:-1], "other"])]
    assert len(set(digests)) == 3
    assert class_set(np.arange(5)) == class_set(np.arange(5, dtype=np.int32))
    with pytest.raises(ValueError, match="list of ids"):
        class_set([["a"]])


def test_balanced_boundaries_are_part_of_what_a_head_is():
    def boundaries(class_ids):
        run = tiny_run.make((0,), class_ids=class_ids, balanced=True)
        return _repetition_directory.describe(run, "keras")["boundaries"]

    assert boundaries(tiny_run.CLASS_IDS) == boundaries(tiny_run.CLASS_IDS)
    assert boundaries(tiny_run.CLASS_IDS) != boundaries(tiny_run.CLASS_IDS[:-1])


def test_an_index_takes_an_ensemble_for_a_head(trained, tmp_path):
    """Repetitions may be missing; what is there ranks as the scores by hand do."""
    part = copy(trained, tmp_path, [0, R - 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ensemble = MACHEnsemble.from_directory(tiny_run.make, part)
        index = factorized_top_k.MACH(ensemble, k=3).index(tiny_run.CLASS_IDS)
    queries, _ = tiny_run.examples(5, seed=1)
    scores, found = index(tf.constant(queries))
    expected = class_scores(ensemble, queries, "mean_log_probability")
    best = np.argsort(-expected, axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(found.numpy().astype(str), tiny_run.CLASS_IDS[best])
    np.testing.assert_allclose(
        scores, np.take_along_axis(expected, best, axis=1), rtol=1e-6
    )
