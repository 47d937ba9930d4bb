"""`explain`: why MACH gives a class the score it has."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _ids, _plots, _text
from tfrs_dhe.analysis._class_scores import QueryScores, query_scores
from tfrs_dhe.analysis._class_shares import class_shares, parts_of_buckets

#: What an aggregation combines.
VALUES = {
    "unbiased_mean": "probability",
    "min": "probability",
    "median": "probability",
    "mean_log_probability": "log probability",
    "mean_logit": "logit",
}

#: Classes that are listed of those that share buckets.
_NUM_LISTED = 5


@dataclass(frozen=True)
class SharingClass:
    """A class that shares buckets with the one that is explained.

    Attributes:
      identifier: Bytes or an integer.
      repetitions: In which they share a bucket.
      part: Its part of the probability of all R buckets of the explained class.
    """

    identifier: Any
    repetitions: tuple[int, ...]
    part: float


@dataclass(frozen=True)
class BucketEvidence:
    """What one repetition says.

    Attributes:
      repetition: Its number in the whole model.
      bucket: The class's bucket.
      logit: Of the bucket.
      probability: Of the bucket.
      rank: Of the bucket among the B of this repetition, from 1.
      num_sharing: How many other classes of the index are in the bucket.
      own_part: The class's part of the bucket's probability.
    """

    repetition: int
    bucket: int
    logit: float
    probability: float
    rank: int
    num_sharing: int
    own_part: float


@dataclass(frozen=True)
class Explanation(_plots.Plotted):
    """Why a class has its score for a query; `explain` makes it, `print` shows it.

    `plot` draws the buckets and who is in them.

    Attributes:
      identifier: Of the class: bytes or an integer.
      is_indexed: Whether it is in the index. One that is not has a score all the same.
      aggregation: Of the index.
      score: By this aggregation.
      rank: Among the classes of the index, from 1; of equal scores, each has the best.
      num_classes: K.
      best: The class that is first.
      margin_to_best: Its score above this one's, 0 for the first.
      next: The best class whose score is not higher, None for the last.
      margin: The score above the next class's.
      margin_error: Standard error of this margin, were repetitions independent draws of
        the hash function; nan for one repetition.
      probability: Estimate of the class's probability: the unbiased mean for a softmax,
        the mean of the buckets' for sigmoids.
      standard_error: Of the estimate, from how repetitions differ; nan for one.
      predicted_error: The same by the paper's formula,
        `sqrt(sum_{k != i} p_k^2 / (R (B - 1)))`; nan for sigmoids.
      buckets: What each repetition says.
      sharing: The classes that share buckets, by falling part.
      own_part: The class's own part of the probability of its R buckets.
    """

    identifier: Any
    is_indexed: bool
    aggregation: str
    score: float
    rank: int
    num_classes: int
    best: Any
    margin_to_best: float
    next: Any
    margin: float
    margin_error: float
    probability: float
    standard_error: float
    predicted_error: float
    buckets: tuple[BucketEvidence, ...]
    sharing: tuple[SharingClass, ...]
    own_part: float

    def __str__(self) -> str:
        where = "" if self.is_indexed else ", not in the index"
        lines = [
            f"{_text.name(self.identifier)}: score {self.score:.4g} "
            f"({self.aggregation}), rank "
            f"{self.rank:,} of {self.num_classes:,}{where}",
            f"  probability {self.probability:.3g} ± {self.standard_error:.2g} from "
            f"{len(self.buckets)} repetitions"
            + (
                ""
                if math.isnan(self.predicted_error)
                else f" (± {self.predicted_error:.2g} by formula)"
            ),
        ]
        if self.rank > 1:
            lines.append(
                f"  {self.margin_to_best:.4g} behind {_text.name(self.best)}, the first"
            )
        if self.next is not None:
            lines.append(
                f"  {self.margin:.4g} ± {self.margin_error:.2g} ahead of "
                f"{_text.name(self.next)}"
            )
        rows = [
            [
                str(row.repetition),
                f"{row.bucket:,}",
                f"{row.probability:.3g}",
                f"{row.rank:,}",
                f"{row.num_sharing:,}",
                f"{row.own_part:.0%}",
            ]
            for row in self.buckets
        ]
        head = [
            "repetition",
            "bucket",
            "probability",
            "rank",
            "others in it",
            "its own",
        ]
        lines += ["  " + line for line in _text.table(head, rows).split("\n")]
        if self.sharing:
            shown = ", ".join(
                f"{_text.name(one.identifier)} {one.part:.0%}"
                for one in self.sharing[:_NUM_LISTED]
            )
            lines.append(
                f"  of its buckets, {self.own_part:.0%} are its own; others: {shown}"
            )
        return "\n".join(lines)

    def _draw(self, title: str | None) -> Any:
        """Draws the buckets and who is in them."""
        figure = _plots.new_figure(11, 4.2)
        figure.suptitle(
            title
            or f"{_text.short(self.identifier, 60)}: rank {self.rank:,} "
            f"of {self.num_classes:,}"
        )
        buckets, classes = figure.subplots(1, 2)
        places = [str(row.repetition) for row in self.buckets]
        whole = np.array([row.probability for row in self.buckets])
        own = whole * [row.own_part for row in self.buckets]
        bars = buckets.bar(places, whole, color="lightgrey", label="other classes")
        buckets.bar(places, own, label="the class itself")
        buckets.bar_label(bars, [f"#{row.rank}" for row in self.buckets])
        buckets.axhline(
            max(self.probability, 0),
            color="black",
            linestyle=":",
            label="estimate of the class",
        )
        buckets.set(
            xlabel="repetition",
            ylabel="probability of its bucket",
            title="Buckets, with their rank",
        )
        buckets.margins(y=0.15)
        shown = self.sharing[: 2 * _NUM_LISTED]
        identifiers = [self.identifier, *(one.identifier for one in shown)]
        names = [_text.short(one, 30) for one in identifiers]
        parts = [self.own_part, *(one.part for one in shown)]
        # By places: two long names may be cut to the same.
        rows = np.arange(len(names))[::-1]
        shares = np.array(parts) * 100
        classes.barh(rows[:1], shares[:1], label="the class itself")
        classes.barh(rows[1:], shares[1:], color="lightgrey", label="other classes")
        classes.set_yticks(rows, names)
        classes.set(
            xlabel="% of the probability of its buckets",
            ylabel="class",
            title="Who is in its buckets",
        )
        _plots.legend_below(buckets, classes, ncols=3)
        return figure


def explain(index: Any, query: Any, identifier: Any = None) -> Explanation:
    """Explains the score that MACH gives a class for a query.

    A class's score comes from R buckets, and each holds other classes as well. Whose a
    bucket's probability is, all repetitions tell together: the parts are those of the
    shares of classes, not below zero, that explain the probabilities of all buckets
    best (maximum likelihood). With sigmoids, `- log(1 - P)` takes the place of P, as
    independent classes add up in it. A head that is trained jointly gives its buckets
    no probabilities; the parts are then those of a softmax of its logits.

    Example:
    >>> from tfrs_dhe.layers import MACHHead, factorized_top_k
    >>> head = MACHHead(num_buckets=20, num_repetitions=4)
    >>> index = factorized_top_k.MACH(head).index(["shoes", "socks", "hat"])
    >>> explanation = explain(index, tf.ones([1, 8]), "hat")
    >>> len(explanation.buckets), explanation.num_classes
    (4, 3)

    Args:
      index: A `layers.factorized_top_k.MACH` with classes.
      query: Features of one query, a batch of one, as the index takes them.
      identifier: The class, in the index or not; by default the one that is first.

    Returns:
      An `Explanation`.

    Raises:
      ValueError: If an argument is something else.

    References:
      Medini et al., NeurIPS 2019, section 3.2, theorems 1 and 2 for the estimate and
      its variance.
    """
    scores = query_scores(index, query)
    if identifier is None:
        identifier = scores.identifiers[int(np.argmax(scores.scores))]
    return explain_class(scores, identifier)


def explain_class(query: QueryScores, identifier: Any) -> Explanation:
    """Explains one class of a query that was scored; see `explain`."""
    identifier = query.plain(identifier)
    own = query.buckets_of(identifier).astype(np.int64)
    at = query.position(identifier)
    # As the index has it, bit by bit, where it is one of the index.
    score = float(query.scores[at]) if at >= 0 else query.score_of(own)
    others = np.delete(np.arange(len(query.scores)), [at] if at >= 0 else [])
    scores = query.scores
    not_higher = others[scores[others] <= score]
    following = (
        int(not_higher[np.argmax(scores[not_higher])]) if len(not_higher) else -1
    )
    best = int(np.argmax(scores))
    evidence, sharing, own_part = _evidence(query, identifier, own)
    margin, margin_error = math.nan, math.nan
    if following >= 0:
        margin = score - float(scores[following])
        margin_error = _standard_error(
            _values(query, own) - _values(query, query.table[:, following])
        )
    probability, error, predicted = _estimate(query, own)
    return Explanation(
        identifier=identifier,
        is_indexed=at >= 0,
        aggregation=query.index.aggregation,
        score=score,
        rank=1 + int(np.count_nonzero(scores[others] > score)),
        num_classes=len(scores),
        best=_ids.plain(query.identifiers[best]),
        margin_to_best=max(float(scores[best]) - score, 0.0),
        next=_ids.plain(query.identifiers[following]) if following >= 0 else None,
        margin=margin,
        margin_error=margin_error,
        probability=probability,
        standard_error=error,
        predicted_error=predicted,
        buckets=evidence,
        sharing=sharing,
        own_part=own_part,
    )


def _evidence(
    query: QueryScores, identifier: Any, own: np.ndarray
) -> tuple[tuple[BucketEvidence, ...], tuple[SharingClass, ...], float]:
    """Returns what repetitions say, who shares buckets, and the class's own part."""
    parts = bucket_parts(query, identifier)
    repetitions = query.index.head.repetitions
    chosen = np.arange(query.num_repetitions), own
    probabilities = query.probabilities[chosen]
    shares_bucket = query.table == own[:, np.newaxis]
    if parts.at >= 0:
        shares_bucket[:, parts.at] = False
    rows = tuple(
        BucketEvidence(
            repetition=repetitions[r],
            bucket=int(own[r]),
            logit=float(query.logits[r, own[r]]),
            probability=float(probabilities[r]),
            rank=1 + int(np.count_nonzero(query.logits[r] > query.logits[r, own[r]])),
            num_sharing=int(shares_bucket[r].sum()),
            own_part=float(parts.own[r]),
        )
        for r in range(query.num_repetitions)
    )
    weights = probabilities / probabilities.sum()
    of_classes = weights @ np.where(shares_bucket, parts.of_classes, 0)
    sharing = np.flatnonzero(shares_bucket.any(axis=0))
    # By part, then by the order of the index.
    sharing = sharing[np.argsort(-of_classes[sharing], kind="stable")]
    return (
        rows,
        tuple(
            SharingClass(
                _ids.plain(query.identifiers[c]),
                tuple(repetitions[r] for r in np.flatnonzero(shares_bucket[:, c])),
                float(of_classes[c]),
            )
            for c in sharing
        ),
        float(weights @ parts.own),
    )


