"""From a trained layer and ids to rows."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import _arguments, _compact_rows
from tfrs_dhe.layers._inference_form import InferenceDeepHashEmbedding
from tfrs_dhe.layers._keyed_rows import keys_of
from tfrs_dhe.layers._rows import as_id_tensor
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.layers.factorized_top_k import _identifiers
from tfrs_dhe.layers.materialized_embedding import MaterializedEmbedding


def materialize(
    layer: DeepHashEmbedding, ids: Any, dtype: str, batch_size: int, key_index: str
) -> MaterializedEmbedding:
    """Returns a layer that has a row for each of the ids.

    Args:
      layer: A layer that is built.
      ids: Strings or integers, of any shape.
      dtype: Of the rows.
      batch_size: How many rows are computed at a time.
      key_index: What finds them.

    Returns:
      The layer.

    Raises:
      ValueError: As `DeepHashEmbedding.materialize`.
    """
    _arguments.check_one_of("dtype", dtype, _compact_rows.ROW_DTYPES)
    _arguments.check_positive_integer("batch_size", batch_size)
    network = layer.inference_form()
    num_side_features = network.network.input_dim - network.encoding_dim
    if num_side_features:
        raise ValueError(
            "`materialize` computes a row from an id alone, and this layer was built "
            f"with {num_side_features} side features, on which its embeddings depend. "
            "Serve its `inference_form()`."
        )
    keys, network_keys = _distinct_keys(ids, layer.mask_value)
    materialized = MaterializedEmbedding(
        network,
        num_rows=len(keys),
        row_dtype=dtype,
        key_index=key_index,
        name=layer.name,
        dtype=layer.dtype_policy,
    )
    materialized.assign(keys, _rows(network, network_keys, dtype, batch_size))
    return materialized


def _distinct_keys(
    ids: Any, mask_value: str | int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys of ids, and of padding, which all lists look up.

    Returns:
      int64 [n], distinct: the keys in the map, and those that the network takes.
    """
    if isinstance(ids, tf.RaggedTensor):
        ids = ids.flat_values
    ids = tf.reshape(_identifiers.as_tensor("ids", as_id_tensor(ids)), [-1])
    if not len(ids):
        raise ValueError("`ids` must be at least one. Received none.")
    parts = [ids] if mask_value is None else [ids, tf.constant([mask_value])]
    keys = np.concatenate([keys_of(part) for part in parts])
    network_keys = np.concatenate([hashing.int64_keys(part) for part in parts])
    keys, first = np.unique(keys, return_index=True)
    return keys, network_keys[first]


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
