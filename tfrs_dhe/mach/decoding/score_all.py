"""The top k by scoring every class."""

import tensorflow as tf

from tfrs_dhe.mach import aggregation as aggregations
from tfrs_dhe.mach.decoding.result import TopK
from tfrs_dhe.mach.decoding.sizes import Size, at_least, at_most, size

#: Bucket values gathered at a time: 16 MB of them, which stay in the caches.
VALUES_PER_CHUNK = 2**22
#: Below this many classes a chunk costs more to start than to score.
MIN_CHUNK_SIZE = 256


def choose_chunk_size(
    num_queries: Size, num_repetitions: int, num_classes: Size, k: Size
) -> Size:
    """Returns how many classes to score at a time, from k to K."""
    row = num_repetitions * at_least(num_queries, 1)
    wanted = at_least(VALUES_PER_CHUNK // row, MIN_CHUNK_SIZE)
    return at_most(at_least(wanted, k), num_classes)


def merge(first: TopK, second: TopK, k: Size) -> TopK:
    """Returns the best of both; on ties, `first` is first.

    `tf.math.top_k` puts the smaller position first, so ties stay in the order of
    the classes if all classes of `first` are smaller than those of `second`.
    """
    scores = tf.concat([first.scores, second.scores], axis=1)
    classes = tf.concat([first.classes, second.classes], axis=1)
    scores, places = tf.math.top_k(scores, k)
    classes = tf.gather(classes, places, batch_dims=1)
    return TopK(scores, classes, first.num_scored + second.num_scored)


def score_all(
    values: tf.Tensor,
    buckets: tf.Tensor,
    k: Size,
    aggregation: str,
    chunk_size: int | None = None,
) -> TopK:
    """Returns the top k of all classes, scored chunk by chunk.

    Besides the table and the values, memory holds those of one chunk of classes and
    the best k so far: `Q (R chunk_size + 2 k)` numbers, whatever K.

    Args:
      values: tf.float32 [Q, R, B].
      buckets: Integers [R, K].
      k: From 1 to K.
      aggregation: One of `AGGREGATIONS`.
      chunk_size: Classes scored at a time, at least k. By default as many as keep
        the values of a chunk within 16 MB.

    Returns:
      `TopK`; `num_scored` is K.
    """
    num_queries, num_classes = size(values, 0), size(buckets, 1)
    num_repetitions, num_buckets = values.shape[1:]
    if chunk_size is None:
        chunk = choose_chunk_size(num_queries, num_repetitions, num_classes, k)
    else:
        chunk = at_most(at_least(chunk_size, k), num_classes)
    # [B, Q] for every repetition: a class takes one run of Q values from each. Cut
    # up out here, as a slice may copy.
    per_bucket = tf.unstack(tf.transpose(values, [1, 2, 0]))

    def best_of_chunk(start: Size, length: Size) -> TopK:
        rows = tf.unstack(tf.slice(buckets, [0, start], [num_repetitions, length]))
        of_classes = [
            tf.gather(repetition, tf.cast(row, tf.int32))
            for repetition, row in zip(per_bucket, rows, strict=True)
        ]
        scores = aggregations.combine(of_classes, aggregation, num_buckets)
        scores, places = tf.math.top_k(tf.transpose(scores), at_most(k, length))
        return TopK(scores, start + places, tf.fill([num_queries], length))

    def add_chunk(number: tf.Tensor, best: TopK) -> tuple[tf.Tensor, TopK]:
        return number + 1, merge(best, best_of_chunk(number * chunk, chunk), k)

    best = best_of_chunk(0, chunk)
    num_chunks = num_classes // chunk
    shape = tf.TensorShape([values.shape[0], k if isinstance(k, int) else None])
    _, best = tf.while_loop(
        lambda number, best: number < num_chunks,
        add_chunk,
        (tf.constant(1), best),
        shape_invariants=(tf.TensorShape([]), TopK(shape, shape, shape[:1])),
        # Chunks side by side would need room for the values of each.
        parallel_iterations=1,
    )
    done = num_chunks * chunk
    rest = num_classes - done
    if isinstance(rest, int) and rest == 0:
        return best
    return merge(best, best_of_chunk(done, rest), k)
