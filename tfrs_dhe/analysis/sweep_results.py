"""`Sweep`: quality against memory, and the point to take."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _plots, _text

#: Of the best quality: what a smaller model may lose.
TOLERANCE = 0.02


@dataclass(frozen=True)
class SweepPoint:
    """A point of a sweep.

    Attributes:
      settings: By name.
      quality: Of the model.
      num_bytes: Of the model.
      figures: All that its evaluation returned, and its seconds.
    """

    settings: dict[str, Any]
    quality: float
    num_bytes: float
    figures: dict[str, float]


@dataclass(frozen=True)
class SweepMean:
    """Points that differ by their seed alone.

    Attributes:
      settings: By name, without the seed.
      quality: Mean.
      error: Standard error of the mean, nan for a single seed.
      num_bytes: Mean.
      num_seeds: How many points.
    """

    settings: dict[str, Any]
    quality: float
    error: float
    num_bytes: float
    num_seeds: int

    def __str__(self) -> str:
        words = ", ".join(f"{name} = {value}" for name, value in self.settings.items())
        error = "" if math.isnan(self.error) else f" ± {self.error:.4f}"
        return f"{words}: quality {self.quality:.4f}{error}, {_size(self.num_bytes)}"


@dataclass(frozen=True)
class Effect:
    """How much a setting matters.

    Attributes:
      setting: Its name.
      values: What it was set to, as it came.
      qualities: Mean quality at each value, over the other settings that all have.
      spread: Best less worst quality among its values with the others fixed, the mean
        over these.
    """

    setting: str
    values: tuple[Any, ...]
    qualities: tuple[float, ...]
    spread: float


@dataclass(frozen=True)
class Sweep:
    """What `sweep` returns; `print` shows it.

    Example:
    >>> points = [
    ...     SweepPoint({"num_buckets": b}, quality, 4 * b, {})
    ...     for b, quality in [(100, 0.5), (1000, 0.6), (10_000, 0.605)]
    ... ]
    >>> print(Sweep(tuple(points)).recommended())
    num_buckets = 1000: quality 0.6000, 4 kB

    Attributes:
      points: All of them.
      higher_is_better: Whether more quality is better.
    """

    points: tuple[SweepPoint, ...]
    higher_is_better: bool = True

    @property
    def means(self) -> tuple[SweepMean, ...]:
        """Points that differ by `seed` alone as one, by rising memory."""
        groups: dict[tuple[tuple[str, str], ...], list[SweepPoint]] = {}
        for point in self.points:
            key = tuple(
                (name, repr(value))
                for name, value in sorted(point.settings.items())
                if name != "seed"
            )
            groups.setdefault(key, []).append(point)
        means = [_mean(group) for group in groups.values()]
        return tuple(sorted(means, key=lambda one: one.num_bytes))

    @property
    def front(self) -> tuple[SweepMean, ...]:
        """Those that none of at most their memory is as good as, by rising memory.

        What has no finite quality, as a training that diverged, or no finite memory is
        left out.
        """
        chosen: list[SweepMean] = []
        sign = -1 if self.higher_is_better else 1
        # Of equal memory, the best comes first, and is the only one.
        measured = [
            one
            for one in self.means
            if math.isfinite(one.quality) and math.isfinite(one.num_bytes)
        ]
        for one in sorted(measured, key=lambda m: (m.num_bytes, sign * m.quality)):
            if not chosen or self._gain(one, chosen[-1]) > 0:
                chosen.append(one)
        return tuple(chosen)

    @property
    def best(self) -> SweepMean:
        """The one of the best quality; a ValueError if none has finite figures."""
        front = self.front
        if not front:
            raise ValueError(
                "`points` must have at least one with a finite quality and memory. "
                f"Received qualities {[one.quality for one in self.points]} and bytes "
                f"{[one.num_bytes for one in self.points]}; see why they diverged."
            )
        return front[-1]

    def recommended(self, tolerance: float = TOLERANCE) -> SweepMean:
        """Returns the smallest one that is about as good as the best.

        About as good is within a part of the best quality, or within one standard error
        of it where seeds tell, whichever is more.

        Args:
          tolerance: The part, from 0.

        Returns:
          One of the front.

        Raises:
          ValueError: If no point has a finite quality.

        References:
          The rule of one standard error: Breiman et al., "Classification and Regression
          Trees", 1984, section 3.4.3.
        """
        best = self.best
        slack = abs(best.quality) * tolerance
        if not math.isnan(best.error):
            slack = max(slack, best.error)
        return next(one for one in self.front if self._gain(best, one) <= slack)

    @property
    def effects(self) -> tuple[Effect, ...]:
        """How much each setting matters, by falling spread.

        What has no finite quality is left out.
        """
        means = [one for one in self.means if math.isfinite(one.quality)]
        effects = []
        for setting in means[0].settings if means else ():
            # By their text: lists have no hash, and True is no other key than 1.
            values = {
                repr(one.settings[setting]): one.settings[setting] for one in means
            }
            groups: dict[str, dict[str, float]] = {}
            for one in means:
                others = {k: v for k, v in one.settings.items() if k != setting}
                group = groups.setdefault(repr(others), {})
                group[repr(one.settings[setting])] = one.quality
            # Means compare values only where all of them have the same others.
            full = [group for group in groups.values() if len(group) == len(values)]
            if len(values) < 2 or not full:
                continue
            table = np.array([[group[value] for value in values] for group in full])
            spread = float((table.max(axis=1) - table.min(axis=1)).mean())
            effects.append(
                Effect(
                    setting, tuple(values.values()), tuple(table.mean(axis=0)), spread
                )
            )
        return tuple(sorted(effects, key=lambda effect: -effect.spread))

    def __str__(self) -> str:
        means = self.means
        front = [one.settings for one in self.front]
        names = list(means[0].settings)
        rows = [
            [
                *(str(one.settings[name]) for name in names),
                f"{one.quality:.4f}",
                "" if math.isnan(one.error) else f"{one.error:.4f}",
                _size(one.num_bytes),
                "*" if one.settings in front else "",
            ]
            for one in means
        ]
        head = [*names, "quality", "±", "memory", "front"]
        lines = [_text.table(head, rows)]
        for figure, found in (
            ("quality", [one.quality for one in means]),
            ("memory", [one.num_bytes for one in means]),
        ):
            num_missing = sum(not math.isfinite(value) for value in found)
            if num_missing:
                lines.append(f"Left out, without a finite {figure}: {num_missing}")
        if front:
            lines.append(f"Recommended: {self.recommended()}")
        for effect in self.effects:
            values = ", ".join(
                f"{value}: {quality:.4f}"
                for value, quality in zip(effect.values, effect.qualities, strict=True)
            )
            lines.append(
                f"{effect.setting} changes quality by {effect.spread:.4f} ({values})"
            )
        return "\n".join(lines)

    def plot(
        self,
        path: str | Path,
        title: str = "Quality against memory",
        quality: str = "quality",
        by: str | None = None,
    ) -> Any:
        """Draws quality against memory, with the front and the point to take.

        Args:
          path: Where to, without an ending; PNG and SVG.
          title: Above the picture.
          quality: Words for the quality, with its unit.
          by: The setting that colours points; by default that of the largest effect.

        Returns:
          The two paths.

        Raises:
          ImportError: If matplotlib is not installed.
          ValueError: If `by` is no setting, or no point has a finite quality.
        """
        means = self.means
        if by is None:
            # With no setting but the seed, there is one point.
            by = (
                self.effects[0].setting
                if self.effects
                else next(iter(means[0].settings), None)
            )
        if by is not None and by not in means[0].settings:
            raise ValueError(
                f"`by` must be one of the settings {list(means[0].settings)}. "
                f"Received: {by!r}."
            )
        figure = _plots.new_figure(7, 4.5)
        axes = figure.subplots()
        groups: dict[str, list[SweepMean]] = {}
        for one in means:
            groups.setdefault("" if by is None else repr(one.settings[by]), []).append(
                one
            )
        for chosen in sorted(groups.values(), key=lambda group: _order(group[0], by)):
            axes.errorbar(
                [one.num_bytes / 1e6 for one in chosen],
                [one.quality for one in chosen],
                yerr=[0 if math.isnan(one.error) else one.error for one in chosen],
                fmt="o",
                capsize=3,
                label="a point" if by is None else f"{by} = {chosen[0].settings[by]}",
            )
        front = self.front
        axes.step(
            [one.num_bytes / 1e6 for one in front],
            [one.quality for one in front],
            where="post",
            color="grey",
            linewidth=0.8,
            label="best for its memory",
        )
        taken = self.recommended()
        axes.plot(
            taken.num_bytes / 1e6,
            taken.quality,
            "*",
            markersize=16,
            markerfacecolor="none",
            markeredgecolor="black",
            label="recommended",
        )
        axes.set(
            xlabel="memory of the model, MB", ylabel=quality, title=title, xscale="log"
        )
        axes.legend(fontsize="small")
        return _plots.save(figure, path)

    def _gain(self, one: SweepMean, other: SweepMean) -> float:
        gain = one.quality - other.quality
        return gain if self.higher_is_better else -gain


def _mean(points: list[SweepPoint]) -> SweepMean:
    qualities = np.array([point.quality for point in points])
    error = math.nan
    if len(points) > 1:
        error = float(qualities.std(ddof=1) / math.sqrt(len(points)))
    settings = {k: v for k, v in points[0].settings.items() if k != "seed"}
    num_bytes = float(np.mean([point.num_bytes for point in points]))
    return SweepMean(settings, float(qualities.mean()), error, num_bytes, len(points))


def _size(num_bytes: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        # What would be rounded to 1000 of the smaller unit is 1 of this.
        if num_bytes >= 0.9995 * size:
            return f"{_text.number(num_bytes / size)} {unit}"
    return f"{num_bytes:.0f} B"


def _order(one: SweepMean, by: str | None) -> tuple[int, Any]:
    """Numbers before words."""
    value = "" if by is None else one.settings[by]
    return (0, value) if isinstance(value, int | float) else (1, str(value))
