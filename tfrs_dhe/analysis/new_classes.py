"""`rank_new_classes`: what MACH says of classes that it was never trained on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import mach
from tfrs_dhe.analysis import _ids, _plots, _text
from tfrs_dhe.layers.factorized_top_k import MACH, _identifiers

#: Scores that are held at a time.
_MAX_SCORES = 2**24


@dataclass(frozen=True, eq=False)
class ClassRanks:
    """Ranks of the true classes of some examples.

    Attributes:
      name: Of which examples: `"trained"` or `"new"`.
      ranks: From 1, of equal scores the middle, and K where the true class has no
        finite score, as after a training that diverged [n].
      lead: Score of the true class above the mean of all classes, the mean over
        examples; nan without any, or if a score is.
      num_classes: K, of the index.
    """

    name: str
    ranks: np.ndarray = field(repr=False)
    lead: float
    num_classes: int

    @property
    def num_examples(self) -> int:
        """N."""
        return len(self.ranks)

    def recall(self, k: int) -> float:
        """Returns the share of the examples with a rank of at most k."""
        return float(np.mean(self.ranks <= k)) if len(self.ranks) else float("nan")

    @property
    def median(self) -> float:
        """The median rank."""
        return float(np.median(self.ranks)) if len(self.ranks) else float("nan")

    @property
    def percentile(self) -> float:
        """Mean part of the catalogue that is ahead; one half by chance."""
        if not len(self.ranks):
            return float("nan")
        return float(np.mean((self.ranks - 1) / max(self.num_classes - 1, 1)))

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns ranks [n], rising, and the % of examples up to each [n]."""
        n = len(self.ranks)
        return np.sort(self.ranks), 100 * np.arange(1, n + 1) / max(n, 1)


@dataclass(frozen=True, eq=False)
class NewClassRanks(_plots.Plotted):
    """What `rank_new_classes` returns; `print` shows it.

    `plot` draws the share of examples within each rank.

    Attributes:
      trained: Examples whose true class was trained on.
      new: Examples whose true class was not.
      ks: For which k recalls are shown.
    """

    trained: ClassRanks
    new: ClassRanks
    ks: tuple[int, ...]

    def __str__(self) -> str:
        head = [
            "true class", "examples", *(f"recall@{k}" for k in self.ks),
            "median rank", "ahead of it", "score above the mean",
        ]  # fmt: skip
        rows = [
            [
                one.name,
                f"{one.num_examples:,}",
                *(f"{one.recall(k):.4f}" for k in self.ks),
                f"{one.median:,.0f}",
                f"{one.percentile:.1%}",
                f"{one.lead:+.3f}",
            ]
            for one in (self.trained, self.new)
        ]
        num_classes = self.new.num_classes
        chance = ["by chance", "", *(f"{k / num_classes:.4f}" for k in self.ks)]
        rows.append([*chance, f"{(num_classes + 1) / 2:,.0f}", "50.0%", ""])
        return _text.table(head, rows)

    def _draw(self, title: str | None) -> Any:
        """Draws the share of examples within each rank."""
        title = title or "Ranks of new and of trained classes"
        figure = _plots.new_figure()
        axes = figure.subplots()
        for one in (self.trained, self.new):
            if one.num_examples:
                axes.semilogx(*one.curve(), label=f"{one.name} classes")
        k = np.unique(np.geomspace(1, self.new.num_classes, 50).astype(int))
        axes.semilogx(k, k / self.new.num_classes * 100, ":", label="by chance")
        axes.set(
            xlabel="k, number of classes shown",
            ylabel="% of examples with a rank of at most k",
            title=title,
        )
        axes.legend()
        return figure


