"""`DriftCallback`: drift beside the loss, epoch by epoch."""

import warnings
from collections.abc import Callable
from typing import Any

from tfrs_dhe._keras import keras
from tfrs_dhe.analysis.calibration import bucket_calibration
from tfrs_dhe.analysis.drift_report import DriftReport, DriftThresholds
from tfrs_dhe.analysis.id_drift import compare_ids
from tfrs_dhe.analysis.normalization_drift import batch_norm_drift
from tfrs_dhe.layers import _arguments


class DriftCallback(keras.callbacks.Callback):
    """Compares live data with the training, and the model with live data.

    After an epoch, each figure of the report is in the logs as `drift_psi`,
    `drift_unseen_share` and so on, where `History`, `CSVLogger` and TensorBoard find
    it; alerts go to `on_alert`. Streams of ids are compared once, at the start.

    Example:
    >>> callback = DriftCallback(reference=["a", "b"], live=["a", "a"])
    >>> sorted(callback.report().figures)
    ['heavy_overlap', 'jensen_shannon', 'psi', 'unseen_share']

    Args:
      reference: Ids of the training, or their `IdSketch`; None compares no ids.
      live: Live ids, or their `IdSketch`.
      layer: A `DeepHashEmbedding` whose batch normalization is compared with live ids.
      layer_ids: Live ids for it: [n] or a data set, see `batch_norm_drift`.
      head: A `MACHHead` whose calibration is measured.
      examples: Live pairs (queries, class_ids) for it, see `bucket_calibration`; what
        can be read again in each epoch.
      query_model: Turns their features into the head's input.
      activation: `"softmax"` or `"sigmoid"`, as the head is trained.
      thresholds: What raises an alert.
      on_alert: Is called with the `DriftReport` if there is one; by default a warning.
      every: In which epochs: every one, every second, ...

    Raises:
      ValueError: If nothing is compared, or one of a pair of arguments is missing.
    """

    def __init__(
        self,
        reference: Any = None,
        live: Any = None,
        *,
        layer: Any = None,
        layer_ids: Any = None,
        head: Any = None,
        examples: Any = None,
        query_model: Any = None,
        activation: str = "softmax",
        thresholds: DriftThresholds | None = None,
        on_alert: Callable[[DriftReport], None] | None = None,
        every: int = 1,
    ) -> None:
        super().__init__()
        pairs = {
            ("reference", "live"): (reference, live),
            ("layer", "layer_ids"): (layer, layer_ids),
            ("head", "examples"): (head, examples),
        }
        for (first, second), (one, other) in pairs.items():
            if (one is None) != (other is None):
                missing = first if one is None else second
                raise ValueError(
                    f"`{first}` and `{second}` go together. Received no `{missing}`."
                )
        if all(one is None for one, _ in pairs.values()):
            raise ValueError(
                "DriftCallback has nothing to compare: give `reference` and `live`, "
                "`layer` and `layer_ids`, or `head` and `examples`."
            )
        self._ids = None if reference is None else compare_ids(reference, live)
        self._layer, self._layer_ids = layer, layer_ids
        self._head, self._examples = head, examples
        self._query_model, self._activation = query_model, activation
        self._thresholds = thresholds or DriftThresholds()
        self._on_alert = on_alert or _warn
        self._every = _arguments.check_positive_integer("every", every)

    def report(self) -> DriftReport:
        """Returns the report of the model as it is."""
        calibration = batch_norm = None
        if self._head is not None:
            calibration = bucket_calibration(
                self._head,
                self._examples,
                query_model=self._query_model,
                activation=self._activation,
            )
        if self._layer is not None:
            batch_norm = batch_norm_drift(self._layer, self._layer_ids)
        return DriftReport(self._ids, calibration, batch_norm, self._thresholds)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the figures to the logs, and raises alerts."""
        if (epoch + 1) % self._every:
            return
        report = self.report()
        if logs is not None:
            for name, value in report.figures.items():
                logs[f"drift_{name}"] = value
        if report.alerts:
            self._on_alert(report)


def _warn(report: DriftReport) -> None:
    warnings.warn("Drift: " + "; ".join(report.alerts) + ".", stacklevel=2)
