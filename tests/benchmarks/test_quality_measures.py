"""What the study of quality measures."""

import dataclasses

import data
import means
import methods
import numpy as np
import pytest
import served
import tensorflow as tf
import training
from grid import Run
from trainer import Trainer

from tfrs_dhe import layers


def test_area_under_curve_is_the_share_of_ordered_pairs() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random(60) < 0.3).astype(np.float32)
    scores = np.round(generator.normal(size=60) + labels, 1)  # with ties
    higher = scores[labels == 1][:, np.newaxis] - scores[labels == 0]
    expected = np.mean((higher > 0) + 0.5 * (higher == 0))
    assert training.area_under_curve(labels, scores) == pytest.approx(
        expected, abs=1e-5
    )
    assert training.area_under_curve(np.ones(3), scores[:3]) is None
    assert training.area_under_curve(labels, np.full(60, np.nan)) == 0.0


def test_segments_go_by_training_counts() -> None:
    labels = np.array([1, 0, 1, 0, 1, 0], np.float32)
    pairs = data.Pairs(np.arange(6), np.arange(6), labels)
    counts = np.array([0, 0, 1, 5, 6, 100])
    scores = np.array([2.0, 1.0, 1.0, 2.0, 3.0, 3.0])
    assert training.segments(pairs, scores, counts) == {
        "unseen": {"auc": 1.0, "pairs": 2},
        "rare": {"auc": 0.0, "pairs": 2},
        "known": {"auc": 0.5, "pairs": 2},
        "all": {"auc": 0.5, "pairs": 6},
    }


