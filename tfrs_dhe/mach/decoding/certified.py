"""The top k by scoring only the classes that can be in it."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach import aggregation as aggregations
from tfrs_dhe.mach.decoding import cost
from tfrs_dhe.mach.decoding.bound import Bound
from tfrs_dhe.mach.decoding.count_bound import CountBound
from tfrs_dhe.mach.decoding.inverse_lists import InverseLists
from tfrs_dhe.mach.decoding.listing import list_classes
from tfrs_dhe.mach.decoding.result import TopK
from tfrs_dhe.mach.decoding.score_all import score_all
from tfrs_dhe.mach.decoding.sizes import Size, at_most
from tfrs_dhe.mach.decoding.sum_bound import SumBound

#: How many times more buckets a round looks at than the last one, and how many
#: rounds there are before all classes are scored.
GROWTH = 4
MAX_ROUNDS = 4
#: A better T makes the rest of a search shorter, but rarely more than so many times.
HOPE = 4
#: Classes scored in a round to find a better T.
PROBES_PER_K = 4
MIN_PROBES = 32


def make_bound(values: tf.Tensor, aggregation: str) -> Bound:
    """Returns the bound for the values [R, B] of one query."""
    if aggregation in ("min", "median"):
        return CountBound(values, aggregation)
    return SumBound(values, aggregation)


def score_classes(
    values: tf.Tensor, buckets: tf.Tensor, classes: tf.Tensor, aggregation: str
) -> tf.Tensor:
    """Returns the scores [n] of given classes for one query [R, B]."""
    num_repetitions, num_buckets = values.shape
    rows = tf.cast(tf.gather(buckets, classes, axis=1), tf.int32)
    of_classes = tf.gather(values, rows, batch_dims=1)
    return aggregations.combine(
        tf.unstack(of_classes, num_repetitions), aggregation, num_buckets
    )


class Search(NamedTuple):
    """What is known after some rounds.

    Attributes:
      rounds: tf.int32, how many.
      score: T, tf.float32: k classes have this score or a higher one.
      scored: tf.int32 [s], the classes scored so far, some of them repeatedly.
      classes: tf.int32 [n], those listed in the last round.
      sums: tf.float64 [n], of the weights of each.
      needed: tf.float64, the sum that a class of the top k has at least, if it is
        above 0; else the last round proves nothing.
      promising: tf.bool; False if more would have to be listed than is worth it.
    """

    rounds: tf.Tensor
    score: tf.Tensor
    scored: tf.Tensor
    classes: tf.Tensor
    sums: tf.Tensor
    needed: tf.Tensor
    promising: tf.Tensor


class Answer(NamedTuple):
    """The top k of one query, if it is proven.

    Attributes:
      scores: tf.float32 [k].
      classes: tf.int32 [k].
      num_scored: tf.int32.
      proven: tf.bool; if False, scores and classes mean nothing.
    """

    scores: tf.Tensor
    classes: tf.Tensor
    num_scored: tf.Tensor
    proven: tf.Tensor


def search(
    values: tf.Tensor,
    buckets: tf.Tensor,
    lists: InverseLists,
    bound: Bound,
    k: Size,
    aggregation: str,
    max_entries: tf.Tensor,
) -> Search:
    """Lists ever more buckets until a bound separates the top k from the rest.

    A round lists the classes of the best buckets, scores the most promising ones
    and so raises T. The first rounds go down to a level in the values; as soon as
    the thresholds that T allows are not below it, those are taken, and they prove
    the rest, unless classes tie at the bound.
    """
    # The n-th greatest of the columns' maxima is reached by at least n values, and
    # found without sorting all of them.
    tops = tf.reduce_max(bound.comparable(), axis=0)
    num_repetitions, num_buckets = values.shape
    first = cost.first_buckets(num_repetitions, num_buckets, k)

    def worth_going_on(score: tf.Tensor) -> tf.Tensor:
        """Whether what T allows to leave out is enough, or T may still rise a lot."""
        thresholds = bound.thresholds(score, tf.constant(tf.float32.min))
        reaching = tf.math.count_nonzero(values >= thresholds[:, tf.newaxis])
        average_size = tf.shape(buckets, tf.int64)[1] // num_buckets
        few = reaching * average_size <= HOPE * max_entries
        return few | (score == float("-inf"))

    def next_round(last: Search) -> tuple[Search]:
        width = first * GROWTH**last.rounds
        level = tf.math.top_k(tops, at_most(width, num_buckets)).values[-1]
        # After the least of the maxima, all values may be looked at.
        exhausted = (last.rounds > 0) & (width >= GROWTH * num_buckets)
        level = tf.where(exhausted, tf.float32.min, tf.maximum(level, tf.float32.min))
        thresholds = bound.thresholds(last.score, level)
        listing = list_classes(values, lists, bound, thresholds, max_entries)
        num_probes = at_most(PROBES_PER_K * k + MIN_PROBES, tf.size(listing.sums))
        best = tf.math.top_k(listing.sums, num_probes, sorted=False).indices
        probes = tf.gather(listing.classes, best)
        scores = score_classes(values, buckets, probes, aggregation)
        score = tf.maximum(last.score, first_k(scores, probes, k)[0][-1])
        needed = bound.needed(score, thresholds)
        promising = listing.complete & tf.cond(
            needed > 0.0, lambda: tf.constant(True), lambda: worth_going_on(score)
        )
        found = Search(
            rounds=last.rounds + 1,
            score=score,
            scored=tf.concat([last.scored, probes], axis=0),
            classes=listing.classes,
            sums=listing.sums,
            needed=needed,
            promising=promising,
        )
        return (found,)

    def goes_on(last: Search) -> tf.Tensor:
        return last.promising & (last.needed <= 0.0) & (last.rounds < MAX_ROUNDS)

    nothing = Search(
        rounds=tf.constant(0),
        score=tf.constant(float("-inf")),
        scored=tf.zeros([0], tf.int32),
        classes=tf.zeros([0], tf.int32),
        sums=tf.zeros([0], tf.float64),
        needed=tf.constant(0.0, tf.float64),
        promising=tf.constant(True),
    )
    shapes = tf.nest.map_structure(
        lambda x: tf.TensorShape([None] * x.shape.rank), nothing
    )
    (found,) = tf.while_loop(
        goes_on, next_round, (nothing,), shape_invariants=(shapes,)
    )
    return found


def first_k(
    scores: tf.Tensor, classes: tf.Tensor, k: Size
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the best k of n scored classes, filled up with -inf if n < k."""
    scores = tf.concat([scores, tf.fill([k], float("-inf"))], axis=0)
    classes = tf.concat([classes, tf.zeros([k], tf.int32)], axis=0)
    scores, places = tf.math.top_k(scores, k)
    return scores, tf.gather(classes, places)


