"""Distillation against least squares, and what it refuses."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import (
    DeepHashEmbedding,
    HashingTrickEmbedding,
    VocabularyEmbedding,
)
from tfrs_dhe.models import Distillation, distill_embeddings

IDS = np.arange(100)
TABLE = np.random.default_rng(0).normal(3, 2, size=(100, 4)).astype(np.float32)
FEATURES = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)


def new_layer(**options: Any) -> DeepHashEmbedding:
    keras.utils.set_random_seed(1)
    settings = {"hidden_dim": 64, "num_hidden_layers": 2, "num_hashes": 128}
    return DeepHashEmbedding(4, **(settings | options))


class Watched(keras.layers.Layer):
    """Hashed rows; `trained_on` has the ids of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = HashingTrickEmbedding(4, num_buckets=50)
        self.trained_on: list[np.ndarray] = []

    def call(self, ids: Any, training: bool | None = None) -> Any:
        if training:
            tf.py_function(lambda x: self.trained_on.append(x.numpy()), [ids], [])
        return self.rows(ids)


def weighted_means(
    buckets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best row of each id's bucket, and the mean of all ids [4]."""
    rows = np.stack(
        [
            np.average(TABLE[buckets == b], axis=0, weights=weights[buckets == b])
            for b in buckets
        ]
    )
    return rows, np.average(TABLE, axis=0, weights=weights)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_shared_rows_become_the_least_squares(is_weighted: bool) -> None:
    layer = HashingTrickEmbedding(4, num_buckets=8)
    # Ids are in one bucket if they have one row.
    before = layer(IDS).numpy()
    _, buckets = np.unique(before, axis=0, return_inverse=True)
    buckets = buckets.ravel()
    assert buckets.max() == 7
    weights = np.arange(100.0) if is_weighted else np.ones(100)
    learned = distill_embeddings(
        layer,
        IDS,
        TABLE,
        weights=weights if is_weighted else None,
        epochs=2000,
        batch_size=100,
        learning_rate=0.1,
        id_dropout=0,
    )
    rows, mean = weighted_means(buckets, weights)
    np.testing.assert_allclose(layer(IDS), rows, atol=1e-3)
    left = np.average((TABLE - rows) ** 2, axis=0, weights=weights).sum()
    total = np.average((TABLE - mean) ** 2, axis=0, weights=weights).sum()
    assert learned.unexplained == pytest.approx(left / total, rel=1e-4)
    assert learned.history[-1] == pytest.approx(left / total, rel=1e-3)


def test_a_network_learns_a_table() -> None:
    layer = new_layer()
    names = np.array([f"user {i}" for i in IDS])
    learned = distill_embeddings(layer, names, TABLE, batch_size=40)
    assert len(learned.history) == 500
    assert learned.history[0] > 1 > 0.05 > learned.history[-1]
    # As it is served: of the moving statistics, and by the exported form.
    for served in (layer, layer.inference_form()):
        errors = (served(tf.constant(names)) - TABLE).numpy()
        left = np.sum(errors**2) / np.sum((TABLE - TABLE.mean(axis=0)) ** 2)
        assert learned.unexplained == pytest.approx(left, rel=1e-3)
    assert learned.unexplained < 0.05


def test_side_features_are_given_to_the_layer() -> None:
    layer = new_layer(num_hashes=2)
    table = FEATURES @ np.random.default_rng(2).normal(size=(3, 4))
    learned = distill_embeddings(layer, IDS, table, side_features=FEATURES)
    errors = layer(IDS, side_features=FEATURES).numpy() - table
    left = np.sum(errors**2) / np.sum((table - table.mean(axis=0)) ** 2)
    assert learned.unexplained == pytest.approx(left, rel=1e-3)
    # For new ids, too, as the embeddings follow from the features.
    new = np.random.default_rng(3).normal(size=(100, 3)).astype(np.float32)
    embeddings = layer(IDS + 1000, side_features=new).numpy()
    expected = new @ np.linalg.lstsq(FEATURES, table, rcond=None)[0]
    assert np.corrcoef(embeddings.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("are_strings", [False, True])
def test_new_ids_learn_the_weighted_mean(are_strings: bool) -> None:
    ids = np.array([f"user {i}" for i in IDS]) if are_strings else IDS
    new = np.array(["somebody", "nobody"]) if are_strings else np.array([12345, -1])
    layer = VocabularyEmbedding(4, ids)  # Unknown ids have one row.
    weights = np.exp(TABLE[:, 0] / 2)
    learned = distill_embeddings(
        layer, ids, TABLE, weights, epochs=1000, learning_rate=0.05, id_dropout=0.5
    )
    mean = np.average(TABLE, axis=0, weights=weights)
    assert np.abs(mean - TABLE.mean(axis=0)).max() > 1
    np.testing.assert_allclose(layer(new), [mean, mean], atol=0.1)
    # What is left is of ids that are known: of new ones it would be all.
    assert learned.unexplained < 1e-4 < 0.3 < learned.history[-1] < 0.7


def test_new_ids_learn_from_side_features() -> None:
    of_features = 3 * FEATURES @ np.random.default_rng(2).normal(size=(3, 4))
    table = of_features + TABLE  # Half is the id's own.

    def error_of_new(id_dropout: float) -> float:
        layer = new_layer(normalization=None)
        distill_embeddings(
            layer, IDS, table, side_features=FEATURES, id_dropout=id_dropout
        )
        new = layer(IDS + 1000, side_features=FEATURES).numpy()
        return float(np.mean((new - of_features - TABLE.mean(axis=0)) ** 2))

    assert error_of_new(0.3) < error_of_new(0.0) / 2


@pytest.mark.parametrize(
    ("ids", "share_of_new"), [(IDS, 0.2), (np.arange(256, dtype=np.uint8), 0)]
)
def test_the_share_of_new_ids(ids: np.ndarray, share_of_new: float) -> None:
    table = np.random.default_rng(0).normal(size=(len(ids), 4))
    layer = Watched()
    distill_embeddings(layer, ids, table, epochs=50, id_dropout=0.2)
    seen = layer.trained_on
    assert len(seen) == 50
    is_new = ~np.isin(seen, ids)  # All bytes are known: there is no new one.
    assert is_new.mean() == pytest.approx(share_of_new, abs=0.02)
    assert len(set(np.array(seen)[is_new])) == is_new.sum()
    for batch, new in zip(seen, is_new, strict=True):
        assert len(set(batch[~new])) == (~new).sum()


def test_strings_keep_zeros_at_their_ends() -> None:
    layer, ids = Watched(), [b"a", b"a\0", b"b\0\0", b"\xff"]
    distill_embeddings(layer, ids, TABLE[:4], epochs=1, id_dropout=0)
    (seen,) = layer.trained_on
    assert sorted(seen) == sorted(ids)


def test_equal_seeds_learn_the_same() -> None:
    def learned(seed: int) -> tuple[Distillation, list[np.ndarray]]:
        layer = new_layer()
        result = distill_embeddings(
            layer, IDS, TABLE, epochs=3, batch_size=10, seed=seed
        )
        return result, layer.get_weights()

    (first, weights), (second, same), (third, _) = map(learned, (5, 5, 6))
    assert first == second != third
    for a, b in zip(weights, same, strict=True):
        np.testing.assert_array_equal(a, b)


def test_steps_are_of_one_size(capsys: pytest.CaptureFixture[str]) -> None:
    layer = Watched()
    distill_embeddings(layer, IDS, TABLE, epochs=2, batch_size=33, verbose=True)
    assert [len(ids) for ids in layer.trained_on] == [25] * 8  # Not 33, 33, 33 and 1.
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == ["epoch 1/2", "epoch 2/2"]


def test_the_rate_rises_and_falls_to_zero() -> None:
    layer = HashingTrickEmbedding(4, num_buckets=8)
    layer(IDS)
    moves = []
    rows = layer.get_weights()[0]
    for epochs in (20, 40):
        keras.utils.set_random_seed(1)
        layer.set_weights([rows])
        distill_embeddings(
            layer, IDS, TABLE, epochs=epochs, batch_size=100, id_dropout=0
        )
        moves.append(np.abs(layer.get_weights()[0] - rows).max())
    # Adam moves each number by the rate a step while gradients keep their sign: the
    # sum over rise and cosine is half the rate a step.
    np.testing.assert_allclose(moves, [0.005 * 20 / 2, 0.005 * 40 / 2], rtol=0.1)


GOOD: dict[str, Any] = {"ids": IDS, "embeddings": TABLE}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": IDS[:, np.newaxis]}, "`ids` must be a vector"),
        ({"ids": IDS[:0]}, "`ids` must be a vector, not empty"),
        ({"ids": IDS // 2}, "`ids` must have each id once.*0 more than once"),
        ({"ids": IDS / 1}, "`ids` must be strings or integers"),
        ({"embeddings": TABLE[:50]}, r"`embeddings` must .*100 ids.*\(50, 4\)"),
        ({"embeddings": TABLE[:, :3]}, r"`embeddings` must be as wide .*\(1, 4\)"),
        ({"embeddings": TABLE * np.inf}, "`embeddings` must be finite"),
        ({"embeddings": np.full_like(TABLE, 0.1)}, "`embeddings` must differ"),
        ({"weights": IDS == 7}, "`embeddings` must differ.*1 times the same"),
        ({"weights": TABLE}, "`weights` must have rank 1"),
        ({"weights": -np.ones(100)}, "`weights` must not be negative"),
        ({"weights": np.zeros(100)}, "`weights` must not be negative"),
        ({"side_features": FEATURES[:7]}, "`side_features` must have rank 2"),
        ({"epochs": 0}, "`epochs` must be a positive integer"),
        ({"batch_size": 0.5}, "`batch_size` must be a positive integer"),
        ({"id_dropout": 1.0}, r"`id_dropout` must be in \[0, 1\)"),
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0"),
        ({"learning_rate": np.inf}, "`learning_rate` must be above 0, and finite"),
    ],
)
def test_what_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distill_embeddings(new_layer(), **(GOOD | {"epochs": 1} | changed))


def test_a_layer_without_trainable_weights_is_refused() -> None:
    layer = VocabularyEmbedding(4, IDS)
    layer.trainable = False
    with pytest.raises(ValueError, match="`layer` must have trainable weights"):
        distill_embeddings(layer, **GOOD)
