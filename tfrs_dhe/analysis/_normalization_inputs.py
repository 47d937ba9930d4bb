"""What comes into the normalizations of an embedding network in inference."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe.layers import _rows, _side_features
from tfrs_dhe.layers.embedding_network import ORDERS


def batches_of_inputs(
    layer: Any, ids: Any, side_features: Any
) -> Iterator[list[np.ndarray]]:
    """Yields what comes into each normalization, float64 [rows, units], by batches."""
    if isinstance(ids, tf.data.Dataset):
        paired = isinstance(ids.element_spec, tuple)
        batches = ids if paired else ((batch, None) for batch in ids)
    else:
        batches = [(ids, side_features)]
    for batch, features in batches:
        batch = _rows.as_id_tensor(batch)
        yield [
            np.asarray(rows, np.float64)
            for rows in normalization_inputs(layer, batch, features)
        ]


def normalization_inputs(
    layer: Any, ids: tf.Tensor, side_features: Any = None
) -> list[tf.Tensor]:
    """Returns the inputs of all normalizations in inference [rows, units]."""
    network = layer.network
    listed = _rows.rows_of(ids, layer.compute_id_mask(ids), False)
    rows = tf.cast(layer.encoding(listed.keys), layer.compute_dtype)
    if side_features is not None:
        features = _side_features.side_feature_rows(
            side_features, ids, layer.compute_dtype
        )
        rows = tf.concat([rows, features], axis=-1)
    if listed.weights is not None:
        # Padding counts in no statistics.
        rows = tf.boolean_mask(rows, listed.weights > 0)
    seen = []
    normalizes_first = network.order == ORDERS[0]
    for i in range(network.num_hidden_layers):
        rows = getattr(network, f"hidden_{i}")(rows)
        if not normalizes_first:
            rows = network.activation(rows)
        seen.append(rows)
        normalization = getattr(network, f"normalization_{i}", None)
        if normalization is not None:
            flags = {"training": False} if network.normalization == "batch" else {}
            rows = tf.cast(normalization(rows, **flags), network.compute_dtype)
        if normalizes_first:
            rows = network.activation(rows)
    return seen
