"""`batch_norm_drift`: whether live inputs have the statistics that were learned."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _plots, _text
from tfrs_dhe.analysis._normalization_inputs import batches_of_inputs
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding


@dataclass(frozen=True, eq=False)
class NormalizationDrift:
    """Statistics of one batch normalization.

    Attributes:
      name: Of the layer.
      shifts: `(live mean - moving mean) / moving standard deviation` [units].
      ratios: Live variance over moving variance [units].
    """

    name: str
    shifts: np.ndarray = field(repr=False)
    ratios: np.ndarray = field(repr=False)

    @property
    def mean_shift(self) -> float:
        """Root mean square of the shifts."""
        return float(np.sqrt(np.mean(self.shifts**2)))

    @property
    def max_shift(self) -> float:
        """The largest shift of a unit."""
        return float(np.abs(self.shifts).max())

    @property
    def ratio_range(self) -> tuple[float, float]:
        """Least and largest ratio of variances."""
        return float(self.ratios.min()), float(self.ratios.max())


@dataclass(frozen=True, eq=False)
class BatchNormDrift(_plots.Plotted):
    """What `batch_norm_drift` returns; `print` shows it.

    `plot` draws shifts and ratios of all units.

    Attributes:
      num_rows: Live rows, n.
      layers: Of each batch normalization, from the input on.
    """

    num_rows: int
    layers: tuple[NormalizationDrift, ...]

    @property
    def mean_shift(self) -> float:
        """The largest root mean square shift of a layer, in standard deviations.

        It is nan if inputs or statistics of a layer are not finite.
        """
        # Of what is not finite, max() may return either.
        return float(np.max([layer.mean_shift for layer in self.layers]))

    @property
    def expected_shift(self) -> float:
        """What n independent rows of no drift would have, `1 / sqrt(n)`."""
        return 1 / math.sqrt(self.num_rows)

    @property
    def excess_shift(self) -> float:
        """The shift beyond that, in squares."""
        return math.sqrt(max(self.mean_shift**2 - self.expected_shift**2, 0.0))

    def rows(self) -> list[list[str]]:
        """Returns the figures of each layer."""
        return [
            [
                layer.name,
                f"{layer.mean_shift:.3f}",
                f"{layer.max_shift:.3f}",
                f"{np.median(layer.ratios):.3f}",
                "{:.2f} to {:.2f}".format(*layer.ratio_range),
            ]
            for layer in self.layers
        ]

    def __str__(self) -> str:
        return (
            f"{self.num_rows:,} live rows; shifts in standard deviations (without "
            f"drift {self.expected_shift:.3f})\n{_text.table(HEADER, self.rows())}"
        )

    def _draw(self, title: str | None) -> Any:
        """Draws shifts and ratios of all units."""
        title = title or "Batch normalization, live against learned"
        figure = _plots.new_figure(10, 3.8)
        figure.suptitle(title)
        shifts, ratios = figure.subplots(1, 2)
        for layer in self.layers:
            finite = np.isfinite(layer.shifts) & np.isfinite(layer.ratios)
            others = np.count_nonzero(~finite)
            label = f"{layer.name}, {others} not finite" if others else layer.name
            shifts.hist(layer.shifts[finite], bins=40, histtype="step", label=label)
            logs = np.log2(np.maximum(layer.ratios[finite], 1e-9))
            ratios.hist(logs, bins=40, histtype="step", label=label)
        shifts.set(
            xlabel="shift of the mean, standard deviations", ylabel="hidden units"
        )
        ratios.set(xlabel="log2 of live variance / learned", ylabel="hidden units")
        shifts.legend(fontsize="small")
        ratios.legend(fontsize="small")
        return figure


HEADER = ("normalization", "shift, RMS", "largest", "variance ratio", "range")


def batch_norm_drift(layer: Any, ids: Any, side_features: Any = None) -> BatchNormDrift:
    """Compares the moving statistics of batch normalization with those of live ids.

    Where they differ, the network computes from inputs that it was not trained on,
    whatever the ids. Ids count as often as they are given, as they do in training.

    Example:
    >>> layer = DeepHashEmbedding(4, 8, num_hidden_layers=2, momentum=0.0)
    >>> outputs = layer(tf.range(1000), training=True)
    >>> drift = batch_norm_drift(layer, tf.range(1000))
    >>> [one.name for one in drift.layers], drift.mean_shift < 1e-5
    (['normalization_0', 'normalization_1'], True)

    Args:
      layer: A `DeepHashEmbedding` with batch normalization that was trained.
      ids: Strings or integers [n]; or a `tf.data.Dataset` of batches of ids, or of
        pairs (ids, side features).
      side_features: Of the ids [n, s], or a dict of such, where `ids` is no data set.

    Returns:
      A `BatchNormDrift`.

    Raises:
      ValueError: If the layer is something else or was not built, or there is no id.

    References:
      Ioffe and Szegedy, "Batch Normalization", ICML 2015, section 3.1.
    """
    if (
        not isinstance(layer, DeepHashEmbedding)
        or layer.network.normalization != "batch"
        or not layer.network.built
    ):
        raise ValueError(
            "`layer` must be a layers.DeepHashEmbedding with normalization='batch' "
            f"that was called before. Received: {layer!r}."
        )
    network = layer.network
    totals: list[np.ndarray] = []
    num_rows = 0
    for rows in batches_of_inputs(layer, ids, side_features):
        num_rows += len(rows[0])
        sums = [np.stack([x.sum(axis=0), (x**2).sum(axis=0)]) for x in rows]
        totals = [a + b for a, b in zip(totals, sums, strict=True)] if totals else sums
    if not num_rows:
        raise ValueError("`ids` must be at least one. Received none.")
    drifts = []
    for i, total in enumerate(totals):
        normalization = getattr(network, f"normalization_{i}")
        mean, square = total / num_rows
        variance = np.maximum(square - mean**2, 0)
        learned = np.asarray(normalization.moving_variance, np.float64)
        learned = learned + normalization.epsilon
        shifts = (mean - np.asarray(normalization.moving_mean)) / np.sqrt(learned)
        drifts.append(
            NormalizationDrift(
                normalization.name, shifts, (variance + normalization.epsilon) / learned
            )
        )
    return BatchNormDrift(num_rows, tuple(drifts))
