"""`borrow_buckets`: a score for new classes before anything is trained on them."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe.layers.factorized_top_k import MACH, _identifiers


def borrow_buckets(index: Any, new_ids: Any, similar_ids: Any) -> MACH:
    """Scores new classes by buckets of trained classes that they are similar to.

    What a new class's own buckets say is of other classes: chance. Until it is trained
    on, its bucket in repetition r is that of one of its similar classes, in turn: it is
    likely where they are likely. No weight changes, so other classes keep their scores;
    what is exact stays exact, and the buckets are saved with the index.

    With fewer similar classes than repetitions, some count more than once; with one,
    the new class has the score of that one for every query.

    After the next training on the new classes, give them their own buckets:
    `index.remove(new_ids).add(new_ids)`, or index anew.

    Example:
    >>> from tfrs_dhe.layers import MACHHead, factorized_top_k
    >>> head = MACHHead(num_buckets=50, num_repetitions=4)
    >>> index = factorized_top_k.MACH(head).index(["shoes", "boots", "hat"])
    >>> index = borrow_buckets(index, ["sandals"], [["shoes", "boots"]])
    >>> len(index.identifiers())
    4

    Args:
      index: A `layers.factorized_top_k.MACH` with the similar classes.
      new_ids: Distinct strings or integers [n]; those that are in the index already
        change their buckets, the others are added.
      similar_ids: Trained classes for each of them [n, m], the most similar first.

    Returns:
      The index itself.

    Raises:
      ValueError: If a similar class is not in the index, or arguments do not fit.
    """
    if not isinstance(index, MACH):
        raise ValueError(
            f"`index` must be a layers.factorized_top_k.MACH. Received: {index!r}."
        )
    present = index.identifiers()
    new = _identifiers.as_list("new_ids", new_ids, present.dtype)
    similar = _identifiers.as_tensor("similar_ids", similar_ids, present.dtype)
    if similar.shape.rank != 2 or similar.shape[0] != len(new) or not similar.shape[1]:
        raise ValueError(
            "`similar_ids` must have at least one class for each of the new ones, of "
            f"shape [{len(new)}, m]. Received shape {similar.shape}."
        )
    distinct, numbers = tf.unique(tf.reshape(similar, [-1]))
    places = _identifiers.positions(present, distinct)
    if (places < 0).any():
        absent = tf.boolean_mask(distinct, places < 0)
        raise ValueError(
            "`similar_ids` must be in the index. Received some that are not: "
            f"{_identifiers.named(absent)}."
        )
    sources = places[numbers.numpy()].reshape(similar.shape)
    table = index._tables.buckets.numpy()
    borrowed = np.stack(
        [row[sources[:, r % sources.shape[1]]] for r, row in enumerate(table)]
    )
    at = _identifiers.positions(present, new)
    is_added = at < 0
    at[is_added] = len(present) + np.arange(is_added.sum())
    table = np.concatenate([table, borrowed[:, is_added]], axis=1)
    table[:, at] = borrowed
    identifiers = tf.concat([present, tf.boolean_mask(new, is_added)], axis=0)
    index._tables.assign(identifiers, table, index._watch.number())
    return index