def rank_new_classes(
    index: Any,
    examples: Iterable[tuple[Any, Any]],
    trained_ids: Any,
    *,
    ks: Sequence[int] = (10, 100),
) -> NewClassRanks:
    """Ranks true classes that were never trained on beside those that were.

    A new class has a score at once, which is made of what its buckets hold of other
    classes: by itself no better than chance, and better with `borrow_buckets`.

    Example:
    >>> from tfrs_dhe.layers import MACHHead, factorized_top_k
    >>> head = MACHHead(num_buckets=20, num_repetitions=4)
    >>> index = factorized_top_k.MACH(head).index(["shoes", "socks", "hat"])
    >>> examples = [(tf.ones([2, 8]), ["shoes", "hat"])]
    >>> ranks = rank_new_classes(index, examples, trained_ids=["shoes", "socks"])
    >>> ranks.trained.num_examples, ranks.new.num_examples
    (1, 1)

    Args:
      index: A `layers.factorized_top_k.MACH` with all classes, new ones among them.
      examples: Batches (queries, class_ids), a `tf.data.Dataset` or any iterable:
        features as the index takes them, and the true class of each [batch].
      trained_ids: Ids of classes that the head was trained on.
      ks: For which k recalls are shown.

    Returns:
      A `NewClassRanks`.

    Raises:
      ValueError: If a true class is not in the index, a batch has not as many of them
        as queries, or there is no example.
    """
    if not isinstance(index, MACH):
        raise ValueError(
            f"`index` must be a layers.factorized_top_k.MACH. Received: {index!r}."
        )
    identifiers = index.identifiers()
    trained = _identifiers.as_tensor("trained_ids", trained_ids, identifiers.dtype)
    is_trained = np.isin(identifiers.numpy(), trained.numpy())
    ranks, leads, positions = [], [], []
    for queries, class_ids in examples:
        at = _positions(identifiers, class_ids)
        for part, scores in _scores(index, queries, len(at)):
            own = np.take_along_axis(scores, at[part, np.newaxis], axis=1)
            ahead = (scores > own).sum(axis=1)
            equal = (scores == own).sum(axis=1)
            # Nothing is above nan, which would be the best.
            scored = np.isfinite(own[:, 0])
            ranks.append(np.where(scored, 1 + ahead + (equal - 1) / 2, scores.shape[1]))
            leads.append(own[:, 0] - scores.mean(axis=1))
        positions.append(at)
    if not positions:
        raise ValueError("`examples` must have at least one. Received none.")
    of_trained = is_trained[np.concatenate(positions)]
    all_ranks, all_leads = np.concatenate(ranks), np.concatenate(leads)

    def chosen(name: str, mask: np.ndarray) -> ClassRanks:
        lead = float(all_leads[mask].mean()) if mask.any() else float("nan")
        return ClassRanks(name, all_ranks[mask], lead, len(is_trained))

    return NewClassRanks(
        chosen("trained", of_trained), chosen("new", ~of_trained), tuple(ks)
    )


def _positions(identifiers: tf.Tensor, class_ids: Any) -> np.ndarray:
    class_ids = _identifiers.as_tensor("class_ids", class_ids, identifiers.dtype)
    distinct, numbers = tf.unique(_ids.tensor("class_ids", class_ids))
    places = _identifiers.positions(identifiers, distinct)
    if (places < 0).any():
        absent = tf.boolean_mask(distinct, places < 0)
        raise ValueError(
            "`class_ids` must be in the index. Received some that are not: "
            f"{_identifiers.named(absent)}. Call `index.add` with them."
        )
    found: np.ndarray = places[numbers.numpy()]
    return found


def _scores(
    index: Any, queries: Any, num_examples: int
) -> Iterable[tuple[slice, np.ndarray]]:
    """Yields scores of all classes for parts of a batch, float32 [part, K]."""
    model = index.query_model
    logits = index.head(queries if model is None else model(queries))
    if logits.shape[0] != num_examples:
        raise ValueError(
            "`examples` must have one true class for each query. Received "
            f"{num_examples} class_ids for {logits.shape[0]} queries."
        )
    table = tf.constant(index._tables.buckets.numpy().T)
    size = max(1, _MAX_SCORES // int(table.shape[0]))
    for start in range(0, logits.shape[0], size):
        part = slice(start, start + size)
        values = mach.bucket_values(logits[part], index.aggregation, index.activation)
        yield part, mach.class_scores(values, table, index.aggregation).numpy()
