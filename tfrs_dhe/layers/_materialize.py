"""From a trained layer and ids to rows."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import _arguments, _compact_rows
from tfrs_dhe.layers._inference_form import InferenceDeepHashEmbedding
from tfrs_dhe.layers._keyed_rows import keys_of
from tfrs_dhe.layers._rows import as_id_tensor, flatten
from tfrs_dhe.layers._side_features import side_feature_rows
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.layers.factorized_top_k import _identifiers
from tfrs_dhe.layers.materialized_embedding import MaterializedEmbedding


def materialize(
    layer: DeepHashEmbedding,
    ids: Any,
    dtype: str,
    batch_size: int,
    key_index: str,
    side_features: Any = None,
) -> MaterializedEmbedding:
    """Returns a layer that has a row for each of the ids.

    Args:
      layer: A layer that is built.
      ids: Strings or integers, of any shape.
      dtype: Of the rows.
      batch_size: How many rows are computed at a time.
      key_index: What finds them.
      side_features: Those of the ids, [..., s], if the layer has some.

    Returns:
      The layer.

    Raises:
      ValueError: As `DeepHashEmbedding.materialize`.
    """
    _arguments.check_one_of("dtype", dtype, _compact_rows.ROW_DTYPES)
    _arguments.check_positive_integer("batch_size", batch_size)
    network = layer.inference_form()
    if not isinstance(ids, tf.RaggedTensor):
        ids = _identifiers.as_tensor("ids", as_id_tensor(ids))
    flat_ids = flatten(ids).ids
    if not len(flat_ids):
        raise ValueError("`ids` must be at least one. Received none.")
    features = _feature_rows(network, ids, side_features)
    string_ids = flat_ids.dtype == tf.string
    if not string_ids:
        # A narrower type than that of the requests may not hold the padding.
        flat_ids = hashing.int64_keys(flat_ids)
    if layer.mask_value is not None:  # which all lists look up
        padding = _padding(layer.mask_value, flat_ids.dtype)
        if not tf.reduce_any(flat_ids == padding):
            flat_ids = tf.concat([flat_ids, [padding]], axis=0)
            features = np.pad(features, [(0, 1), (0, 0)])
    keys, first, inverse = np.unique(
        keys_of(flat_ids), return_index=True, return_inverse=True
    )
    _check_equal(flat_ids, features, first[inverse])
    network_keys = hashing.int64_keys(flat_ids).numpy()[first]
    rows = _rows(network, network_keys, features[first], dtype, batch_size)
    return served(layer, network, keys, rows, dtype, key_index, string_ids)


def served(
    layer: Any,
    network: InferenceDeepHashEmbedding,
    keys: np.ndarray,
    rows: _compact_rows.CompactRows,
    dtype: str,
    key_index: str,
    string_ids: bool,
    trained_rows: bool = False,
) -> MaterializedEmbedding:
    """Returns a layer of rows and of the network for other ids.

    Args:
      layer: That they are of, which gives its name and its dtype.
      network: For ids that have no row.
      keys: int64 [n], ascending.
      rows: Theirs.
      dtype: What these have been rounded to.
      key_index: What finds them.
      string_ids: Whether the ids they are of are strings.
      trained_rows: Whether they are no outputs of the network.
    """
    materialized = MaterializedEmbedding(
        network,
        num_rows=len(keys),
        row_dtype=dtype,
        key_index=key_index,
        num_side_features=network.num_side_features,
        string_ids=string_ids,
        trained_rows=trained_rows,
        name=layer.name,
        dtype=layer.dtype_policy,
    )
    materialized.assign(keys, rows)
    return materialized


def _padding(mask_value: str | int, dtype: tf.DType) -> tf.Tensor:
    """Returns the id that pads lists."""
    if isinstance(mask_value, str) != (dtype == tf.string):
        kind = "strings" if isinstance(mask_value, str) else "integers"
        raise ValueError(
            f"`ids` must be {kind}, as the `mask_value` of the layer is, "
            f"{mask_value!r}. Received dtype {dtype.name}."
        )
    return tf.constant(mask_value, dtype)


def _feature_rows(
    network: InferenceDeepHashEmbedding, ids: Any, side_features: Any
) -> np.ndarray:
    """Returns side features of ids [n, s]; s is 0 for a network that has none."""
    expected = network.num_side_features
    if side_features is None:
        rows = np.zeros([len(flatten(ids).ids), 0], np.float32)
    else:
        rows = side_feature_rows(side_features, ids, "float32").numpy()
    if rows.shape[1] != expected:
        raise ValueError(
            f"`side_features` must be the {expected} numbers per id that the layer was "
            f"built with, for its embeddings depend on them. Received: {rows.shape[1]}."
        )
    return rows


def _check_equal(ids: tf.Tensor, features: np.ndarray, first: np.ndarray) -> None:
    """Checks that features are those of the first occurrence [n] of each id."""
    different = np.flatnonzero(np.any(features != features[first], axis=1))
    if len(different):
        raise ValueError(
            "`side_features` must be equal wherever an id occurs more than once, as it "
            f"has one row. They differ for {ids[different[0]].numpy()!r}."
        )


def _rows(
    network: InferenceDeepHashEmbedding,
    keys: np.ndarray,
    features: np.ndarray,
    dtype: str,
    batch_size: int,
) -> _compact_rows.CompactRows:
    batches = []
    for start in range(0, len(keys), batch_size):
        part = slice(start, start + batch_size)
        rows = network.embed_keys(tf.constant(keys[part]), features[part])
        batches.append(_compact_rows.compact(_float32(rows), dtype))
    values = np.concatenate([batch.values for batch in batches])
    if batches[0].scales is None:
        return _compact_rows.CompactRows(values, None)
    return _compact_rows.CompactRows(
        values, np.concatenate([batch.scales for batch in batches])
    )


def _float32(embeddings: tf.Tensor) -> np.ndarray:
    return tf.cast(embeddings, tf.float32).numpy()
