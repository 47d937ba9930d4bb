"""`explain_error`: why MACH answers with a wrong class."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _plots, _text
from tfrs_dhe.analysis._class_scores import QueryScores, query_scores
from tfrs_dhe.analysis.explanation import (
    VALUES,
    BucketParts,
    Explanation,
    bucket_parts,
    explain_class,
)

#: Why an answer is wrong.
CAUSES = ("indistinguishable", "collisions", "model")

_WORDS = {
    "indistinguishable": "the two classes have the same buckets throughout; no query "
    "can tell them apart",
    "collisions": "without the buckets that another class explains better, the true "
    "class would be ahead",
    "model": "the wrong class is ahead in buckets of its own, so it is not the hashing "
    "but what was learned",
}


@dataclass(frozen=True)
class SharedBucket:
    """A repetition, in which the wrong class's bucket is compared with the true one's.

    Attributes:
      repetition: Its number in the whole model.
      lead: What the bucket of the wrong class adds to its score above that of the true
        class; the mean of all is the difference of scores where an aggregation is one.
      owner: The likeliest class in the wrong class's bucket, other than itself; None
        where it is alone.
      owner_part: That class's part of the bucket's probability.
      wrong_part: The wrong class's part.
    """

    repetition: int
    lead: float
    owner: Any
    owner_part: float
    wrong_part: float

    @property
    def is_collision(self) -> bool:
        """Whether another class explains the bucket better than the wrong one."""
        return self.owner_part > self.wrong_part


@dataclass(frozen=True)
class ErrorExplanation(_plots.Plotted):
    """Why a wrong class is ahead; `explain_error` makes it, `print` shows it.

    `plot` draws what repetitions add, and whose the buckets are.

    Attributes:
      wrong: The class that is first.
      true: The class that should be.
      cause: `"indistinguishable"`, `"collisions"` or `"model"`.
      buckets: The wrong class's buckets.
      lead: Score of the wrong class above the true one's.
      clean_lead: The same in the repetitions without a collision alone; nan if there is
        none.
    """

    wrong: Explanation
    true: Explanation
    cause: str
    buckets: tuple[SharedBucket, ...]
    lead: float
    clean_lead: float

    def __str__(self) -> str:
        wrong, true = (_text.name(e.identifier) for e in (self.wrong, self.true))
        rows = [
            [
                str(row.repetition),
                f"{row.lead:+.3g}",
                f"{row.wrong_part:.0%}",
                "none" if row.owner is None else _text.name(row.owner),
                f"{row.owner_part:.0%}",
                "yes" if row.is_collision else "",
            ]
            for row in self.buckets
        ]
        head = [
            "repetition", "lead", f"{wrong}'s part", "other", "its part", "collision",
        ]  # fmt: skip
        clean = (
            "no repetition is without a collision"
            if math.isnan(self.clean_lead)
            else f"{self.clean_lead:+.4g} in the repetitions without a collision"
        )
        return "\n".join(
            [
                f"{wrong} is ahead of {true} by {self.lead:.4g}, {clean}.",
                f"Cause, {self.cause}: {_WORDS[self.cause]}.",
                *("  " + line for line in _text.table(head, rows).split("\n")),
                f"First: {self.wrong}",
                f"True: {self.true}",
            ]
        )

    def _draw(self, title: str | None) -> Any:
        """Draws what repetitions add, and whose the wrong class's buckets are."""
        wrong, true = (_text.short(e.identifier, 40) for e in (self.wrong, self.true))
        figure = _plots.new_figure(11, max(4.0, 1.5 + 0.4 * len(self.buckets)))
        figure.suptitle(title or f"{wrong} ahead of {true}; cause: {self.cause}")
        leads, parts = figure.subplots(1, 2)
        places = np.arange(len(self.buckets))
        for collides, color in ((False, "tab:blue"), (True, "tab:red")):
            chosen = [
                i for i, b in enumerate(self.buckets) if b.is_collision == collides
            ]
            if chosen:
                leads.bar(
                    chosen,
                    [self.buckets[i].lead for i in chosen],
                    color=color,
                    label="collision" if collides else "no collision",
                )
        leads.axhline(0, color="black", linewidth=0.8)
        leads.set_xticks(places, [str(row.repetition) for row in self.buckets])
        leads.set(
            xlabel="repetition",
            ylabel=f"lead in {VALUES[self.wrong.aggregation]}",
            title="Wrong class's bucket over the true one's",
        )
        of_wrong = [row.wrong_part * 100 for row in self.buckets]
        of_owner = [row.owner_part * 100 for row in self.buckets]
        # Lying bars leave room for names.
        parts.barh(places - 0.2, of_wrong, 0.4, label=wrong)
        bars = parts.barh(places + 0.2, of_owner, 0.4, label="likeliest other class")
        parts.bar_label(
            bars,
            [
                "" if row.owner is None else _text.short(row.owner, 30)
                for row in self.buckets
            ],
            fontsize="small",
            padding=3,
        )
        parts.set_yticks(places, [str(row.repetition) for row in self.buckets])
        parts.invert_yaxis()
        parts.set(
            xlabel="% of the bucket's probability",
            ylabel="repetition",
            title="Whose the wrong class's buckets are",
            xlim=(0, 1.5 * max(1.0, *of_wrong, *of_owner)),
        )
        _plots.legend_below(leads, parts)
        return figure