def test_means_are_log_odds_of_smoothed_shares() -> None:
    # User 0 took both of two items, user 1 one of two.
    train = data.Pairs(
        np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.float32([1, 1, 1, 0])
    )
    tested = data.Pairs(np.array([0, 1]), np.array([0, 1]), np.float32([1, 0]))
    ids = np.array(["a", "b"])
    prepared = data.Data(
        ids, ids, train, tested, tested, None, np.arange(2), np.zeros([2, 0])
    )
    losses = []
    run = Run("two", "gmf", "means", 1)
    result = means.train(run, prepared, lambda _, __, loss, ___: losses.append(loss))
    assert result["test"]["all"]["auc"] == 1.0

    def log_odds(positives: float, negatives: float) -> float:
        return np.log((positives + 5 * 0.75) / (negatives + 5 * 0.25))

    of_users = [log_odds(2, 0), log_odds(1, 1)]
    of_items = [log_odds(2, 0), log_odds(1, 1)]
    scores = [
        of_users[user] + of_items[item] - np.log(3)
        for user, item in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    expected = np.mean(np.log1p(np.exp(np.array([-1, -1, -1, 1]) * scores)))
    assert losses == [pytest.approx(expected)]


def test_bytes_as_served() -> None:
    table = layers.VocabularyEmbedding(32, ["a", "b", "c"])
    table(tf.constant(["a"]))
    # Rows of four, one for unknown ids; keys of three.
    assert served.num_bytes(table, "float32") == 4 * 32 * 4 + 3 * 8
    assert served.num_bytes(table, "int8") == 4 * (32 + 4) + 3 * 8
    assert served.num_bytes(table, "int4") == 4 * (16 + 4) + 3 * 8
    network = layers.DeepHashEmbedding(
        32, 5, num_hidden_layers=1, num_hashes=7, normalization=None
    )
    dedicated = layers.DedicatedRowsEmbedding(network, ["a", "b", "c"])
    dedicated(tf.constant(["a"]))
    of_network = 7 * 5 + 5 + 5 * 32 + 32
    # Three numbers of 64 bits for each hash function.
    expected = 3 * (16 + 4) + 3 * 8 + 4 * of_network + 7 * 3 * 8
    assert served.num_bytes(dedicated, "int4") == expected
    assert served.num_parameters(dedicated) == 3 * 32 + of_network


def test_keys_are_those_of_ids_with_rows() -> None:
    ids = [f"id {i}" for i in range(100)]
    frequent = layers.VocabularyEmbedding(4, ids, parameter_budget=80)
    for layer, count in (
        (frequent, 19),  # and a row for all others
        (layers.CompositionalEmbedding(4, ids, num_remainders=10), 100),
        (methods.WithFeatures(frequent), 19),
        (layers.HashEmbedding(4, num_buckets=20), 0),
    ):
        assert served.num_keys(layer) == count


@pytest.mark.parametrize(("row_dtype", "largest"), [("int8", 127), ("int4", 7)])
def test_tables_are_rounded_for_a_while(row_dtype: str, largest: int) -> None:
    layer = layers.HashEmbedding(8, num_buckets=20)
    ids = tf.constant(["a", "b"])
    exact = layer(ids).numpy()
    before = layer.get_weights()
    with served.rounded([layer], row_dtype):
        for rounded, rows in zip(layer.get_weights(), before, strict=True):
            steps = np.abs(rows).max(axis=1, keepdims=True) / largest
            assert np.all(np.abs(rounded - rows) <= steps / 2 * (1 + 1e-5))
            assert len(np.unique(rounded[0])) <= 2 * largest + 1
        assert np.any(layer(ids).numpy() != exact)
    np.testing.assert_array_equal(layer(ids), exact)


def trained_for(aucs: list[float], **settings: str) -> tuple[int, int]:
    """Epochs of a training with these AUCs, and the one whose weights are kept."""

    class Model:
        def __init__(self) -> None:
            self.weights = [tf.Variable(0)]

        @property
        def epoch(self) -> int:
            return int(self.weights[0])

    class Trainer:
        model = Model()

        def epoch(self, _: object) -> float:
            self.model.weights[0].assign_add(1)
            return 0.0

        def scores(self, pairs: data.Pairs) -> np.ndarray:
            # Of 100 positives and a negative, as many as it takes are in order.
            in_order = round(100 * aucs[self.model.epoch - 1])
            return np.array([1.0] * in_order + [-1.0] * (100 - in_order) + [0.0])

    labels = np.array([1.0] * 100 + [0.0], np.float32)
    nobody = np.zeros(101, np.int32)
    pairs = data.Pairs(nobody, nobody, labels)
    none = np.zeros([1, 0], np.float32)
    made = data.Data(nobody, nobody, pairs, pairs, pairs, None, nobody, none)
    run = Run("synthetic", "gmf", "table", 1, epochs=len(aucs), **settings)
    trainer = Trainer()
    epochs, _ = training.fit(run, made, trainer, lambda *_: None)
    assert epochs == aucs[: len(epochs)]
    return len(epochs), trainer.model.epoch


def test_training_ends_three_epochs_after_the_best() -> None:
    assert trained_for([0.6, 0.7, 0.8, 0.7, 0.7, 0.7, 0.9]) == (6, 3)
    assert trained_for([0.6, 0.5, 0.5, 0.7, 0.6]) == (5, 4)


def test_training_waits_for_what_has_not_begun() -> None:
    assert trained_for([0.5, 0.51, 0.5, 0.5, 0.5, 0.5, 0.8]) == (7, 7)
    assert trained_for([0.5] * 8) == (8, 1)


def test_training_goes_on_while_the_rate_is_to_fall() -> None:
    aucs = [0.6, 0.7, 0.8, 0.7, 0.7, 0.7, 0.9, 0.8]
    assert trained_for(aucs, schedule="cosine") == (8, 7)


def test_labels_are_in_part_of_the_teacher() -> None:
    class Teacher:
        def scores(self, pairs: data.Pairs) -> np.ndarray:
            return np.log([3.0, 1.0, 1 / 3])  # Odds of 3, 1 and 1 / 3.

    nobody = np.zeros(3, np.int32)
    pairs = data.Pairs(nobody, nobody, np.float32([1, 0, 1]))
    taught = training.taught(pairs, Teacher(), 0.2)
    np.testing.assert_allclose(taught.labels, [0.95, 0.1, 0.85], rtol=1e-6)
    np.testing.assert_array_equal(pairs.labels, [1, 0, 1])


def test_a_taught_run_is_better_than_its_labels() -> None:
    prepared = data.load(None, data.SYNTHETIC)
    # Labels without a word of truth, but for those of the teacher.
    generator = np.random.default_rng(0)
    shuffled = generator.permutation(prepared.train.labels)
    blind = dataclasses.replace(
        prepared, train=dataclasses.replace(prepared.train, labels=shuffled)
    )
    settings = {"epochs": 2, "batch_size": 1024, "teacher": 1.0}
    run = Run(data.SYNTHETIC, "gmf", "narrow_table", 0.5, **settings)
    teacher = training.teacher_of(run, prepared, lambda *_: None)
    student = Trainer(run, blind)
    aucs, _ = training.fit(run, blind, student, lambda *_: None, teacher)
    assert max(aucs) > 0.75
    alone = dataclasses.replace(run, teacher=0.0)
    assert training.teacher_of(alone, prepared, print) is None
    aucs, _ = training.fit(alone, blind, Trainer(alone, blind), lambda *_: None)
    assert max(aucs) < 0.6


def test_cosine_schedule_rises_for_an_epoch_and_falls_to_zero() -> None:
    prepared = data.load(None, data.SYNTHETIC)
    run = Run(data.SYNTHETIC, "gmf", "table", 1, epochs=5, schedule="cosine")
    schedule = Trainer(run, prepared).learning_rate
    steps = -(-len(prepared.train) // 4096)
    rates = [float(schedule(steps * epochs)) for epochs in (0, 0.5, 1, 3, 5)]
    np.testing.assert_allclose(
        rates, [0, 0.0025, 0.005, 0.0025, 0], rtol=1e-5, atol=1e-9
    )
    with pytest.raises(ValueError, match="`schedule` must be constant or cosine"):
        Trainer(dataclasses.replace(run, schedule="linear"), prepared)


def test_a_distilled_table_scores_as_its_teacher() -> None:
    prepared = data.load(None, data.SYNTHETIC)
    run = Run(data.SYNTHETIC, "gmf", "table", 1, distilled=1000)
    teacher = training.teacher_of(run, prepared, lambda *_: None)
    student = Trainer(run, prepared)
    reported = []
    (auc,) = training.distill(
        run, prepared, teacher, student, lambda *said: reported.append(said)
    )
    scores = [trainer.scores(prepared.train) for trainer in (teacher, student)]
    assert np.corrcoef(scores)[0, 1] > 0.999
    expected = teacher.scores(prepared.validation)
    expected = training.area_under_curve(prepared.validation.labels, expected)
    assert auc == pytest.approx(expected, abs=0.002)
    ((_, epoch, unexplained, value),) = reported
    assert (epoch, value) == (1, auc)
    assert unexplained < 0.01


def test_side_features_are_distilled_with() -> None:
    prepared = data.load(None, data.SYNTHETIC + data.NEW)
    method = "deep_hash+features"
    run = Run(data.SYNTHETIC, "gmf", method, 0.5, distilled=30)
    student = Trainer(run, prepared)
    teacher = training.teacher_of(run, prepared, lambda *_: None)
    before = student.scores(prepared.validation)
    training.distill(run, prepared, teacher, student, lambda *_: None)
    assert np.all(student.scores(prepared.validation) != before)
    (_, _, of_users), (keys, _, of_items) = student.known(prepared)
    assert of_users is None
    np.testing.assert_array_equal(of_items, prepared.item_features[prepared.candidates])
    assert len(keys) == len(of_items)


def test_new_ids_are_distilled_as_a_run_says() -> None:
    prepared = data.load(None, data.SYNTHETIC)

    def learned(id_dropout: float) -> np.ndarray:
        run = Run(data.SYNTHETIC, "gmf", "hashing_trick", 0.5, distilled=2)
        run = dataclasses.replace(run, id_dropout=id_dropout)
        teacher = training.teacher_of(run, prepared, lambda *_: None)
        student = Trainer(run, prepared)
        training.distill(run, prepared, teacher, student, lambda *_: None)
        return student.scores(prepared.validation)

    none, again, some = map(learned, (0.0, 0.0, 0.5))
    np.testing.assert_array_equal(none, again)
    assert np.all(none != some)