@dataclass(frozen=True, eq=False)
class BucketParts:
    """Parts of buckets.

    Attributes:
      at: Where the class that is asked about is in the index, -1 if it is not.
      own: Its parts of its buckets [R].
      of_classes: Parts that the classes of the index have of theirs [R, K].
    """

    at: int
    own: np.ndarray
    of_classes: np.ndarray


def bucket_parts(query: QueryScores, identifier: Any) -> BucketParts:
    """Divides the buckets of a query among the classes, one of which may be new."""
    at = query.position(identifier)
    table = query.table
    if at < 0:
        own = query.buckets_of(identifier)[:, np.newaxis]
        table = np.concatenate([table, own.astype(table.dtype)], axis=1)
    masses = query.probabilities
    if query.index.activation == "sigmoid":
        # Below 1 by what float64 can tell.
        masses = -np.log1p(-np.minimum(masses, 1 - 2**-53))
    parts = parts_of_buckets(class_shares(masses, table), table)
    return BucketParts(at, parts[:, at], parts[:, : query.table.shape[1]])


def _estimate(query: QueryScores, own: np.ndarray) -> tuple[float, float, float]:
    """Returns the probability of a class, its error, and that of the formula."""
    probabilities = query.probabilities[np.arange(query.num_repetitions), own]
    b, r = query.num_buckets, query.num_repetitions
    if query.index.activation == "sigmoid":
        return float(probabilities.mean()), _standard_error(probabilities), math.nan
    estimates = (probabilities - 1 / b) * b / (b - 1)
    probability = float(estimates.mean())
    # Of 2-universal hashes E sum_b P_b^2 = S + (1 - S) / B for the sum of squares S.
    of_buckets = float((query.probabilities**2).sum(axis=1).mean())
    square_sum = (b * of_buckets - 1) / (b - 1)
    others = max(square_sum - max(probability, 0) ** 2, 0.0)
    predicted = math.sqrt(others / (r * (b - 1)))
    return probability, _standard_error(estimates), predicted


def _values(query: QueryScores, buckets: np.ndarray) -> np.ndarray:
    values: np.ndarray = query.values[np.arange(query.num_repetitions), buckets]
    return values.astype(np.float64)


def _standard_error(values: np.ndarray) -> float:
    if len(values) < 2:
        return math.nan
    return float(values.std(ddof=1) / math.sqrt(len(values)))
