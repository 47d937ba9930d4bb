"""Indexes that find the top k classes, where `tfrs.layers.factorized_top_k` is.

Example:
>>> from tfrs_dhe.layers import MACHHead
>>> index = MACH(MACHHead(num_buckets=20, num_repetitions=3), k=2)
>>> scores, identifiers = index.index([5, 6, 7])(tf.zeros([1, 4]))
>>> identifiers.numpy().tolist()  # All scores are equal.
[[5, 6]]
"""

from tfrs_dhe.layers.factorized_top_k.mach import MACH

__all__ = ["MACH"]
