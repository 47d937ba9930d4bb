"""Thresholds of drift, the alerts that they raise, and a report to be read."""

import math
from dataclasses import dataclass, fields
from pathlib import Path

from tfrs_dhe.analysis import _text
from tfrs_dhe.analysis.calibration import Calibration
from tfrs_dhe.analysis.id_drift import CHANGE_HEADER, HEADER, IdDrift
from tfrs_dhe.analysis.normalization_drift import HEADER as NORMALIZATION_HEADER
from tfrs_dhe.analysis.normalization_drift import BatchNormDrift


@dataclass(frozen=True)
class DriftThresholds:
    """From when on a figure raises an alert; None never does.

    What sampling alone makes of a figure is taken off before it is compared, so small
    samples raise no alert by their size. A figure that could not be measured raises an
    alert as well: it may be anything.

    Example:
    >>> DriftThresholds(psi=0.1, calibration_error=None).psi
    0.1

    Attributes:
      psi: Population stability index. By custom, 0.1 is a small change and 0.25 a large
        one.
      jensen_shannon: Jensen-Shannon distance, from 0 to 1. For small changes of all
        bins it is about `sqrt(psi / 5.5)`.
      unseen_share: Share of live occurrences with ids that the reference lacks, beyond
        what it would lack anyway.
      heavy_overlap: The share of the most frequent ids that stay so, at least, where
        those that two samples of one distribution exchange count as staying.
      calibration_error: Expected calibration error of bucket probabilities.
      batch_norm_shift: Root mean square shift of a batch normalization's inputs, in
        standard deviations.
    """

    psi: float | None = 0.2
    jensen_shannon: float | None = 0.2
    unseen_share: float | None = 0.05
    heavy_overlap: float | None = 0.5
    calibration_error: float | None = 0.05
    batch_norm_shift: float | None = 0.25

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value >= 0:
                raise ValueError(
                    f"`{field.name}` must be a number from 0, or None for no alert. "
                    f"Received: {value!r}."
                )


@dataclass(frozen=True)
class DriftReport:
    """What was compared, and what is beyond its threshold.

    Example:
    >>> from tfrs_dhe.analysis import compare_ids
    >>> report = DriftReport(ids=compare_ids(["a", "b"] * 500, ["a", "c"] * 500))
    >>> report.alerts[0]
    'population stability index 6.894 is above 0.2'

    Attributes:
      ids: From `compare_ids`, if ids were compared.
      calibration: From `bucket_calibration`, if it was measured on live examples.
      batch_norm: From `batch_norm_drift`, if it was measured on live ids.
      thresholds: What raises an alert.
    """

    ids: IdDrift | None = None
    calibration: Calibration | None = None
    batch_norm: BatchNormDrift | None = None
    thresholds: DriftThresholds = DriftThresholds()

    @property
    def figures(self) -> dict[str, float]:
        """Returns what is compared with the thresholds, by their names.

        Of a reference in which no id is frequent, none can stay so: it has no
        `heavy_overlap`. What is nan could not be measured.
        """
        figures = {}
        if self.ids is not None:
            figures["psi"] = self.ids.excess_psi
            figures["jensen_shannon"] = self.ids.excess_jensen_shannon
            figures["unseen_share"] = self.ids.excess_unseen
            if self.ids.num_frequent:
                figures["heavy_overlap"] = self.ids.corrected_overlap
        if self.calibration is not None:
            figures["calibration_error"] = self.calibration.excess_error
        if self.batch_norm is not None:
            figures["batch_norm_shift"] = self.batch_norm.excess_shift
        return figures

    @property
    def alerts(self) -> tuple[str, ...]:
        """Returns a sentence for each figure beyond its threshold, or not measured."""
        sentences = []
        for name, value in self.figures.items():
            limit = getattr(self.thresholds, name)
            if limit is None:
                continue
            if math.isnan(value):
                sentences.append(f"{WORDS[name]} {UNMEASURED[name]}")
            beyond = value < limit if name == "heavy_overlap" else value > limit
            if beyond:
                side = "below" if name == "heavy_overlap" else "above"
                sentences.append(f"{WORDS[name]} {value:.4g} is {side} {limit:g}")
        return tuple(sentences)

    def __str__(self) -> str:
        lines = ["ALERT: " + alert for alert in self.alerts] or ["No alert."]
        parts = [self.ids, self.batch_norm, self.calibration]
        return "\n\n".join(
            ["\n".join(lines), *(str(part) for part in parts if part is not None)]
        )

    def write(self, directory: str | Path, title: str = "Drift") -> Path:
        """Writes `drift.md` with its pictures, PNG and SVG, into a folder.

        Args:
          directory: The folder; it is made.
          title: Of the report.

        Returns:
          The path of the report.

        Raises:
          ImportError: If matplotlib is not installed.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        lines = [f"# {title}", ""]
        lines += [f"- **Alert**: {alert}" for alert in self.alerts] or ["No alert."]
        if self.ids is not None:
            self.ids.plot(directory / "ids")
            lines += [
                "",
                f"## Ids: {self.ids.num_live:,} live, {self.ids.num_reference:,} of "
                "the reference",
                "",
                _text.markdown(HEADER, self.ids.rows()),
                "",
                _text.markdown(CHANGE_HEADER, self.ids.change_rows()),
                "",
                "![Shares of ids](ids.png)",
            ]
        if self.batch_norm is not None:
            self.batch_norm.plot(directory / "batch_norm")
            lines += [
                "",
                f"## Batch normalization: {self.batch_norm.num_rows:,} live rows",
                "",
                _text.markdown(NORMALIZATION_HEADER, self.batch_norm.rows()),
                "",
                "![Shifts of hidden units](batch_norm.png)",
            ]
        if self.calibration is not None:
            self.calibration.plot(directory / "calibration")
            lines += [
                "",
                f"## Calibration: {self.calibration.num_examples:,} live examples",
                "",
                self.calibration.sentence,
                "",
                "![Accuracy against confidence](calibration.png)",
            ]
        path = directory / "drift.md"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


#: Figures by the names of their thresholds.
WORDS = {
    "psi": "population stability index",
    "jensen_shannon": "Jensen-Shannon distance",
    "unseen_share": "share of unseen ids",
    "heavy_overlap": "share of frequent ids that stayed so",
    "calibration_error": "calibration error",
    "batch_norm_shift": "shift of batch normalization",
}

#: What is said of figures that are nan.
UNMEASURED = {
    "unseen_share": "could not be measured: the samples hold no live id; compare more "
    "of them, or sketch both streams with a larger `capacity`",
    "heavy_overlap": "could not be measured: no live id is frequent for certain; "
    "sketch both streams with more `num_heavy_hitters`",
    "calibration_error": "could not be measured: the head has logits that are not "
    "finite; see whether the training diverged",
    "batch_norm_shift": "could not be measured: inputs or statistics are not finite; "
    "see whether the training diverged",
}
