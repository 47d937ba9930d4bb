"""Alerts, the report, and callbacks in a training."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.test_calibration import batch, make_head
from tests.analysis.test_sketches import zipf_stream
from tfrs_dhe._keras import keras
from tfrs_dhe.analysis import (
    DriftCallback,
    DriftReport,
    DriftThresholds,
    TrainingSummaries,
    batch_norm_drift,
    bucket_calibration,
    compare_ids,
    sketch_ids,
)
from tfrs_dhe.layers import DeepHashEmbedding, MACHHead

STREAM = zipf_stream(2000, 1.0, 60_000)


def test_no_alert_without_drift_and_alerts_with_it() -> None:
    quiet = DriftReport(ids=compare_ids(STREAM[:40_000], STREAM[40_000:]))
    assert quiet.alerts == ()
    assert str(quiet).startswith("No alert.")
    loud = DriftReport(ids=compare_ids(STREAM[:40_000], STREAM[40_000:] + 1000))
    names = [alert.partition(" 0.")[0] for alert in loud.alerts]
    assert len(loud.alerts) >= 3
    assert "share of unseen ids" in names
    assert str(loud).startswith("ALERT: ")


def test_small_samples_raise_no_alert_by_their_size() -> None:
    ids = compare_ids(STREAM, STREAM[:300], num_groups=8)
    assert ids.psi > 0.2  # that much by chance alone
    assert not [a for a in DriftReport(ids=ids).alerts if "stability" in a]


@pytest.mark.parametrize(
    ("num_reference", "num_live"), [(10**6, 10**5), (10**5, 10**3), (10**5, 10**5)]
)
def test_a_flat_distribution_raises_no_alert(num_reference: int, num_live: int) -> None:
    rng = np.random.default_rng(0)
    reference, live = (rng.integers(10_000, size=n) for n in (num_reference, num_live))
    ids = compare_ids(reference, live)
    assert ids.heavy_overlap < 0.1  # that little by chance alone
    assert DriftReport(ids=ids).alerts == ()


def test_a_flat_rest_below_heads_raises_no_alert() -> None:
    rng = np.random.default_rng(0)
    reference, live = (
        np.concatenate([rng.integers(10, size=n), 10 + rng.integers(10_000, size=n)])
        for n in (10**5, 10**5)
    )
    ids = compare_ids(reference, live)
    assert 0.1 <= ids.heavy_overlap < 0.2  # ten heads, and little by chance
    assert DriftReport(ids=ids).alerts == ()


def test_frequent_ids_that_are_exchanged_raise_an_alert() -> None:
    stream = zipf_stream(10_000, 0.8, 300_000)
    live = stream[200_000:].copy()
    # Of the 100 most frequent, 60 change places with rare ones.
    live = np.where(live < 60, live + 5000, np.where(live // 60 * 60 == 5000, 0, live))
    ids = compare_ids(stream[:200_000], live)
    assert ids.expected_heavy_overlap > 0.9
    assert ids.corrected_overlap < 0.5
    assert any("frequent" in alert for alert in DriftReport(ids=ids).alerts)


def test_what_could_not_be_measured_raises_an_alert(tmp_path: Path) -> None:
    # A sample of every 32th id or fewer; none of two new ids is among them.
    reference = sketch_ids(np.arange(60_000), capacity=1024)
    held = reference.sample.holds(np.arange(60_000, 60_100))
    new = 60_000 + np.flatnonzero(~held)[:2]
    ids = compare_ids(reference, sketch_ids(np.repeat(new, 200), capacity=1024))
    layer = DeepHashEmbedding(2, 4, num_hidden_layers=2, num_hashes=8)
    layer(tf.range(100), training=True)
    kernel = layer.network.hidden_1.kernel
    kernel.assign(tf.fill(kernel.shape, math.nan))
    report = DriftReport(
        ids=ids,
        calibration=bucket_calibration(make_head([[math.nan, 0]]), [batch([1])]),
        batch_norm=batch_norm_drift(layer, tf.range(100)),
    )
    names = {
        alert.partition(" could not be measured")[0]
        for alert in report.alerts
        if "could not be measured" in alert
    }
    assert names == {
        "share of unseen ids",
        "calibration error",
        "shift of batch normalization",
    }
    silent = {field: None for field in DriftThresholds.__dataclass_fields__}
    unasked = DriftReport(ids=ids, thresholds=DriftThresholds(**silent))
    assert unasked.alerts == ()
    text = report.write(tmp_path).read_text()
    assert "share of unseen ids | not measured" in text
    assert "No calibration error: 1 of 1 cases" in text
    assert "4 not finite" in (tmp_path / "batch_norm.svg").read_text()


def test_live_ids_none_of_which_is_frequent_raise_an_alert() -> None:
    reference = sketch_ids(zipf_stream(5000, 1.2, 50_000), capacity=1024)
    ids = compare_ids(reference, sketch_ids(np.arange(100_000), capacity=1024))
    assert ids.num_frequent > 10
    assert math.isnan(ids.corrected_overlap)
    assert any(
        "stayed so could not be measured: no live id is frequent" in alert
        for alert in DriftReport(ids=ids).alerts
    )


@pytest.mark.parametrize("name", ["psi", "jensen_shannon", "unseen_share"])
def test_thresholds_are_what_figures_are_compared_with(name: str) -> None:
    ids = compare_ids(STREAM[:40_000], STREAM[40_000:] + 20)
    silent = {field: None for field in DriftThresholds.__dataclass_fields__}
    value = DriftReport(ids=ids).figures[name]
    below = DriftThresholds(**{**silent, name: value * 0.99})
    above = DriftThresholds(**{**silent, name: value * 1.01})
    (alert,) = DriftReport(ids=ids, thresholds=below).alerts
    assert alert.endswith(f"is above {value * 0.99:g}")
    assert DriftReport(ids=ids, thresholds=above).alerts == ()
    with pytest.raises(ValueError, match=f"`{name}` must be a number from 0"):
        DriftThresholds(**{name: -1})
    with pytest.raises(ValueError, match=f"`{name}` must be a number from 0"):
        DriftThresholds(**{name: math.nan})


def test_report_is_written_with_its_pictures(tmp_path: Path) -> None:
    layer = DeepHashEmbedding(2, 4, num_hidden_layers=1, num_hashes=8)
    layer(tf.range(100), training=True)
    report = DriftReport(
        ids=compare_ids(STREAM[:40_000], STREAM[40_000:]),
        calibration=bucket_calibration(make_head(np.eye(4)), [batch(range(50))]),
        batch_norm=batch_norm_drift(layer, tf.range(100)),
    )
    path = report.write(tmp_path / "report", title="Movies, Monday")
    text = path.read_text()
    assert text.startswith("# Movies, Monday\n")
    for alert in report.alerts:
        assert f"- **Alert**: {alert}" in text
    for name in ("ids", "batch_norm", "calibration"):
        assert f"({name}.png)" in text
        assert (tmp_path / "report" / f"{name}.png").exists()
        assert (tmp_path / "report" / f"{name}.svg").exists()


def make_model() -> tuple[Any, Any, Any, Any]:
    """Returns a model of an embedding and a head, its layers, and its data."""
    layer = DeepHashEmbedding(4, 8, num_hidden_layers=2, num_hashes=16)
    head = MACHHead(6, 2)
    inputs = keras.Input([], dtype="int64")
    model = keras.Model(inputs, head(layer(inputs)))

    def loss(y_true: Any, y_pred: Any) -> Any:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.cast(y_true, tf.int32), y_pred
        )

    model.compile("sgd", loss)
    ids = np.arange(64)
    return model, layer, head, (ids, head.bucket_ids(ids).numpy())


def test_callback_adds_figures_to_the_logs() -> None:
    model, layer, head, (ids, buckets) = make_model()
    reports: list[DriftReport] = []
    callback = DriftCallback(
        reference=STREAM[:40_000],
        live=STREAM[40_000:] + 1000,
        layer=layer,
        layer_ids=tf.constant(ids),
        head=head,
        examples=[(ids, ids)],
        query_model=lambda x: layer(x, training=False),
        on_alert=reports.append,
        every=2,
    )
    history = model.fit(
        ids, buckets, epochs=4, batch_size=32, verbose=0, callbacks=[callback]
    )
    assert len(history.history["drift_psi"]) == 2
    assert len(reports) == 2
    assert history.history["drift_psi"][0] == reports[0].figures["psi"]
    now = batch_norm_drift(layer, tf.constant(ids)).excess_shift
    assert history.history["drift_batch_norm_shift"][-1] == pytest.approx(now)
    now = bucket_calibration(head, [(layer(ids, training=False), ids)]).excess_error
    assert history.history["drift_calibration_error"][-1] == pytest.approx(now)


def test_callback_warns_by_default() -> None:
    model, _, _, (ids, buckets) = make_model()
    callback = DriftCallback(reference=["a"] * 900, live=["b"] * 900)
    with pytest.warns(UserWarning, match="Drift: population stability index"):
        model.fit(ids, buckets, verbose=0, callbacks=[callback])


def test_callback_warns_of_a_training_that_diverged() -> None:
    model, _, head, (ids, buckets) = make_model()
    callback = DriftCallback(
        head=head,
        examples=[(np.ones([2, 4], np.float32), np.array([1, 2]))],
        on_alert=(reports := []).append,
    )
    head.bias.assign(tf.fill(head.bias.shape, math.nan))
    history = model.fit(ids, buckets, epochs=2, verbose=0, callbacks=[callback])
    assert np.isnan(history.history["drift_calibration_error"]).all()
    assert len(reports) == 2
    assert "see whether the training diverged" in reports[0].alerts[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DriftCallback(), "nothing to compare"),
        (lambda: DriftCallback(reference=[1]), "`reference` and `live` go together"),
        (lambda: DriftCallback(layer_ids=[1]), "Received no `layer`"),
        (
            lambda: DriftCallback([1], [1], every=0),
            "`every` must be a positive integer",
        ),
        (lambda: TrainingSummaries("x"), "Received neither"),
        (lambda: TrainingSummaries("x", layer=1, ids=[1]), "`layer` must be a layers."),
        (lambda: TrainingSummaries("x", head=1), "`head`, `queries` and `class_ids`"),
    ],
)
def test_errors_name_the_argument(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def read_events(folder: Path) -> dict[str, list[tuple[int, str, np.ndarray]]]:
    """Returns step, plugin and value of all summaries in a folder, by their tags."""
    from tensorflow.core.util import event_pb2

    summaries: dict[str, list[tuple[int, str, np.ndarray]]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                summaries.setdefault(value.tag, []).append(
                    (
                        event.step,
                        value.metadata.plugin_data.plugin_name,
                        tf.make_ndarray(value.tensor),
                    )
                )
    return summaries


def summaries_of(layer: Any, head: Any, ids: Any, path: Path) -> TrainingSummaries:
    return TrainingSummaries(
        path,
        layer=layer,
        ids=ids,
        head=head,
        queries=ids,
        class_ids=ids,
        query_model=lambda x: layer(x, training=False),
    )


def test_summaries_are_what_tensorboard_reads(tmp_path: Path) -> None:
    model, layer, head, (ids, buckets) = make_model()
    callback = summaries_of(layer, head, ids, tmp_path)
    model.fit(ids, buckets, epochs=3, verbose=0, callbacks=[callback])
    events = read_events(tmp_path)
    assert {step for rows in events.values() for step, _, _ in rows} == {0, 1, 2}
    assert {"encoder/values", "decoder/embeddings", "decoder/hidden_1/inputs"} <= set(
        events
    )
    step, plugin, mean = events["encoder/mean"][-1]
    assert (step, plugin) == (2, "scalars")
    assert mean == pytest.approx(np.mean(np.asarray(layer.encoding(tf.constant(ids)))))
    shift = batch_norm_drift(layer, ids).layers[1].mean_shift
    assert events["decoder/hidden_1/shift"][-1][2] == pytest.approx(shift, rel=1e-5)
    probabilities = np.asarray(
        tf.nn.softmax(head(layer(tf.constant(ids), training=False)))
    )
    loads = probabilities.mean(axis=0)
    for r in range(2):
        entropy = -np.sum(loads[r] * np.log2(loads[r]))
        name = f"buckets/repetition_{r}"
        assert events[f"{name}/entropy_bits"][-1][2] == pytest.approx(entropy, rel=1e-5)
        assert events[f"{name}/heaviest"][-1][2] == pytest.approx(
            loads[r].max() * 6, rel=1e-5
        )
        assert events[f"{name}/true_load"][-1][1] == "histograms"
        there = np.bincount(buckets[:, r], minlength=6) / 64
        assert events[f"{name}/distance_of_loads"][-1][2] == pytest.approx(
            np.abs(loads[r] - there).sum() / 2, rel=1e-4
        )


def test_a_training_that_diverged_is_summarized(tmp_path: Path) -> None:
    _, layer, head, (ids, _) = make_model()
    layer(tf.constant(ids))
    layer.set_weights([w * np.nan if w.ndim == 2 else w for w in layer.get_weights()])
    callback = summaries_of(layer, head, ids, tmp_path)
    callback.on_train_begin()
    callback.on_epoch_end(0)
    callback.on_train_end()
    events = read_events(tmp_path)
    embeddings = np.asarray(layer(tf.constant(ids), training=False))
    ((_, plugin, count),) = events["decoder/embeddings/not_finite"]
    assert (plugin, count) == ("scalars", embeddings.size)
    assert events["decoder/embeddings"][0][2][:, 2].sum() == 0
    # What is finite is there as ever.
    encodings = np.asarray(layer.encoding(tf.constant(ids)))
    assert events["encoder/values"][0][2][:, 2].sum() == encodings.size
    assert "encoder/values/not_finite" not in events
    assert np.isnan(events["buckets/repetition_0/entropy_bits"][0][2])
    assert np.isnan(events["buckets/repetition_0/heaviest"][0][2])
