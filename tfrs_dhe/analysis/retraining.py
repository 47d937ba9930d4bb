"""`retraining_age`: how old a model may become before too many ids are new."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _plots, _text
from tfrs_dhe.analysis.id_sketch import IdSketch, sketch_ids


@dataclass(frozen=True)
class RetrainingAge(_plots.Plotted):
    """What `retraining_age` returns; `print` shows it.

    `plot` draws the share of unseen ids by age.

    Attributes:
      ages: 1, 2, ... windows after the end of the training [a].
      unseen: Share of the occurrences whose id was not in the training, at each age:
        the mean over the ends of training that history allows.
      spread: Standard deviation over these; nan where there is one.
      max_unseen_share: What is asked for.
      quality: Expected quality at each age, None where qualities were not given.
      retrain_after: The last age at which the share is not above what is asked for; 0
        if it is at every age, None if no age of the history reaches it.
    """

    ages: tuple[int, ...]
    unseen: tuple[float, ...]
    spread: tuple[float, ...]
    max_unseen_share: float
    quality: tuple[float, ...] | None
    retrain_after: int | None

    def __str__(self) -> str:
        head = ["windows after training", "unseen ids", "±"]
        if self.quality is not None:
            head.append("expected quality")
        rows = []
        for i, age in enumerate(self.ages):
            spread = self.spread[i]
            row = [str(age), f"{self.unseen[i]:.2%}"]
            row.append("" if math.isnan(spread) else f"{spread:.2%}")
            if self.quality is not None:
                row.append(f"{self.quality[i]:.4f}")
            rows.append(row)
        if self.retrain_after is None:
            verdict = (
                f"Within {self.ages[-1]} windows no more than "
                f"{self.max_unseen_share:.1%} are unseen."
            )
        elif self.retrain_after == 0:
            verdict = (
                f"More than {self.max_unseen_share:.1%} are unseen in the first window "
                "already: retrain more often than once a window."
            )
        else:
            verdict = (
                f"Retrain after {self.retrain_after} windows: then more than "
                f"{self.max_unseen_share:.1%} of the traffic is of unseen ids."
            )
        return f"{_text.table(head, rows)}\n{verdict}"

    def _draw(self, title: str | None) -> Any:
        """Draws the share of unseen ids by age."""
        title = title or "Unseen ids by the age of the model"
        figure = _plots.new_figure()
        axes = figure.subplots()
        axes.errorbar(
            self.ages,
            np.array(self.unseen) * 100,
            yerr=np.nan_to_num(self.spread) * 100,
            marker="o",
            capsize=3,
            label="measured, ± 1 standard deviation",
        )
        axes.axhline(
            self.max_unseen_share * 100, color="grey", linestyle=":", label="allowed"
        )
        axes.set(
            xlabel="windows after the end of training",
            ylabel="% of occurrences of unseen ids",
            title=title,
        )
        axes.set_ylim(bottom=0)
        axes.legend()
        return figure


def retraining_age(
    windows: Iterable[Any],
    *,
    max_unseen_share: float = 0.05,
    min_training_windows: int | None = None,
    quality: tuple[float, float] | None = None,
) -> RetrainingAge:
    """Measures on history how fast the ids of the traffic become new to a model.

    For every end of training t that history allows, the model knows the ids of windows
    1 to t, and its age in window t + a is a. With the quality for known and for new ids
    (`rank_new_classes`), the expected quality at an age is their mean by share.

    Example:
    >>> windows = [["a", "b"], ["a", "c"], ["c", "d"], ["d", "a"]]
    >>> age = retraining_age(windows, max_unseen_share=0.5, min_training_windows=2)
    >>> age.unseen
    (0.25, 0.5)
    >>> age.retrain_after is None
    True

    Args:
      windows: Ids of each window in order of time, such as days: `IdSketch`es of the
        same arguments, or ids as `describe_ids` takes them.
      max_unseen_share: How much of the traffic may be of unseen ids, in [0, 1].
      min_training_windows: The first t; by default half of the windows.
      quality: Of the model for known and for new ids, such as two recalls.

    Returns:
      A `RetrainingAge`.

    Raises:
      ValueError: If there are too few windows, ids are of both types, the samples hold
        no id of one, or an argument is out of range.
    """
    if not 0 <= max_unseen_share <= 1:
        raise ValueError(
            f"`max_unseen_share` must be in [0, 1]. Received: {max_unseen_share!r}."
        )
    sketches = [w if isinstance(w, IdSketch) else sketch_ids(w) for w in windows]
    num_windows = len(sketches)
    first_end = (
        num_windows // 2 if min_training_windows is None else min_training_windows
    )
    if not 1 <= first_end < num_windows:
        raise ValueError(
            "`windows` must be more than `min_training_windows`, which is at least 1. "
            f"Received: {num_windows} windows, {first_end} to train on."
        )
    if len({(s.sample.capacity, s.sample.seed) for s in sketches}) > 1:
        raise ValueError("`windows` must be sketches of the same capacity and seed.")
    kinds = [s.kind for s in sketches]
    if len(set(kinds) - {None}) > 1:
        raise ValueError(
            "`windows` must all be of strings or all of integers. Received: "
            f"{', '.join(kind or 'none' for kind in kinds)}."
        )
    occurrences = _by_first_window(sketches)
    for window in range(first_end, num_windows):
        if not occurrences[:, window].any():
            raise ValueError(
                "`windows` must each have ids that all samples would hold. Received "
                f"none in window {window + 1} of {num_windows}, among "
                f"{sketches[window].num_occurrences:,} occurrences. Join it with its "
                "neighbour, or give sketches of a larger capacity."
            )
    by_age: dict[int, list[float]] = {}
    for end in range(first_end, num_windows):
        for window in range(end, num_windows):
            of_window = occurrences[:, window]
            share = float(of_window[end:].sum() / of_window.sum())
            by_age.setdefault(window - end + 1, []).append(share)
    ages = tuple(sorted(by_age))
    unseen = tuple(float(np.mean(by_age[age])) for age in ages)
    spread = tuple(
        float(np.std(by_age[age], ddof=1)) if len(by_age[age]) > 1 else math.nan
        for age in ages
    )
    beyond = [
        age for age, share in zip(ages, unseen, strict=True) if share > max_unseen_share
    ]
    expected = None
    if quality is not None:
        known, new = quality
        expected = tuple((1 - share) * known + share * new for share in unseen)
    return RetrainingAge(
        ages,
        unseen,
        spread,
        max_unseen_share,
        expected,
        min(beyond) - 1 if beyond else None,
    )


def _by_first_window(sketches: list[IdSketch]) -> np.ndarray:
    """Returns occurrences by the window in which their id came out, and their own.

    Args:
      sketches: Of the windows.

    Returns:
      [windows, windows]: row f, column w has the occurrences in window w of ids that
      were first seen in window f, of those ids that all samples hold.
    """
    level = max(sketch.sample.level for sketch in sketches)
    keys, counts, windows = [], [], []
    for i, sketch in enumerate(sketches):
        held = sketch.sample.holds(sketch.sample.keys, level)
        keys.append(sketch.sample.keys[held])
        counts.append(sketch.sample.counts[held])
        windows.append(np.full(held.sum(), i))
    distinct, numbers = np.unique(np.concatenate(keys), return_inverse=True)
    window = np.concatenate(windows)
    first = np.full(len(distinct), len(sketches))
    np.minimum.at(first, numbers, window)
    table = np.zeros((len(sketches), len(sketches)))
    np.add.at(table, (first[numbers], window), np.concatenate(counts))
    return table
