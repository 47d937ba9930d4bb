"""The exact top k of all classes, by the cheaper of two ways."""

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

from tfrs_dhe.mach import aggregation as aggregations
from tfrs_dhe.mach.decoding import arguments, cost
from tfrs_dhe.mach.decoding.certified import BY_PAIRS, certified
from tfrs_dhe.mach.decoding.inverse_lists import InverseLists
from tfrs_dhe.mach.decoding.result import TopK
from tfrs_dhe.mach.decoding.score_all import score_all
from tfrs_dhe.mach.decoding.sizes import size

METHODS = ("auto", "score_all", "certified")

Table: TypeAlias = "tf.Tensor | tf.Variable"


# AutoGraph has nothing to convert here, and takes seconds to find that out.
@tf.autograph.experimental.do_not_convert
def top_k(
    values: tf.Tensor,
    buckets: Table,
    k: int | tf.Tensor,
    aggregation: str,
    *,
    inverse_lists: InverseLists | Sequence[Table] | None = None,
    partner_buckets: "Table | None" = None,
    method: str = "auto",
    chunk_size: int | None = None,
    max_entries: int | None = None,
    parallel_iterations: int = 2,
) -> TopK:
    """Returns the k classes with the highest scores, exactly.

    `"score_all"` scores every class, for all queries at once and in chunks: memory
    is the table's and that of a chunk, whatever K. It needs no inverse lists and
    compiles under XLA.

    `"certified"` takes one query after the other. It reads the classes of the best
    buckets, scores the most promising ones, and with the k-th best score T knows which
    buckets a class must have some of to reach T: no others can be in the top k. For
    means of logarithms that are two buckets of a pair of repetitions.
    It answers with the same classes and scores, bit by bit. Where so many classes would
    have to be read that scoring all is cheaper, as for flat values, all are scored.
    Memory is that of what is read.

    `"auto"` takes the one that should cost less for so many queries, classes and k,
    by constants measured in `benchmarks/speed/mach_decoding.py`; with no inverse
    lists the first.

    Ties are in the order of the classes. The scores are those of
    `tfrs_dhe.mach.combine`; under XLA their last bit may differ.

    Example:
    >>> buckets = tf.constant([[0, 0, 1, 1], [0, 1, 0, 1]])
    >>> values = tf.constant([[[0.7, 0.3], [0.4, 0.6]]])
    >>> top = top_k(values, buckets, 2, "min")
    >>> top.classes.numpy().tolist()
    [[1, 0]]

    Args:
      values: tf.float32 [Q, R, B], from `tfrs_dhe.mach.bucket_values`. Q may be
        unknown or 0. -inf is a value as any.
      buckets: Integers [R, K], tensor or variable: the bucket of every class. K may
        be unknown.
      k: Number or tensor, from 1 to K.
      aggregation: One of `tfrs_dhe.mach.aggregation.AGGREGATIONS`.
      inverse_lists: What `build_inverse_lists` returns for `buckets`, or tensors or
        variables `(members, offsets)` that hold it.
      partner_buckets: What the function of this name returns for them. Not needed;
        with it, `"certified"` is up to twice as fast for means of logarithms.
      method: `"auto"`, `"score_all"` or `"certified"`.
      chunk_size: Classes that `"score_all"` scores at a time, at least k. By default
        as many as keep the values of a chunk within 16 MB.
      max_entries: How many classes `"certified"` may list for a query, counted once
        for each of their buckets, before all are scored instead; to score one counts
        as eight. By default as many as cost the same.
      parallel_iterations: How many queries `"certified"` searches at a time.

    Returns:
      `TopK` of scores [Q, k], classes [Q, k] and num_scored [Q].

    Raises:
      ValueError: If an argument is not as described.
      tf.errors.InvalidArgumentError: When run, if k is not from 1 to K, or `values`
        has a NaN, inf, or a number near the end of float32 (XLA does not check
        values).

    References:
      Fagin, Lotem and Naor, "Optimal aggregation algorithms for middleware", 2003,
      for the idea of a threshold.
    """
    aggregations.check_aggregation(aggregation)
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: {method!r}.")
    if method == "certified" and inverse_lists is None:
        raise ValueError(
            'method="certified" needs `inverse_lists`; build them from `buckets` with '
            "`build_inverse_lists`."
        )
    for name, value in (("chunk_size", chunk_size), ("max_entries", max_entries)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {value!r}.")
    values = arguments.check_values(values)
    num_repetitions, num_buckets = values.shape[1:]
    buckets = arguments.check_buckets(buckets, num_repetitions)
    num_queries, num_classes = size(values, 0), size(buckets, 1)
    k = arguments.check_k(k, num_classes)
    checks = arguments.assert_k(k, num_classes) + arguments.assert_values(values)
    with tf.control_dependencies(checks):
        values = tf.identity(values)

    if method == "score_all" or inverse_lists is None:
        return score_all(values, buckets, k, aggregation, chunk_size)
    lists = arguments.check_lists(inverse_lists, buckets, num_buckets)
    partner_buckets, checks = arguments.check_partner_buckets(partner_buckets, buckets)
    with tf.control_dependencies(checks):
        values = tf.identity(values)
    # Searched by itself a query is compared with scoring for it alone, else with its
    # share in scoring for all.
    at_once = num_queries if method == "auto" else 1
    all_cost = cost.scoring(at_once, num_repetitions, num_classes)
    search_cost = cost.searching(
        num_repetitions, num_buckets, num_classes, k, pairs=aggregation in BY_PAIRS
    )
    return certified(
        values,
        buckets,
        lists,
        k,
        aggregation,
        max_entries=tf.cast(
            cost.worthwhile_entries(all_cost) if max_entries is None else max_entries,
            tf.int64,
        ),
        partner_buckets=partner_buckets,
        search_first=method == "certified" or search_cost < all_cost,
        chunk_size=chunk_size,
        parallel_iterations=parallel_iterations,
    )
