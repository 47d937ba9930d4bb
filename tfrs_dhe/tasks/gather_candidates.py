"""The candidates of all replicas as negatives, under `tf.distribute`."""

from typing import Any

import tensorflow as tf


def gather_candidates(candidates: Any) -> Any:
    """Returns the candidates of every replica, those of this replica first.

    With in-batch negatives, an example is trained against the other items of its
    batch. Under `tf.distribute` a replica sees its part of the batch alone, so two
    replicas have half the negatives and another loss than one device has at the same
    global batch. Gathered, the loss and its gradients are those of one device. It is
    for `tfrs.tasks.Retrieval`, and for `MACHRetrieval` with `objective="in_batch"`,
    which both take the true candidates first and further negatives after them:

    ```python
    def compute_loss(self, features, training=False):
        queries = self.user_model(features["user_id"], training=training)
        candidates = self.movie_model(features["movie_id"], training=training)
        if training:
            candidates = tfrs_dhe.tasks.gather_candidates(candidates)
        return self.task(queries, candidates, compute_metrics=not training)
    ```

    Outside of `Strategy.run`, and where a step has one replica, candidates are
    returned as they are. Replicas may have different numbers of them.

    Example:
    >>> gather_candidates(tf.constant([5, 7])).numpy().tolist()
    [5, 7]

    Args:
      candidates: Numbers [n, ...], such as embeddings, integer ids or sampling
        probabilities, or a list, tuple or dict of them, in the same order on all
        replicas.

    Returns:
      Numbers [total n, ...] in the structure of `candidates`.

    Raises:
      ValueError: If there is a tensor of strings, which replicas cannot exchange, or
        a scalar.
    """
    tensors = [tf.convert_to_tensor(x) for x in tf.nest.flatten(candidates)]
    for tensor in tensors:
        if tensor.dtype == tf.string:
            raise ValueError(
                "`candidates` must be numbers, which replicas can exchange. Received "
                "strings; hash them, with `tfrs_dhe.hashing.int64_keys`: a key has the "
                "embedding and the buckets of its string."
            )
        if tensor.shape.rank == 0:
            raise ValueError(
                "`candidates` must have the shape [n, ...]. Received a scalar."
            )
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        tensors = [_own_rows_first(context, tensor) for tensor in tensors]
    return tf.nest.pack_sequence_as(candidates, tensors)


def _own_rows_first(
    context: tf.distribute.ReplicaContext, rows: tf.Tensor
) -> tf.Tensor:
    counts = context.all_gather(tf.shape(rows)[:1], axis=0)
    before = tf.reduce_sum(counts[: context.replica_id_in_sync_group])
    return tf.roll(context.all_gather(rows, axis=0), -before, axis=0)
