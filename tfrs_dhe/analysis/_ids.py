"""Ids from wherever users have them, as 64-bit keys, chunk by chunk."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers.factorized_top_k import _identifiers

#: Occurrences that are handled at a time: sorting a chunk costs the same whether the
#: data set has large batches or single ids.
CHUNK_SIZE = 2**16


def chunks(
    ids: Any, mask_value: str | int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields keys and ids, about `CHUNK_SIZE` at a time.

    Args:
      ids: A `tf.data.Dataset` of ids or batches of any shape, dense or ragged; or a
        tensor, array or list of ids.
      mask_value: An id that pads lists and is left out.

    Yields:
      int64 [n] and the ids [n] as they are, bytes or integers.

    Raises:
      ValueError: If elements are not ids, or ids neither strings nor integers.
    """
    batches = ids if isinstance(ids, tf.data.Dataset) else [ids]
    if isinstance(ids, tf.data.Dataset) and _has_single_ids(ids):
        # A step of Python for each id would take most of the time.
        batches = ids.batch(CHUNK_SIZE)
    held: list[np.ndarray] = []
    size = 0
    for batch in batches:
        flat = _flat(batch, mask_value)
        held.append(flat)
        size += len(flat)
        if size >= CHUNK_SIZE:
            yield from _cut(np.concatenate(held))
            held, size = [], 0
    if size:
        yield from _cut(np.concatenate(held))


def tensor(name: str, ids: Any) -> tf.Tensor:
    """Returns ids [n] as a tensor, Python's integers as int64.

    Raises:
      ValueError: If they are not one list of strings or integers.
    """
    ids = _identifiers.as_tensor(name, ids)
    if ids.shape.rank != 1 or not len(ids):
        raise ValueError(
            f"`{name}` must be a list of at least one id. Received shape {ids.shape}."
        )
    return ids


def _cut(flat: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(flat), CHUNK_SIZE):
        part = flat[start : start + CHUNK_SIZE]
        keys: np.ndarray = hashing.int64_keys(tf.convert_to_tensor(part)).numpy()
        yield keys, part


def _has_single_ids(ids: tf.data.Dataset) -> bool:
    spec = ids.element_spec
    return isinstance(spec, tf.TensorSpec) and spec.shape.rank == 0


def _flat(batch: Any, mask_value: str | int | None) -> np.ndarray:
    if isinstance(batch, dict | tuple):
        raise ValueError(
            "`ids` as a data set must yield ids, single ones or batches. Received "
            f"elements of type {type(batch).__name__}; choose the feature by `map`."
        )
    if isinstance(batch, tf.RaggedTensor):
        batch = batch.flat_values
    flat: np.ndarray = _identifiers.as_tensor("ids", batch).numpy().reshape(-1)
    if mask_value is None:
        return flat
    if isinstance(mask_value, str) != (flat.dtype == object):
        raise ValueError(
            "`mask_value` must be of the type of the ids, strings or integers. "
            f"Received: {mask_value!r} for ids of dtype {flat.dtype}."
        )
    masked = mask_value.encode() if isinstance(mask_value, str) else mask_value
    return flat[flat != masked]


def plain(identifier: Any) -> Any:
    """Returns an id of an array as Python has it: bytes or an integer."""
    return identifier.item() if isinstance(identifier, np.generic) else identifier


def check_finite(name: str, embeddings: np.ndarray) -> None:
    """Raises a ValueError if embeddings [n, d] are not finite.

    Those of a training that diverged have no cosines, but an order all the same.
    """
    bad = np.count_nonzero(~np.isfinite(embeddings).all(axis=1))
    if bad:
        raise ValueError(
            f"`{name}` must give finite embeddings. Received {bad} of "
            f"{len(embeddings)} that are not; see whether the training diverged."
        )
