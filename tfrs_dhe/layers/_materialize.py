"""From a trained layer and ids to rows."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import _arguments, _compact_rows, _key_map
from tfrs_dhe.layers._inference_form import InferenceDeepHashEmbedding
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.layers.factorized_top_k import _identifiers
from tfrs_dhe.layers.materialized_embedding import MaterializedEmbedding


def materialize(
    layer: DeepHashEmbedding, ids: Any, dtype: str, batch_size: int
) -> MaterializedEmbedding:
    """Returns a layer that has a row for each of the ids.

    Args:
      layer: A layer that is built.
      ids: Strings or integers, of any shape.
      dtype: Of the rows.
      batch_size: How many rows are computed at a time.

    Returns:
      The layer.

    Raises:
      ValueError: As `DeepHashEmbedding.materialize`.
    """
    _arguments.check_one_of("dtype", dtype, _compact_rows.ROW_DTYPES)
    _arguments.check_positive_integer("batch_size", batch_size)
    network = layer.inference_form()
    num_side_features = network.network.input_dim - network.encoding.num_hashes
    if num_side_features:
        raise ValueError(
            "`materialize` computes a row from an id alone, and this layer was built "
            f"with {num_side_features} side features, on which its embeddings depend. "
            "Serve its `inference_form()`."
        )
    keys = _distinct_keys(ids, layer.mask_value)
    key_map = _key_map.build(keys)
    materialized = MaterializedEmbedding(
        network,
        num_rows=len(keys),
        row_dtype=dtype,
        num_key_bits=key_map.shape.num_bits,
        key_span=key_map.shape.span,
        name=layer.name,
        dtype=layer.dtype_policy,
    )
    materialized.assign(key_map, _rows(network, keys[key_map.order], dtype, batch_size))
    return materialized


def _distinct_keys(ids: Any, mask_value: str | int | None) -> np.ndarray:
    """Returns the keys of ids, and that of padding, which all lists look up."""
    if isinstance(ids, tf.RaggedTensor):
        ids = ids.flat_values
    if ids is not None:
        ids = _identifiers.as_tensor("ids", ids)
    keys = hashing.int64_keys(ids).numpy().reshape(-1)
    if not len(keys):
        raise ValueError("`ids` must be at least one. Received none.")
    if mask_value is not None:
        padding = hashing.int64_keys(np.asarray([mask_value])).numpy()
        keys = np.concatenate([keys, padding])
    return np.unique(keys)


def _rows(
    network: InferenceDeepHashEmbedding, keys: np.ndarray, dtype: str, batch_size: int
) -> _compact_rows.CompactRows:
    batches = [
        _compact_rows.compact(
            _float32(network.embed_keys(tf.constant(keys[i : i + batch_size]))), dtype
        )
        for i in range(0, len(keys), batch_size)
    ]
    values = np.concatenate([batch.values for batch in batches])
    if batches[0].scales is None:
        return _compact_rows.CompactRows(values, None)
    return _compact_rows.CompactRows(
        values, np.concatenate([batch.scales for batch in batches])
    )


def _float32(embeddings: tf.Tensor) -> np.ndarray:
    return tf.cast(embeddings, tf.float32).numpy()