def explain_error(index: Any, query: Any, true_identifier: Any) -> ErrorExplanation:
    """Explains why a wrong class is ahead of the true one.

    In a collision, the wrong class's bucket is likely because of another class in it,
    which has a larger part of it (see `explain`) than the wrong one. If the
    true class is ahead in the repetitions that are left without these, collisions are
    the cause, and more buckets or repetitions help; if not, the model believes in the
    wrong class, and no hashing changes that.

    Example:
    >>> from tfrs_dhe.layers import MACHHead, factorized_top_k
    >>> head = MACHHead(num_buckets=20, num_repetitions=4)
    >>> index = factorized_top_k.MACH(head).index(["shoes", "socks", "hat"])
    >>> _, found = index(tf.ones([1, 8]), k=3)
    >>> error = explain_error(index, tf.ones([1, 8]), found[0, 1].numpy())
    >>> error.wrong.rank, error.true.rank
    (1, 2)

    Args:
      index: A `layers.factorized_top_k.MACH` with classes.
      query: Features of one query, a batch of one, as the index takes them.
      true_identifier: The class that should be first, in the index or not.

    Returns:
      An `ErrorExplanation`.

    Raises:
      ValueError: If an argument is something else, or the true class is first.

    References:
      Medini et al., NeurIPS 2019, section 3.2, leaves the question open.
    """
    return explain_query_error(query_scores(index, query), true_identifier)


def explain_query_error(query: QueryScores, true_identifier: Any) -> ErrorExplanation:
    """Explains the error of a query that was scored; see `explain_error`."""
    true = explain_class(query, true_identifier)
    at = query.position(true.identifier)
    best = int(np.argmax(query.scores))
    if best == at:
        raise ValueError(
            "`true_identifier` must be a class that is not first, but it is: "
            f"{_text.name(true.identifier)}. Use `explain`."
        )
    wrong = explain_class(query, query.identifiers[best])
    of_wrong = query.table[:, best].astype(np.int64)
    of_true = query.buckets_of(true.identifier).astype(np.int64)
    parts = bucket_parts(query, wrong.identifier)
    buckets = tuple(
        _shared_bucket(query, parts, r, of_wrong, of_true)
        for r in range(query.num_repetitions)
    )
    clean = np.array([r for r, b in enumerate(buckets) if not b.is_collision], np.int64)
    clean_lead = math.nan
    if len(clean):
        clean_lead = query.score_of(of_wrong, clean) - query.score_of(of_true, clean)
    if np.array_equal(of_wrong, of_true):
        cause = "indistinguishable"
    elif not clean_lead > 0:  # nan is not
        cause = "collisions"
    else:
        cause = "model"
    return ErrorExplanation(
        wrong, true, cause, buckets, wrong.score - true.score, clean_lead
    )


def explain_examples(
    index: Any, examples: Iterable[tuple[Any, Any]], num_right: int, num_wrong: int
) -> Iterator[Explanation | ErrorExplanation]:
    """Explains the first right and the first wrong answers of examples.

    Example:
    >>> from tfrs_dhe.layers import MACHHead, factorized_top_k
    >>> head = MACHHead(num_buckets=20, num_repetitions=4)
    >>> index = factorized_top_k.MACH(head).index(["shoes", "socks"])
    >>> examples = [(tf.ones([1, 8]), "shoes"), (tf.ones([1, 8]), "socks")]
    >>> len(list(explain_examples(index, examples, num_right=1, num_wrong=1)))
    2

    Args:
      index: A `layers.factorized_top_k.MACH` with classes.
      examples: Pairs of the features of one query, a batch of one, and its true class.
      num_right: How many answers to explain that are right.
      num_wrong: How many that are wrong.

    Yields:
      An `Explanation` for a right answer, an `ErrorExplanation` for a wrong one, as
      they come, and no more of them than examples have.

    Raises:
      ValueError: As `explain`.
    """
    left = {True: num_right, False: num_wrong}
    for features, true_identifier in examples:
        if not any(left.values()):
            return
        query = query_scores(index, features)
        best = int(np.argmax(query.scores))
        is_right = best == query.position(true_identifier)
        if not left[is_right]:
            continue
        left[is_right] -= 1
        if is_right:
            yield explain_class(query, true_identifier)
        else:
            yield explain_query_error(query, true_identifier)


def _shared_bucket(
    query: QueryScores,
    parts: BucketParts,
    r: int,
    of_wrong: np.ndarray,
    of_true: np.ndarray,
) -> SharedBucket:
    others = np.flatnonzero(query.table[r] == of_wrong[r])
    others = others[others != parts.at]
    owner, owner_part = None, 0.0
    if len(others):
        likeliest = others[np.argmax(parts.of_classes[r, others])]
        owner_part = float(parts.of_classes[r, likeliest])
        owner = query.plain(query.identifiers[likeliest])
    return SharedBucket(
        repetition=query.index.head.repetitions[r],
        lead=float(query.values[r, of_wrong[r]] - query.values[r, of_true[r]]),
        owner=owner,
        owner_part=owner_part,
        wrong_part=float(parts.own[r]),
    )
