"""Statistics of live ids against those that batch normalization keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.pictures import assert_picture
from tfrs_dhe.analysis import batch_norm_drift
from tfrs_dhe.layers import DeepHashEmbedding

ORDERS = ["normalize_then_activate", "activate_then_normalize"]


def make_layer(
    order: str = ORDERS[0], hidden_dim: int = 8, **arguments: Any
) -> DeepHashEmbedding:
    # Without momentum, the statistics are those of the last batch.
    return DeepHashEmbedding(
        3,
        hidden_dim,
        num_hidden_layers=2,
        num_hashes=16,
        order=order,
        momentum=0.0,
        **arguments,
    )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("with_features", [False, True])
def test_the_batch_just_learned_does_not_drift(order: str, with_features: bool) -> None:
    layer = make_layer(order)
    ids = tf.constant([f"user_{i}" for i in range(200)])
    features = tf.random.normal([200, 4]) if with_features else None
    layer(ids, features, training=True)
    drift = batch_norm_drift(layer, ids, features)
    assert drift.num_rows == 200
    first, second = drift.layers
    # The first layer sees what it saw; the second sees outputs of the first that are
    # normalized by the moving statistics, which are those of the batch.
    for one in (first, second):
        assert one.max_shift < 1e-4
        assert one.ratio_range == pytest.approx((1, 1), rel=1e-3)
    assert drift.excess_shift == 0


@pytest.mark.parametrize("order", ORDERS)
def test_statistics_are_those_that_training_would_learn(order: str) -> None:
    layer = make_layer(order)
    layer(tf.range(500), training=True)
    normalization = layer.network.normalization_0
    before = (
        np.asarray(normalization.moving_mean),
        np.asarray(normalization.moving_variance),
    )
    live = tf.range(1000, 1100)
    drift = batch_norm_drift(layer, live)
    layer(live, training=True)  # the statistics are now those of the live ids
    deviation = np.sqrt(before[1] + normalization.epsilon)
    shifts = (np.asarray(normalization.moving_mean) - before[0]) / deviation
    assert drift.layers[0].shifts == pytest.approx(shifts, abs=1e-4)
    ratios = (np.asarray(normalization.moving_variance) + normalization.epsilon) / (
        before[1] + normalization.epsilon
    )
    assert drift.layers[0].ratios == pytest.approx(ratios, rel=1e-3)


def test_ids_of_one_distribution_shift_by_their_number() -> None:
    layer = make_layer(hidden_dim=64)
    layer(tf.range(200_000), training=True)
    drift = batch_norm_drift(layer, tf.range(200_000, 200_400))
    assert drift.expected_shift == 1 / 20
    # 64 units that are correlated: within a factor of two.
    assert 1 / 40 < drift.layers[0].mean_shift < 1 / 10


def test_side_features_that_drift_are_seen() -> None:
    layer = make_layer()
    ids = tf.range(2000)
    layer(ids, tf.random.normal([2000, 2]), training=True)
    still = batch_norm_drift(layer, ids, tf.random.normal([2000, 2]))
    moved = batch_norm_drift(layer, ids, tf.random.normal([2000, 2]) + 5.0)
    assert still.mean_shift < 0.2
    assert moved.mean_shift > 1
    assert moved.excess_shift > 1


def test_data_sets_and_padding() -> None:
    layer = make_layer(mask_value=0)
    ids = tf.constant([[5, 0], [7, 5], [9, 0]])
    layer(ids, training=True)
    drift = batch_norm_drift(layer, ids)
    assert drift.num_rows == 4
    assert drift.mean_shift < 1e-4
    batches = tf.data.Dataset.from_tensor_slices(ids).batch(2)
    assert batch_norm_drift(layer, batches).mean_shift == pytest.approx(
        drift.mean_shift, abs=1e-5
    )


def test_pairs_of_a_data_set_have_side_features() -> None:
    layer = make_layer()
    features = tf.random.normal([50, 2])
    layer(tf.range(50), features, training=True)
    pairs = tf.data.Dataset.from_tensor_slices((tf.range(50), features)).batch(20)
    drift = batch_norm_drift(layer, pairs)
    assert (drift.num_rows, drift.mean_shift < 1e-4) == (50, True)


@pytest.mark.parametrize(
    ("layer", "ids", "message"),
    [
        (DeepHashEmbedding(3, 8), [1], "was called before"),
        (DeepHashEmbedding(3, 8, normalization="layer"), [1], "normalization='batch'"),
        ("layer", [1], "`layer` must be a layers.DeepHashEmbedding"),
        (None, np.zeros(0, np.int64), "`ids` must be at least one"),
        (None, None, "`ids` must be a tensor"),
    ],
)
def test_errors_name_the_argument(layer: Any, ids: Any, message: str) -> None:
    if layer is None:
        layer = make_layer()
        layer(tf.range(4), training=True)
    with pytest.raises(ValueError, match=message):
        batch_norm_drift(layer, ids)


def test_text_and_picture(tmp_path: Path) -> None:
    layer = make_layer()
    layer(tf.range(100), training=True)
    drift = batch_norm_drift(layer, tf.range(50))
    assert "normalization_1" in str(drift)
    assert_picture(drift.plot(tmp_path / "a"), "hidden units", "normalization_0")