def answer(
    values: tf.Tensor,
    buckets: tf.Tensor,
    lists: InverseLists,
    k: Size,
    aggregation: str,
    max_entries: tf.Tensor,
) -> Answer:
    """Returns the top k of one query, if it can be proven with so many entries."""
    bound = make_bound(values, aggregation)
    found = search(values, buckets, lists, bound, k, aggregation, max_entries)
    remaining = found.sums >= found.needed
    few = tf.math.count_nonzero(remaining) <= max_entries // cost.ENTRIES_PER_CLASS
    proven = found.promising & (found.needed > 0.0) & few
    # In the order of the classes, so that ties are resolved as everywhere.
    classes = tf.sort(tf.boolean_mask(found.classes, remaining & proven))
    scores = score_classes(values, buckets, classes, aggregation)
    scored, _ = tf.unique(tf.concat([found.scored, classes], axis=0))
    return Answer(
        *first_k(scores, classes, k),
        num_scored=tf.size(scored),
        proven=proven & (tf.size(classes) >= k),
    )


def certified(
    values: tf.Tensor,
    buckets: tf.Tensor,
    lists: InverseLists,
    k: Size,
    aggregation: str,
    max_entries: tf.Tensor,
    search_first: tf.Tensor | bool = True,
    chunk_size: int | None = None,
    parallel_iterations: int = 2,
) -> TopK:
    """Returns the top k, from the classes of the best buckets where that is proven.

    Queries are searched one by one. Those whose top k is not proven within
    `max_entries` are answered by scoring every class, all together.

    Args:
      values: tf.float32 [Q, R, B].
      buckets: Integers [R, K].
      lists: The classes of every bucket.
      k: From 1 to K.
      aggregation: One of `AGGREGATIONS`.
      max_entries: tf.int64, classes that a query may list, counted once for each of
        their buckets.
      search_first: Whether to search at all, or to score every class at once.
      chunk_size: See `score_all`.
      parallel_iterations: Queries searched at a time; each has memory of its own.

    Returns:
      `TopK`; `num_scored` counts every class once, and is K where all were scored.
    """
    num_queries = tf.shape(values)[0]
    signature = Answer(
        tf.TensorSpec([k if isinstance(k, int) else None], tf.float32),
        tf.TensorSpec([k if isinstance(k, int) else None], tf.int32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.bool),
    )

    def search_each() -> Answer:
        return tf.map_fn(
            lambda of_query: answer(
                of_query, buckets, lists, k, aggregation, max_entries
            ),
            values,
            fn_output_signature=signature,
            parallel_iterations=None if tf.executing_eagerly() else parallel_iterations,
        )

    def prove_nothing() -> Answer:
        return Answer(
            tf.zeros([num_queries, k]),
            tf.zeros([num_queries, k], tf.int32),
            tf.zeros([num_queries], tf.int32),
            tf.zeros([num_queries], tf.bool),
        )

    # A map over no queries would not know a k that is a tensor.
    answers = tf.cond((num_queries > 0) & search_first, search_each, prove_nothing)
    best = TopK(*answers[:3])

    def score_the_rest() -> TopK:
        open_queries = tf.where(~answers.proven)
        rest = score_all(
            tf.gather_nd(values, open_queries), buckets, k, aggregation, chunk_size
        )
        return TopK(
            *(
                tf.tensor_scatter_nd_update(of_all, open_queries, of_rest)
                for of_all, of_rest in zip(best, rest, strict=True)
            )
        )

    return tf.cond(tf.reduce_all(answers.proven), lambda: best, score_the_rest)
