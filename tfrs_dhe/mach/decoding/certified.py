"""The top k by scoring only the classes that can be in it."""

import tensorflow as tf

from tfrs_dhe.mach.decoding.inverse_lists import InverseLists
from tfrs_dhe.mach.decoding.pair_search import search_pairs
from tfrs_dhe.mach.decoding.result import TopK
from tfrs_dhe.mach.decoding.score_all import score_all
from tfrs_dhe.mach.decoding.scoring import Answer
from tfrs_dhe.mach.decoding.sizes import Size
from tfrs_dhe.mach.decoding.weighted_search import search_weighted

#: Sums of logarithms: a class needs two values that are no exceptions. Of
#: probabilities, one may be as much as all others, which a pair does not rule out.
BY_PAIRS = ("mean_log_probability", "mean_logit")


def certified(
    values: tf.Tensor,
    buckets: tf.Tensor,
    lists: InverseLists,
    k: Size,
    aggregation: str,
    max_entries: tf.Tensor,
    partner_buckets: tf.Tensor | None = None,
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
      partner_buckets: Integers [R, K], or None; where pairs are searched for.
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

    def search_one(of_query: tf.Tensor) -> Answer:
        arguments = of_query, buckets, lists, k, aggregation, max_entries
        if aggregation in BY_PAIRS:
            return search_pairs(*arguments, partner_buckets)
        return search_weighted(*arguments)

    def search_each() -> Answer:
        return tf.map_fn(
            search_one,
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
