"""Stand-in for the decoder: scores every class at once."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import mach

METHODS = ("auto", "score_all", "certified")


def build_inverse_lists(buckets: Any, num_buckets: int) -> Any:
    """Returns members [R, K] and offsets [R, B + 1]."""
    buckets = np.asarray(buckets)
    members = np.empty(buckets.shape, np.int32)
    offsets = np.zeros((len(buckets), num_buckets + 1), np.int32)
    for r, row in enumerate(buckets):
        members[r] = np.argsort(row, kind="stable")
        offsets[r, 1:] = np.cumsum(np.bincount(row, minlength=num_buckets))
    return members, offsets


def top_k(
    values: Any,
    buckets: Any,
    members: Any,
    offsets: Any,
    k: Any,
    aggregation: str,
    num_buckets: int,
    method: str = "auto",
) -> Any:
    """Returns scores [Q, k], classes [Q, k] and how many were scored [Q]."""
    columns = tf.transpose(tf.cast(buckets, tf.int32))
    scores = mach.class_scores(values, columns, aggregation)
    num_classes = tf.shape(scores)[1]
    scores, classes = tf.math.top_k(scores, tf.minimum(k, num_classes))
    return scores, classes, tf.fill([tf.shape(scores)[0]], num_classes)
