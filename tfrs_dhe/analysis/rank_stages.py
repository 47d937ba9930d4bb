"""`RankStages`: new classes before and after something was done for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _plots, _text
from tfrs_dhe.analysis.new_classes import NewClassRanks


@dataclass(frozen=True, eq=False)
class RankStages(_plots.Plotted):
    """Ranks of the same examples at several stages; `print` shows them.

    Stages are what may be done for new classes: nothing, `borrow_buckets`, training on
    them. `plot` draws, for each, the share of the examples of new classes within each
    rank, and that of trained ones at the first stage.

    Example:
    >>> from tfrs_dhe.analysis import borrow_buckets, rank_new_classes
    >>> from tfrs_dhe.layers import MACHHead, factorized_top_k
    >>> head = MACHHead(num_buckets=20, num_repetitions=4)
    >>> index = factorized_top_k.MACH(head).index(["shoes", "boots"])
    >>> examples = [(np.ones([2, 8], "float32"), ["shoes", "boots"])]
    >>> own = rank_new_classes(index, examples, trained_ids=["shoes"])
    >>> index = borrow_buckets(index, ["boots"], [["shoes"]])
    >>> borrowed = rank_new_classes(index, examples, trained_ids=["shoes"])
    >>> stages = RankStages({"own buckets": own, "borrowed": borrowed})
    >>> stages.stages["borrowed"].new.median
    1.5

    Attributes:
      stages: From `rank_new_classes`, of the same examples, by name.

    Raises:
      ValueError: If there is no stage, or they are of different examples.
    """

    stages: Mapping[str, NewClassRanks]

    def __post_init__(self) -> None:
        sizes = {
            (one.trained.num_examples, one.new.num_examples)
            for one in self.stages.values()
        }
        if len(sizes) != 1:
            raise ValueError(
                "`stages` must be one or more, of the same examples. Received: "
                f"{len(self.stages)} stages, of {sorted(sizes)} examples of trained "
                "and new classes."
            )

    def __str__(self) -> str:
        some = next(iter(self.stages.values()))
        head = [
            "stage", "true class", "examples", *(f"recall@{k}" for k in some.ks),
            "median rank", "ahead of it",
        ]  # fmt: skip
        rows = [
            [
                stage,
                one.name,
                f"{one.num_examples:,}",
                *(f"{one.recall(k):.4f}" for k in some.ks),
                f"{one.median:,.0f}",
                f"{one.percentile:.1%}",
            ]
            for stage, ranks in self.stages.items()
            for one in (ranks.new, ranks.trained)
            if one.num_examples
        ]
        return _text.table(head, rows)

    def _draw(self, title: str | None) -> Any:
        """Draws the share of examples within each rank, by stage."""
        figure = _plots.new_figure(7, 4.2)
        axes = figure.subplots()
        first = next(iter(self.stages.values()))
        curves = {f"new: {stage}": one.new for stage, one in self.stages.items()}
        for name, ranks in curves.items():
            axes.semilogx(*ranks.curve(), label=name)
        if first.trained.num_examples:
            axes.semilogx(
                *first.trained.curve(),
                "--",
                color="black",
                label=f"trained: {next(iter(self.stages))}",
            )
        num_classes = first.new.num_classes
        k = np.unique(np.geomspace(1, num_classes, 50).astype(int))
        axes.semilogx(k, k / num_classes * 100, ":", color="grey", label="by chance")
        axes.set(
            xlabel=f"k, number of classes shown, of {num_classes:,}",
            ylabel="% of examples with a rank of at most k",
            title=title or "Ranks of new classes by stage",
        )
        axes.legend(fontsize="small")
        return figure
