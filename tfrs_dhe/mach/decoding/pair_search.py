"""The top k by the pairs of buckets that a class in it has one of."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding import cost
from tfrs_dhe.mach.decoding.high_values import group_maxima, high_values, level
from tfrs_dhe.mach.decoding.inverse_lists import InverseLists, partner
from tfrs_dhe.mach.decoding.pair_bound import PairBound
from tfrs_dhe.mach.decoding.pair_listing import Wanted, find, plan
from tfrs_dhe.mach.decoding.partners import Partners
from tfrs_dhe.mach.decoding.scoring import Answer, first_k, score_classes
from tfrs_dhe.mach.decoding.sizes import Size, at_least, size

#: Rounds of a search before all classes are scored.
MAX_ROUNDS = 4
#: A better T makes the rest of a search shorter, but rarely more than so many times.
HOPE = 2


class Search(NamedTuple):
    """What is known after some rounds.

    Attributes:
      rounds: tf.int32, how many.
      spent: tf.int64, what they cost, in entries.
      score: T, tf.float32: k classes have this score or a higher one.
      scored: tf.int32 [s], the classes scored so far, each once.
      scores: tf.float32 [s], of these.
      proven: tf.bool, whether the top k is among them.
      promising: tf.bool; False if more would have to be read than is worth it.
    """

    rounds: tf.Tensor
    spent: tf.Tensor
    score: tf.Tensor
    scored: tf.Tensor
    scores: tf.Tensor
    proven: tf.Tensor
    promising: tf.Tensor


def search_pairs(
    values: tf.Tensor,
    buckets: tf.Tensor,
    lists: InverseLists,
    k: Size,
    aggregation: str,
    max_entries: tf.Tensor,
    partner_buckets: tf.Tensor | None = None,
) -> Answer:
    """Returns the top k of one query, if it can be proven with so many entries.

    A round scores the classes with a pair of buckets that together reach thresholds.
    With k classes known there is a score T that the top k reach, and `PairBound` says
    which thresholds they need for it. If those of the round were no higher, it has
    scored every class that can be in the top k. Else the next round takes the ones
    that T allows, but none so low that it would look at more than some times as many
    buckets: from those a better T is to be had first.

    Args:
      values: tf.float32 [R, B].
      buckets: Integers [R, K].
      lists: The classes of every bucket.
      k: From 1 to K.
      aggregation: `"mean_log_probability"` or `"mean_logit"`.
      max_entries: tf.int64, what the search may cost, in entries that are read. Scoring
        comes on top of it, for half as much at most.
      partner_buckets: Integers [R, K], those of `lists`, or None.
    """
    num_repetitions, num_buckets = values.shape
    bound = PairBound(values, aggregation)
    first = cost.first_of_pairs(k, num_buckets)
    # No more of a bucket's partners are worth looking up than make it read as much.
    average_size = size(buckets, 1) // num_buckets
    num_looked_up = average_size // cost.ENTRIES_PER_LOOKUP + 1
    maxima = group_maxima(bound.comparable(), at_least(first, num_looked_up))

    def thresholds_for(number: Size) -> tf.Tensor:
        """Returns those that so many values of a repetition reach in the mean."""
        found = level(maxima, num_repetitions * number)
        return tf.cast(found, tf.float64) + bound.shifts

    partners = Partners(buckets, lists.members, partner_buckets)
    floors = tf.cast(thresholds_for(num_looked_up), tf.float32)
    to_look_up = high_values(values, floors, num_looked_up)
    max_scored = tf.cast(max_entries // (2 * cost.ENTRIES_PER_CLASS), tf.int32)

    def worth_going_on(needed: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
        """Whether few enough buckets are left, or T may still rise a lot."""
        reaching = values >= round_down(needed)[:, tf.newaxis]
        entries = tf.math.count_nonzero(reaching) * tf.cast(average_size, tf.int64)
        return (entries <= HOPE * max_entries) | (score == float("-inf"))

    def next_round(last: Search) -> tuple[Search]:
        highest = thresholds_for(first * cost.GROWTH**last.rounds)
        used = tf.maximum(bound.thresholds(last.score), highest)
        wanted = two_that_reach(values, used)
        reading = plan(wanted, lists, to_look_up)
        spent = last.spent + reading.entries
        affordable = spent <= max_entries
        found = find(wanted, reading, affordable, values, lists, partners, to_look_up)
        classes, _ = tf.unique(tf.concat([last.scored, found], axis=0))
        all_scored = tf.size(classes) <= max_scored
        classes = classes[:max_scored]
        scores = score_classes(values, buckets, classes, aggregation)
        spent += cost.ENTRIES_PER_CLASS * tf.size(classes, tf.int64)
        score = first_k(scores, classes, k)[0][-1]
        needed = bound.thresholds(score)
        enough = tf.reduce_all(used <= needed)
        proven = affordable & all_scored & enough
        promising = (
            affordable
            & all_scored
            & tf.cond(
                proven, lambda: tf.constant(True), lambda: worth_going_on(needed, score)
            )
        )
        rounds = last.rounds + 1
        return (Search(rounds, spent, score, classes, scores, proven, promising),)

    nothing = Search(
        rounds=tf.constant(0),
        spent=tf.constant(0, tf.int64),
        score=tf.constant(float("-inf")),
        scored=tf.zeros([0], tf.int32),
        scores=tf.zeros([0]),
        proven=tf.constant(False),
        promising=tf.constant(True),
    )
    shapes = tf.nest.map_structure(
        lambda x: tf.TensorShape([None] * x.shape.rank), nothing
    )
    (found,) = tf.while_loop(
        lambda last: last.promising & ~last.proven & (last.rounds < MAX_ROUNDS),
        next_round,
        (nothing,),
        shape_invariants=(shapes,),
    )
    # In the order of the classes, so that ties are resolved as everywhere.
    order = tf.argsort(found.scored)
    return Answer(
        *first_k(tf.gather(found.scores, order), tf.gather(found.scored, order), k),
        num_scored=tf.size(found.scored),
        proven=found.proven & (tf.size(found.scored) >= k),
    )


def two_that_reach(values: tf.Tensor, thresholds: tf.Tensor) -> Wanted:
    """Returns those whose values in a pair together reach its thresholds [R].

    One of the two reaches its own threshold, and the other one has the rest. The last
    repetition of an odd number is its own partner: where its value reaches the
    threshold, that is at least the rest.
    """
    places = tf.where(values >= round_down(thresholds)[:, tf.newaxis])
    repetitions = places[:, 0]
    of_buckets = tf.gather_nd(values, places)
    thresholds_there = tf.gather(thresholds, repetitions)
    of_partners = tf.gather(thresholds, partner(repetitions, values.shape[0]))
    rest = thresholds_there + of_partners - tf.cast(of_buckets, tf.float64)
    # A value of -inf reaches thresholds of -inf alone, where anything is wanted.
    rest = tf.where(of_buckets > float("-inf"), rest, float("-inf"))
    return Wanted(repetitions, places[:, 1], round_down(rest))


def round_down(numbers: tf.Tensor) -> tf.Tensor:
    """Returns numbers of float32 not above those of float64."""
    rounded = tf.cast(numbers, tf.float32)
    return rounded - tf.abs(rounded) * 2.0**-23 - 2.0**-125
