"""The top k by buckets that add up: for min, median and means of probabilities."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding import cost
from tfrs_dhe.mach.decoding.bound import Bound
from tfrs_dhe.mach.decoding.count_bound import CountBound
from tfrs_dhe.mach.decoding.inverse_lists import InverseLists
from tfrs_dhe.mach.decoding.listing import list_classes
from tfrs_dhe.mach.decoding.scoring import Answer, first_k, score_classes
from tfrs_dhe.mach.decoding.sizes import Size, at_most
from tfrs_dhe.mach.decoding.sum_bound import SumBound

#: Rounds of a search before all classes are scored.
MAX_ROUNDS = 4
#: A better T makes the rest of a search shorter, but rarely more than so many times.
HOPE = 4
#: Classes scored in a round to find a better T.
PROBES_PER_K = 4
MIN_PROBES = 32


def make_bound(values: tf.Tensor, aggregation: str) -> Bound:
    """Returns the bound for the values [R, B] of one query."""
    if aggregation == "unbiased_mean":
        return SumBound(values)
    return CountBound(values, aggregation)


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
    and so raises T. Rounds go down to a level in the values, each to a lower one; as
    soon as the thresholds that T allows are not below it, those are taken, and they
    prove the rest, unless classes tie at the bound. The search ends with that proof,
    or when more would have to be listed than is worth it.
    """
    # The n-th greatest of the columns' maxima is reached by at least n values, and
    # found without sorting all of them.
    tops = tf.reduce_max(values, axis=0)
    num_repetitions, num_buckets = values.shape
    first = num_repetitions * cost.first_of_sums(k, num_buckets)

    def worth_going_on(score: tf.Tensor) -> tf.Tensor:
        """Whether what T allows to leave out is enough, or T may still rise a lot."""
        thresholds = bound.thresholds(score, tf.constant(tf.float32.min))
        reaching = tf.math.count_nonzero(values >= thresholds[:, tf.newaxis])
        average_size = tf.shape(buckets, tf.int64)[1] // num_buckets
        few = reaching * average_size <= HOPE * max_entries
        return few | (score == float("-inf"))

    def next_round(last: Search) -> tuple[Search]:
        width = first * cost.GROWTH**last.rounds
        level = tf.math.top_k(tops, at_most(width, num_buckets)).values[-1]
        # After the least of the maxima, all values may be looked at.
        exhausted = (last.rounds > 0) & (width >= cost.GROWTH * num_buckets)
        level = tf.where(exhausted, tf.float32.min, tf.maximum(level, tf.float32.min))
        thresholds = bound.thresholds(last.score, level)
        listing = list_classes(values, lists, bound, thresholds, max_entries)
        num_probes = at_most(PROBES_PER_K * k + MIN_PROBES, tf.size(listing.sums))
        promise = bound.promise(listing.sums, listing.counts, thresholds)
        best = tf.math.top_k(promise, num_probes, sorted=False).indices
        probes = tf.gather(listing.classes, best)
        scores = score_classes(values, buckets, probes, aggregation)
        score = tf.maximum(last.score, first_k(scores, probes, k)[0][-1])
        needed = bound.needed(score, thresholds)
        # A level found by chance may prove so little that most classes remain.
        remaining = tf.math.count_nonzero(listing.sums >= needed, dtype=tf.int32)
        few = remaining * cost.ENTRIES_PER_CLASS <= tf.size(listing.sums)
        needed = tf.where(few | (last.score > float("-inf")), needed, 0.0)
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


def search_weighted(
    values: tf.Tensor,
    buckets: tf.Tensor,
    lists: InverseLists,
    k: Size,
    aggregation: str,
    max_entries: tf.Tensor,
) -> Answer:
    """Returns the top k of one query, if it can be proven with so many entries.

    Args:
      values: tf.float32 [R, B].
      buckets: Integers [R, K].
      lists: The classes of every bucket.
      k: From 1 to K.
      aggregation: `"unbiased_mean"`, `"min"` or `"median"`.
      max_entries: tf.int64, how many entries may be listed at a time.
    """
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
