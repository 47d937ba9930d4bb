"""Explanations of embeddings that are made to be known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.pictures import assert_picture
from tfrs_dhe.analysis import compare_seeds, explain_embedding
from tfrs_dhe.layers import DeepHashEmbedding

IDS = [f"user_{i}" for i in range(80)]


def linear_layer(kernel_of_features: np.ndarray | None = None) -> DeepHashEmbedding:
    """Returns a layer that passes its 16 hashes on, and adds a map of features."""
    num_features = 0 if kernel_of_features is None else len(kernel_of_features)
    layer = DeepHashEmbedding(
        16, 16 + num_features, num_hidden_layers=1, num_hashes=16,
        activation="linear", normalization=None,
    )  # fmt: skip
    features = None if kernel_of_features is None else tf.zeros([1, num_features])
    layer(tf.constant(["a"]), features, training=False)
    width = 16 + num_features
    output = np.zeros((width, 16))
    output[:16] = np.eye(16)
    if kernel_of_features is not None:
        output[16:] = kernel_of_features
    layer.network.hidden_0.set_weights([np.eye(width), np.zeros(width)])
    layer.network.output_layer.set_weights([output, np.zeros(16)])
    return layer


def test_a_network_that_learned_nothing_keeps_the_encoding() -> None:
    layer = linear_layer()
    explanation = explain_embedding(layer, "user_5", IDS, k=7)
    assert explanation.id == b"user_5"
    assert [n.id for n in explanation.by_embedding] == [
        n.id for n in explanation.by_encoding
    ]
    assert (explanation.overlap, explanation.num_candidates) == (7, 79)
    assert explanation.expected_overlap == 49 / 79
    assert explanation.correlation == pytest.approx(1)
    rows = np.asarray(layer(tf.constant(IDS), training=False), np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit[5]
    cosines[5] = -2
    order = np.argsort(-cosines)[:7]
    assert [n.id.decode() for n in explanation.by_embedding] == [IDS[i] for i in order]
    assert [n.similarity for n in explanation.by_embedding] == pytest.approx(
        cosines[order]
    )
    (effect,) = explanation.effects
    moved = np.linalg.norm(np.delete(rows, 5, 0) - rows[5], axis=1).mean()
    assert effect.change == pytest.approx(moved / np.linalg.norm(rows[5]))
    assert 0 < effect.kept < 0.5


def test_a_learned_geometry_is_told_from_that_of_the_hashes() -> None:
    # Two features decide nearly everything: ids of one group are near each other.
    layer = linear_layer(100 * np.eye(2, 16))
    groups = np.eye(2)[np.arange(80) % 2]
    explanation = explain_embedding(layer, "user_4", IDS, side_features=groups, k=10)
    assert all(int(n.id[5:]) % 2 == 0 for n in explanation.by_embedding)
    assert abs(explanation.correlation) < 0.5
    by_name = {e.name: e for e in explanation.effects}
    assert set(by_name) == {"id", "side features"}
    # Of 79 other ids 40 are in the other group, sqrt(2) away; the rest does not move.
    assert by_name["side features"].change == pytest.approx(
        40 / 79 * np.sqrt(2), rel=0.1
    )
    assert by_name["side features"].change > 5 * by_name["id"].change


def test_named_side_features_have_an_effect_each() -> None:
    layer = linear_layer(np.diag([50.0, 0.0]) @ np.eye(2, 16))
    rng = np.random.default_rng(0)
    features = {"age": rng.normal(size=[80, 1]), "noise": rng.normal(size=[80, 1])}
    explanation = explain_embedding(layer, "user_4", IDS, side_features=features, k=10)
    effects = {e.name: e for e in explanation.effects}
    assert list(effects) == ["id", "age", "noise"]
    assert effects["noise"].change == pytest.approx(0, abs=1e-6)
    assert effects["noise"].kept == 1
    moved = np.abs(np.delete(features["age"], 4) - features["age"][4]).mean() * 50
    own = np.asarray(
        layer(
            tf.constant(IDS[4:5]),
            {k: v[4:5] for k, v in features.items()},
            training=False,
        )
    )
    assert effects["age"].change == pytest.approx(moved / np.linalg.norm(own), rel=1e-4)


def test_seeds_that_agree_and_seeds_that_do_not() -> None:
    rng = np.random.default_rng(3)
    rows = {i: rng.normal(size=8) for i in range(60)}
    rotation = np.linalg.qr(rng.normal(size=[8, 8]))[0]

    def embed(ids: Any) -> np.ndarray:
        return np.stack([rows[i] for i in ids.numpy().tolist()])

    def other(ids: Any) -> np.ndarray:
        return np.random.default_rng(4).normal(size=[len(ids), 8])

    agreement = compare_seeds(
        [embed, lambda ids: 3 * embed(ids) @ rotation, other], np.arange(60), k=6
    )
    same, *apart = agreement.pairs
    assert (same.first, same.second) == (0, 1)
    assert same.neighbors == 1
    assert same.alignment == pytest.approx(1)
    for pair in apart:
        # 60 * 6 draws that are each in common with a probability of 6 / 59.
        chance = agreement.expected_neighbors
        assert chance == 6 / 59
        assert abs(pair.neighbors - chance) < 4 * np.sqrt(chance * (1 - chance) / 360)
        assert pair.alignment < 0.4
    assert "0 and 1" in str(agreement)


def diverged(layer: Any) -> Any:
    """Returns the layer with weights that are nan."""
    layer(tf.constant(IDS))
    layer.set_weights([weight * np.nan for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: explain_embedding(a, "user_99", IDS), "`identifier` must be one of"),
        (lambda a: explain_embedding(a, "a", ["a", "b", "a"], k=1), "must be distinct"),
        (lambda a: explain_embedding(a, "user_1", IDS, k=80), "more than k = 80"),
        (lambda a: explain_embedding(a, "user_1", IDS, k=0), "`k` must be a positive"),
        (lambda a: explain_embedding(a.network, "user_1", IDS), "`layer` must be a"),
        (
            lambda a: explain_embedding(diverged(a), "user_1", IDS),
            "`layer` must .* 80 of 80",
        ),
        (
            lambda a: compare_seeds([linear_layer(), diverged(a)], IDS),
            r"`layers\[1\]` must .* 80 of 80",
        ),
        (
            lambda a: compare_seeds([a, a], [*IDS, IDS[0]]),
            "`ids` must be distinct.* 81, 80 of",
        ),
        (lambda a: compare_seeds([a], IDS), "`layers` must be at least two"),
        (lambda a: compare_seeds([a, a], IDS, k=80), "`ids` must be more than k = 80"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(linear_layer())


def test_text_and_picture(tmp_path: Path) -> None:
    explanation = explain_embedding(linear_layer(), "user_5", IDS)
    assert str(explanation).startswith("user_5 among 79 ids")
    assert_picture(explanation.plot(tmp_path / "a"), "cosine of encodings")
    agreement = compare_seeds([linear_layer(), linear_layer()], IDS)
    assert_picture(agreement.plot(tmp_path / "b"), "% of the 10 nearest ids", "0 and 1")
