"""Ids of any shape as a list of rows for a network, and embeddings back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfrs_dhe import hashing


@dataclass(frozen=True)
class Rows:
    """Ids laid out as one row each.

    Attributes:
      keys: tf.int64 [n].
      weights: tf.float32 [n], how often a row counts in batch statistics, or
        None if each counts once.
      restore: From embeddings [n, d] to [..., d] in the shape of the ids.
    """

    keys: tf.Tensor
    weights: tf.Tensor | None
    restore: Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class FlatIds:
    """Ids in a list.

    Attributes:
      ids: Strings or integers [n].
      restore: From embeddings [n, d] to [..., d] in the shape of the ids.
    """

    ids: tf.Tensor
    restore: Callable[[tf.Tensor], tf.Tensor]


def as_id_tensor(ids: Any) -> tf.Tensor | tf.RaggedTensor:
    """Returns ids as a tensor, dense or ragged; raises a ValueError for others."""
    if ids is None or isinstance(ids, tf.SparseTensor | Mapping):
        raise ValueError(
            f"`ids` must be a tensor of strings or integers. Received: {ids!r}. "
            "`tf.RaggedTensor.from_sparse` makes a sparse one ragged, and "
            "DeepHashEmbeddingCollection embeds a dict of features."
        )
    return ids if isinstance(ids, tf.RaggedTensor) else tf.convert_to_tensor(ids)


def flatten(ids: tf.Tensor | tf.RaggedTensor) -> FlatIds:
    """Returns ids [...], dense or ragged, as a list."""
    if isinstance(ids, tf.RaggedTensor):
        flat = flatten(ids.flat_values)
        return FlatIds(
            flat.ids,
            lambda embeddings: ids.with_flat_values(flat.restore(embeddings)),
        )
    is_list = ids.shape.rank == 1

    def restore(embeddings: tf.Tensor) -> tf.Tensor:
        width = embeddings.shape[-1]
        if not is_list:
            shape = tf.concat([tf.shape(ids), [width]], axis=0)
            embeddings = tf.reshape(embeddings, shape)
        embeddings.set_shape(ids.shape.concatenate(width))
        return embeddings

    return FlatIds(ids if is_list else tf.reshape(ids, [-1]), restore)


def rows_of(
    ids: tf.Tensor | tf.RaggedTensor,
    mask: tf.Tensor | tf.RaggedTensor | None = None,
    deduplicate: bool = False,
) -> Rows:
    """Lays out ids as rows.

    Args:
      ids: Strings or integers [...], dense or ragged.
      mask: tf.bool [...], false for padding; None if there is none.
      deduplicate: Whether equal ids share one row, with their number as weight.

    Returns:
      The rows.

    Raises:
      ValueError: If the mask does not have the shape of the ids.
    """
    flat = flatten(ids)
    keys = hashing.int64_keys(flat.ids)
    weights = None if mask is None else tf.cast(flat_mask(ids, mask), tf.float32)
    if not deduplicate:
        return Rows(keys, weights, flat.restore)
    keys, positions = tf.unique(keys)
    if weights is None:
        weights = tf.ones(tf.shape(positions), tf.float32)
    weights = tf.math.unsorted_segment_sum(weights, positions, tf.size(keys))
    return Rows(
        keys,
        weights,
        lambda embeddings: flat.restore(tf.gather(embeddings, positions)),
    )


def flat_mask(
    ids: tf.Tensor | tf.RaggedTensor, mask: tf.Tensor | tf.RaggedTensor
) -> tf.Tensor:
    """Returns a mask of ids [...], dense or ragged, as a list, tf.bool [n].

    Raises:
      ValueError: If the mask does not have the shape of the ids.
    """
    _check_mask(ids, mask)
    values = mask.flat_values if isinstance(mask, tf.RaggedTensor) else mask
    return tf.cast(tf.reshape(values, [-1]), tf.bool)


def _check_mask(
    ids: tf.Tensor | tf.RaggedTensor, mask: tf.Tensor | tf.RaggedTensor
) -> None:
    same_kind = isinstance(ids, tf.RaggedTensor) == isinstance(mask, tf.RaggedTensor)
    mask_shape = tf.TensorShape(mask.shape)
    if not same_kind or not ids.shape.is_compatible_with(mask_shape):
        raise ValueError(
            "`mask` must have the shape of the ids, and be ragged if they are. "
            f"Received: {type(mask).__name__} of shape {mask_shape} for ids "
            f"{type(ids).__name__} of shape {ids.shape}."
        )
