"""`describe_ids`: how the ids of a stream are distributed."""

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _plots, _text
from tfrs_dhe.analysis.id_sketch import IdSketch, sketch_ids
from tfrs_dhe.analysis.zipf import ZipfFit, fit_zipf

#: A heavy hitter is an id with at least this share of the occurrences.
HEAVY_SHARE = 1e-3
#: A heavy hitter's own count is taken where it is known to within this part of it.
_MAX_RELATIVE_ERROR = 0.1
_HEAD_SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
_NUM_LISTED = 5


@dataclass(frozen=True)
class FrequentId:
    """An id that occurs often.

    Attributes:
      id: As it came: bytes or an integer.
      least: How often it occurred at least.
      most: How often it occurred at most.
    """

    id: Any
    least: int
    most: int


@dataclass(frozen=True, eq=False)
class Distribution(_plots.Plotted):
    """How often ids occur; `describe_ids` makes it, `print` shows it.

    `plot` draws counts by rank, coverage and growth.

    Attributes:
      num_occurrences: n.
      num_ids: K, the number of distinct ids; an estimate unless `is_exact`.
      num_ids_error: Standard error of K, 0 where it is exact.
      frequent_ids: The most frequent ids.
      count_values: Counts that ids have, falling [v].
      count_weights: How many ids have each of these counts [v].
      spectrum_counts: The counts j that ids of the sample have, rising [u].
      spectrum_weights: f_j of each of these: how many ids occur j times [u].
      sampling_weight: How many ids stand behind each that was sampled; 1 where all is
        exact.
      growth: Pairs of occurrences seen and ids among them.
    """

    num_occurrences: int
    num_ids: float
    num_ids_error: float
    frequent_ids: tuple[FrequentId, ...]
    count_values: np.ndarray = field(repr=False)
    count_weights: np.ndarray = field(repr=False)
    spectrum_counts: np.ndarray = field(repr=False)
    spectrum_weights: np.ndarray = field(repr=False)
    sampling_weight: int
    growth: tuple[tuple[int, float], ...] = field(repr=False)

    @property
    def is_exact(self) -> bool:
        """Whether all ids were held, so that no figure is an estimate."""
        return self.sampling_weight == 1

    @property
    def spectrum(self) -> np.ndarray:
        """f_j for j = 1, 2, ..., [J]: how many ids occur j times.

        J is the count of the most frequent id of the sample, in a long stream a number
        of millions; `spectrum_counts` and `spectrum_weights` say the same in short.
        """
        spectrum: np.ndarray = np.bincount(self.spectrum_counts, self.spectrum_weights)
        return spectrum[1:]

    @property
    def num_singletons(self) -> float:
        """f_1, how many ids occur once."""
        return float(self.spectrum_weights[self.spectrum_counts == 1].sum())

    @property
    def singleton_share(self) -> float:
        """Share of the ids that occur once."""
        return self.num_singletons / self.num_ids

    @property
    def new_id_probability(self) -> float:
        """f_1 / n: that the next occurrence is of an id not seen yet (Good-Turing)."""
        return self.num_singletons / self.num_occurrences

    @functools.cached_property
    def zipf(self) -> ZipfFit:
        """The law that the ids with at least 10 occurrences follow."""
        enough = self.count_values >= 10
        weights = np.rint(self.count_weights[enough]).astype(np.int64)
        return fit_zipf(np.repeat(self.count_values[enough], weights))

    def counts(self) -> np.ndarray:
        """Returns how often ids occur, falling: float64 [K], K rounded."""
        return np.repeat(
            self.count_values, np.rint(self.count_weights).astype(np.int64)
        )

    def head_coverage(self, num_ids: int) -> float:
        """Returns the share of the occurrences that the most frequent ids have.

        Args:
          num_ids: How many ids.

        Returns:
          A share; 1 where there are no more ids.

        Raises:
          ValueError: If `num_ids` is not positive.
        """
        if num_ids < 1:
            raise ValueError(f"`num_ids` must be positive. Received: {num_ids!r}.")
        before = np.concatenate([[0], np.cumsum(self.count_weights)[:-1]])
        taken = np.clip(num_ids - before, 0, self.count_weights)
        return float(taken @ self.count_values / self.num_occurrences)

    def ids_for_coverage(self, share: float) -> int:
        """Returns how many of the most frequent ids have a share of the occurrences.

        Args:
          share: In (0, 1].

        Returns:
          The smallest number of ids.

        Raises:
          ValueError: If `share` is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"`share` must be in (0, 1]. Received: {share!r}.")
        mass = self.count_values * self.count_weights
        reached = np.cumsum(mass)
        # Rounding must not ask for one id more than there are.
        wanted = min(share * self.num_occurrences, reached[-1])
        at = int(np.searchsorted(reached, wanted * (1 - 1e-12)))
        missing = wanted - (reached[at] - mass[at])
        before = self.count_weights[:at].sum()
        return math.ceil(round(before + missing / self.count_values[at], 6))

    def num_heavy_hitters(self, share: float = HEAVY_SHARE) -> int:
        """Returns how many ids have at least a share of the occurrences."""
        heavy = self.count_values >= share * self.num_occurrences
        return round(float(self.count_weights[heavy].sum()))

    def expected_new_ids(self, factor: float) -> tuple[float, float]:
        """Returns how many new ids further occurrences will bring.

        The estimator of Good and Toulmin, `- sum_j (-t)^j f_j` for t n further
        occurrences, and its standard error `sqrt(sum_j t^(2 j) f_j)`. It assumes that
        the future is drawn from what the past was drawn from; where items come out
        anew, more follow, and `retraining_age` measures that.

        Args:
          factor: t in (0, 1]. Beyond as many occurrences as were seen, the series
            diverges.

        Returns:
          The number and its standard error.

        Raises:
          ValueError: If `factor` is not in (0, 1].

        References:
          Good and Toulmin, "The Number of New Species, and the Increase in Population
          Coverage, when a Sample is Increased", Biometrika 43, 1956.
        """
        if not 0 < factor <= 1:
            raise ValueError(
                "`factor` must be in (0, 1]: further occurrences as a multiple of "
                f"those seen. Received: {factor!r}."
            )
        j, weights = self.spectrum_counts, self.spectrum_weights
        expected = -float(np.sum((-float(factor)) ** j * weights))
        variance = float(np.sum(factor ** (2.0 * j) * weights))
        # A sampled id stands for `sampling_weight` that vary together.
        return expected, math.sqrt(variance * self.sampling_weight)

    def figures(self) -> list[tuple[str, str]]:
        """Returns what the report says, as names and values."""
        about = "" if self.is_exact else f" ± {self.num_ids_error:,.0f}"
        rows = [
            ("occurrences", f"{self.num_occurrences:,}"),
            ("distinct ids", f"{self.num_ids:,.0f}{about}"),
            ("skew", str(self.zipf)),
            (
                "ids with 0.1% of the occurrences or more",
                f"{self.num_heavy_hitters():,}",
            ),
            ("ids that occur once", f"{self.singleton_share:.1%}"),
            ("the next occurrence is of a new id", f"{self.new_id_probability:.2%}"),
        ]
        rows += [
            (f"coverage of the {size:,} most frequent", f"{share:.1%}")
            for size, share in self._head()
        ]
        for factor, words in ((0.1, "10% more"), (1.0, "twice the")):
            expected, error = self.expected_new_ids(factor)
            number = f"{max(round(expected), 0):,} ± {error:,.0f}"
            if not self._tells_growth(expected, error):
                number = "no estimate: rare ids were left out"
            rows.append((f"new ids with {words} occurrences", number))
        return rows

    def _tells_growth(self, expected: Any, error: Any) -> Any:
        """Returns whether numbers of new ids by `expected_new_ids` are estimates.

        Not so where rare ids were left out: no id occurs once, or the series falls
        below zero, by more than two errors and half an id.
        """
        return (self.num_singletons > 0) & (expected >= -np.maximum(2 * error, 0.5))

    def _head(self) -> list[tuple[int, float]]:
        return [(n, self.head_coverage(n)) for n in _HEAD_SIZES if n < self.num_ids]

    def __str__(self) -> str:
        rows = self.figures()
        width = max(len(name) for name, _ in rows)
        lines = [f"{name.ljust(width)}  {value}" for name, value in rows]
        lines.append("most frequent:")
        for found in self.frequent_ids[:_NUM_LISTED]:
            count = (
                f"{found.least:,}"
                if found.least == found.most
                else f"{found.least:,} to {found.most:,}"
            )
            lines.append(f"  {_text.name(found.id)}: {count}")
        return "\n".join(lines)

    def _draw(self, title: str | None) -> Any:
        """Draws counts by rank, coverage, and the growth of ids."""
        title = title or "Distribution of ids"
        figure = _plots.new_figure(12, 3.8)
        figure.suptitle(title)
        by_rank, coverage, growth = figure.subplots(1, 3)
        ranks = np.cumsum(self.count_weights)
        first = np.concatenate([[1], ranks[:-1] + 1])
        # Ids of one count are a step: its two ends.
        steps = np.stack([first, ranks], axis=1).ravel()
        by_rank.loglog(steps, np.repeat(self.count_values, 2), label="observed")
        zipf = self.zipf
        if not math.isnan(zipf.exponent):
            k = np.arange(1, zipf.num_ranks + 1, dtype=np.float64)
            shares = k**-zipf.exponent / np.sum(k**-zipf.exponent)
            covered = self.head_coverage(zipf.num_ranks) * self.num_occurrences
            by_rank.loglog(
                k, shares * covered, "--", label=f"Zipf, exponent {zipf.exponent:.2f}"
            )
        by_rank.set(xlabel="rank of the id", ylabel="occurrences", title="Skew")
        by_rank.legend()
        reached = np.cumsum(self.count_weights * self.count_values)
        coverage.semilogx(ranks, reached / reached[-1] * 100, label="observed")
        coverage.axhline(90, color="grey", linestyle=":", label="90 %")
        coverage.set(
            xlabel="most frequent ids", ylabel="% of occurrences", title="Head coverage"
        )
        coverage.legend()
        seen = np.array([(0, 0.0), *self.growth])
        growth.plot(*seen.T, marker=".", label="seen")
        factors = np.linspace(0.02, 1, 50)
        expected = np.array([self.expected_new_ids(t) for t in factors])
        # What comes after a failure of the series is none either.
        held = np.logical_and.accumulate(self._tells_growth(*expected.T))
        factors, expected = factors[held], expected[held]
        if held.any():
            later = self.num_occurrences * (1 + factors)
            middle = self.num_ids + expected[:, 0]
            growth.plot(later, middle, "--", label="expected (Good-Toulmin)")
            growth.fill_between(
                later,
                middle - 2 * expected[:, 1],
                middle + 2 * expected[:, 1],
                alpha=0.3,
                label="± 2 standard errors",
            )
        growth.set(
            xlabel="occurrences",
            ylabel="distinct ids",
            title="Growth" if held.any() else "Growth; no id occurs once: no estimate",
        )
        _plots.abbreviate(growth.xaxis, growth.yaxis)
        growth.legend()
        return figure


def describe_ids(ids: Any, **arguments: Any) -> Distribution:
    """Says how the ids or classes of a stream are distributed.

    The stream is read once, and no more than some ten thousand ids of it are held. As
    long as all fit (`capacity`), the figures are exact; beyond, they are estimates from
    a uniform sample of the ids, and from bounds on the counts of the most frequent.

    Example:
    >>> ids = tf.data.Dataset.from_tensor_slices(["a"] * 12 + ["b"] * 6 + ["c", "d"])
    >>> distribution = describe_ids(ids.batch(8))
    >>> distribution.num_ids, distribution.singleton_share
    (4.0, 0.5)
    >>> distribution.head_coverage(1)
    0.6

    Args:
      ids: A `tf.data.Dataset` of ids or batches of them of any shape, dense or ragged;
        a tensor, array or list of ids; or an `IdSketch`.
      **arguments: Those of `IdSketch`, if `ids` is none.

    Returns:
      A `Distribution`.

    Raises:
      ValueError: If there is no id, ids are neither strings nor integers, arguments
        do not fit, or the capacity is so small that no id was held.

    References:
      The open question of Medini et al., NeurIPS 2019, for which distributions of
      classes MACH is fit.
    """
    if isinstance(ids, IdSketch):
        if arguments or not ids.num_occurrences:
            raise ValueError(
                "`ids` as an IdSketch must have seen an id, and takes no arguments "
                f"beside. Received: {ids.num_occurrences} occurrences and {arguments}."
            )
        sketch = ids
    else:
        sketch = sketch_ids(ids, **arguments)
    if not len(sketch.sample.keys):
        raise ValueError(
            "`capacity` must be large enough for a sample of the ids. Received: "
            f"{sketch.sample.capacity}, and of {sketch.num_occurrences:,} occurrences "
            "none was held; the default is 65,536."
        )
    weight = 2**sketch.sample.level
    frequent = _frequent_ids(sketch)
    values, weights = _counts(sketch, frequent)
    # Not one number for each count up to the largest, of which there may be billions.
    spectrum_counts, held = np.unique(sketch.sample.counts, return_counts=True)
    return Distribution(
        num_occurrences=sketch.num_occurrences,
        num_ids=sketch.sample.num_ids,
        num_ids_error=sketch.sample.num_ids_error,
        frequent_ids=frequent,
        count_values=values,
        count_weights=weights,
        spectrum_counts=spectrum_counts,
        spectrum_weights=held.astype(np.float64) * weight,
        sampling_weight=weight,
        growth=tuple(sketch.growth),
    )


def _frequent_ids(sketch: IdSketch) -> tuple[FrequentId, ...]:
    heavy = sketch.heavy
    most = np.minimum(heavy.counts + heavy.error, sketch.counts.estimate(heavy.keys))
    if not sketch.sample.level:
        # Every id was counted exactly.
        at = np.searchsorted(sketch.sample.keys, heavy.keys)
        exact = sketch.sample.counts[at]
        bounds = zip(heavy.ids(), exact.tolist(), exact.tolist(), strict=True)
    else:
        bounds = zip(heavy.ids(), heavy.counts.tolist(), most.tolist(), strict=True)
    found = [FrequentId(*bound) for bound in bounds]
    return tuple(sorted(found, key=lambda one: (-one.most, -one.least)))


def _counts(
    sketch: IdSketch, frequent: tuple[FrequentId, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the counts of ids, falling, and how many ids have each."""
    sample = sketch.sample
    if not sample.level:
        values, weights = np.unique(sample.counts, return_counts=True)
        return values[::-1].astype(np.float64), weights[::-1].astype(np.float64)
    # The most frequent by their upper bounds, which are exact for ids that were held
    # from the start; the others as the sample has them.
    heads = np.array(
        [
            float(one.most)
            for one in frequent
            if one.most - one.least <= _MAX_RELATIVE_ERROR * one.least
        ]
    )
    least = heads.min() if len(heads) else math.inf
    tail = sample.counts[sample.counts < least]
    tail_values, tail_weights = np.unique(tail, return_counts=True)
    head_values, head_weights = np.unique(heads, return_counts=True)
    remaining = sketch.num_occurrences - heads.sum()
    mass = float(tail_values @ tail_weights)
    # So that shares of occurrences add up to one.
    scale = remaining / mass if mass else 0.0
    values = np.concatenate([tail_values.astype(np.float64), head_values])[::-1]
    weights = np.concatenate([tail_weights * scale, head_weights.astype(float)])[::-1]
    return values, weights
