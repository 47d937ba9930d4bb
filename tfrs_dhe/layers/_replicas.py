"""Sums over the replicas that `tf.distribute` trains at once."""

from collections.abc import Sequence

import tensorflow as tf


def sum_over_replicas(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the sums of what each replica has, the same on all of them.

    Gradients flow through the sums to every replica. Outside of `Strategy.run`, and
    where a step has one replica, values are returned as they are.

    Args:
      values: Tensors, of the same shapes on every replica.

    Returns:
      Tensors of these shapes.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return list(values)
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(values)))
