"""`compare_ids`: whether a live stream of ids is still that of the training."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _frequent_ids, _plots, _text, divergences
from tfrs_dhe.analysis.distribution import Distribution, describe_ids
from tfrs_dhe.analysis.id_sketch import IdSketch, sketch_ids
from tfrs_dhe.layers import _arguments

_NUM_LISTED = 5


@dataclass(frozen=True)
class FrequencyChange:
    """An id that is frequent in one of two streams.

    Attributes:
      id: Bytes or an integer.
      reference_share: Share of the occurrences of the reference.
      live_share: Share of the live occurrences.
      deviations: Difference in standard deviations of two samples of one distribution.
    """

    id: Any
    reference_share: float
    live_share: float
    deviations: float


@dataclass(frozen=True, eq=False)
class IdDrift(_plots.Plotted):
    """What `compare_ids` returns; `print` shows it.

    `plot` draws the shares of the bins, one against the other.

    Attributes:
      num_reference: Occurrences of the reference.
      num_live: Live occurrences.
      psi: Population stability index over the bins.
      expected_psi: What it would be for two samples of one distribution.
      jensen_shannon: Jensen-Shannon distance over the bins, from 0 to 1.
      expected_jensen_shannon: What it would be for two samples of one distribution.
      unseen_share: Share of the live occurrences whose id the reference lacks; nan
        where not all ids were held, and of those that were no live one is.
      unseen_error: Standard error of this share, 0 where all ids were held.
      expected_unseen: What the share would be without drift, as the reference lacks
        rare ids of its own distribution (Good-Turing).
      heavy_overlap: Share of the most frequent ids of the reference that are among as
        many most frequent live ones; nan where none is so for certain.
      expected_heavy_overlap: What it would be for two samples of one distribution: the
        less, the more ids are about equally frequent.
      num_heavy: How many ids of each these are.
      changes: Of ids that are frequent in either, by falling deviations.
      bins: Counts of the bins in both streams [2, bins]: the most frequent ids of the
        reference, one each, then all others in groups by their hash.
      num_frequent: How many of the bins are single ids; 0 where none is frequent for
        certain, as in a long list of ids without repetition.
    """

    num_reference: int
    num_live: int
    psi: float
    expected_psi: float
    jensen_shannon: float
    expected_jensen_shannon: float
    unseen_share: float
    unseen_error: float
    expected_unseen: float
    heavy_overlap: float
    expected_heavy_overlap: float
    num_heavy: int
    changes: tuple[FrequencyChange, ...]
    bins: np.ndarray = field(repr=False)
    num_frequent: int

    @property
    def excess_psi(self) -> float:
        """The index beyond what sampling makes of it."""
        return max(self.psi - self.expected_psi, 0.0)

    @property
    def excess_jensen_shannon(self) -> float:
        """The distance beyond what sampling makes of it, in squares."""
        squares = self.jensen_shannon**2 - self.expected_jensen_shannon**2
        return math.sqrt(max(squares, 0.0))

    @property
    def excess_unseen(self) -> float:
        """The share of unseen ids beyond what a sample of no drift would have."""
        return max(self.unseen_share - self.expected_unseen, 0.0)

    @property
    def corrected_overlap(self) -> float:
        """The overlap with what sampling takes from it put back, at most 1."""
        return min(self.heavy_overlap + 1 - self.expected_heavy_overlap, 1.0)

    def rows(self) -> list[list[str]]:
        """Returns the figures: name, value, and what no drift would give."""
        error = f" ± {self.unseen_error:.2%}" if self.unseen_error else ""
        return [
            [
                "population stability index",
                f"{self.psi:.4f}",
                f"{self.expected_psi:.4f}",
            ],
            [
                "Jensen-Shannon distance",
                f"{self.jensen_shannon:.4f}",
                f"{self.expected_jensen_shannon:.4f}",
            ],
            [
                "share of unseen ids",
                _text.measured(self.unseen_share, ".2%") + error,
                f"{self.expected_unseen:.2%}",
            ],
            [
                f"{self.num_heavy} most frequent ids still so",
                _text.measured(self.heavy_overlap, ".0%"),
                _text.measured(self.expected_heavy_overlap, ".0%"),
            ],
        ]

    def change_rows(self) -> list[list[str]]:
        """Returns the ids whose share changed most."""
        return [
            [
                _text.name(one.id),
                f"{one.reference_share:.3%}",
                f"{one.live_share:.3%}",
                f"{one.deviations:+.1f}",
            ]
            for one in self.changes[:_NUM_LISTED]
        ]

    def __str__(self) -> str:
        head = f"{self.num_live:,} live ids against {self.num_reference:,}"
        changes = _text.table(CHANGE_HEADER, self.change_rows())
        return "\n".join([head, _text.table(HEADER, self.rows()), "", changes])

    def _draw(self, title: str | None) -> Any:
        """Draws the shares of the bins, one against the other."""
        title = title or "Live ids against the reference"
        figure = _plots.new_figure(6, 4.5)
        axes = figure.subplots()
        reference, live = self.bins / self.bins.sum(axis=1, keepdims=True) * 100
        split = self.num_frequent
        unseen = _text.measured(self.unseen_share, ".1%")
        axes.loglog(reference[:split], live[:split], ".", label="a frequent id")
        axes.loglog(
            reference[split:],
            live[split:],
            "x",
            markersize=4,
            label="a group of others",
        )
        shown = np.concatenate([reference, live])
        ends = [shown[shown > 0].min(), shown.max()]
        axes.loglog(ends, ends, color="grey", linewidth=0.8, label="no change")
        axes.set(
            xlabel="% of the reference",
            ylabel="% of the live sample",
            title=f"{title}\nPSI {self.psi:.3f}, unseen {unseen}",
        )
        axes.legend()
        return figure


HEADER = ("ids", "live", "without drift")
CHANGE_HEADER = ("changed most", "reference", "live", "deviations")


def compare_ids(
    reference: Any, live: Any, *, num_frequent: int = 100, num_groups: int = 32
) -> IdDrift:
    """Compares a live stream of ids with that of a reference, such as the training.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> drift = compare_ids(rng.zipf(1.5, 5000) % 999, rng.zipf(1.5, 5000) % 999)
    >>> drift.excess_psi < 0.1
    True
    >>> drift = compare_ids(["a", "b"] * 50, ["a", "c"] * 50)
    >>> drift.unseen_share
    0.5

    Args:
      reference: An `IdSketch`, such as `IdSketch.load` reads, or ids as `describe_ids`
        takes them.
      live: The same; a sketch of the same arguments.
      num_frequent: How many of the reference's most frequent ids are a bin each, at
        most: as many as are so for certain.
      num_groups: Into how many bins all others are put by their hash.

    Returns:
      An `IdDrift`.

    Raises:
      ValueError: If there are no ids, one stream has strings and the other integers,
        the sketches have other arguments, the sample of the reference holds none, or
        a number is not positive.
    """
    _arguments.check_positive_integer("num_frequent", num_frequent)
    _arguments.check_positive_integer("num_groups", num_groups)
    reference, live = _sketch("reference", reference), _sketch("live", live)
    if (reference.counts.width, reference.sample.seed) != (
        live.counts.width,
        live.sample.seed,
    ):
        raise ValueError(
            "`live` must be a sketch of the same width and seed as `reference`: "
            f"{(reference.counts.width, reference.sample.seed)}. Received: "
            f"{(live.counts.width, live.sample.seed)}."
        )
    if reference.kind and live.kind and reference.kind != live.kind:
        # Every live id would be unseen.
        raise ValueError(
            f"`live` must be {reference.kind}, as `reference`. Received {live.kind}."
        )
    frequent = _frequent_ids.most_frequent(reference, num_frequent)
    bins = np.stack([_bins(s, frequent, num_groups) for s in (reference, live)])
    # A bin that neither has says nothing.
    kept = bins.max(axis=0) > 0
    bins = bins[:, kept]
    sizes = (bins.shape[1], reference.num_occurrences, live.num_occurrences)
    expected = divergences.expected_jensen_shannon(*sizes)
    unseen_share, unseen_error = _unseen(reference, live)
    singletons = np.count_nonzero(reference.sample.counts == 1)
    known = describe_ids(reference)
    num_heavy, overlap, expected_overlap = _overlap(known, frequent, live)
    return IdDrift(
        num_reference=reference.num_occurrences,
        num_live=live.num_occurrences,
        psi=divergences.population_stability_index(*bins),
        expected_psi=divergences.expected_psi(*sizes),
        jensen_shannon=divergences.jensen_shannon_distance(*bins),
        expected_jensen_shannon=math.sqrt(expected),
        unseen_share=unseen_share,
        unseen_error=unseen_error,
        expected_unseen=singletons / int(reference.sample.counts.sum()),
        heavy_overlap=overlap,
        expected_heavy_overlap=expected_overlap,
        num_heavy=num_heavy,
        changes=_changes(reference, live, num_frequent),
        bins=bins,
        num_frequent=len(frequent),
    )


def _sketch(name: str, ids: Any) -> IdSketch:
    sketch = ids if isinstance(ids, IdSketch) else sketch_ids(ids)
    if not sketch.num_occurrences:
        raise ValueError(f"`{name}` must have at least one id. Received none.")
    return sketch


def _bins(sketch: IdSketch, frequent: np.ndarray, num_groups: int) -> np.ndarray:
    """Returns the counts of frequent ids, and of the others in groups."""
    counts = _frequent_ids.occurrences(sketch, frequent)
    # The counters of a row are all occurrences, by hash.
    counters = sketch.counts.counters[0]
    groups = np.arange(len(counters)) * num_groups // len(counters)
    of_groups = np.bincount(groups, weights=counters, minlength=num_groups)
    of_frequent = groups[sketch.counts.places(frequent)[0]]
    of_groups -= np.bincount(of_frequent, weights=counts, minlength=num_groups)
    # Estimates of frequent ids may be a little too large.
    return np.concatenate([counts, np.maximum(of_groups, 0)])


def _overlap(
    reference: Distribution, frequent: np.ndarray, live: IdSketch
) -> tuple[int, float, float]:
    """Returns of how many most frequent ids which share stays so, and by chance."""
    others = _frequent_ids.most_frequent(live, len(frequent))
    size = len(others)
    if not size:
        return 0, math.nan, math.nan
    expected = _frequent_ids.expected_overlap(
        reference.count_values,
        reference.count_weights,
        live.num_occurrences / reference.num_occurrences,
        size,
    )
    return size, len(np.intersect1d(frequent[:size], others)) / size, expected


def _unseen(reference: IdSketch, live: IdSketch) -> tuple[float, float]:
    """Returns the share of live occurrences of ids that the reference lacks."""
    level = max(reference.sample.level, live.sample.level)
    held = live.sample.holds(live.sample.keys, level)
    keys, counts = live.sample.keys[held], live.sample.counts[held]
    total = counts.sum()
    if not total:
        return math.nan, math.nan
    is_unseen: np.ndarray = np.isin(keys, reference.sample.keys, invert=True)
    share = float(counts[is_unseen].sum() / total)
    # Ids are the units of the sample, and their counts differ.
    spread = float(np.sum((counts * (is_unseen - share)) ** 2))
    return share, math.sqrt(spread * (1 - 2.0**-level)) / float(total)


def _changes(
    reference: IdSketch, live: IdSketch, num_frequent: int
) -> tuple[FrequencyChange, ...]:
    names = {
        key: name
        for sketch in (live, reference)
        for key, name in zip(
            sketch.heavy.keys[:num_frequent].tolist(), sketch.heavy.ids(), strict=False
        )
    }
    keys = np.array(list(names), np.int64)
    n, m = reference.num_occurrences, live.num_occurrences
    p = _frequent_ids.occurrences(reference, keys) / n
    q = _frequent_ids.occurrences(live, keys) / m
    common = (p * n + q * m) / (n + m)
    deviation = np.sqrt(common * (1 - common) * (1 / n + 1 / m))
    z = np.divide(q - p, deviation, out=np.zeros(len(keys)), where=deviation > 0)
    order = np.argsort(-np.abs(z), kind="stable")
    return tuple(
        FrequencyChange(names[int(keys[i])], float(p[i]), float(q[i]), float(z[i]))
        for i in order
    )
