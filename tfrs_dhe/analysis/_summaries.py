"""Scalars and histograms for TensorBoard, written without it.

`tf.summary.scalar` and `tf.summary.histogram` need the package tensorboard to write;
`tf.summary.write`, with the name of the plugin that shows a value, does not.
"""

from typing import Any

import numpy as np
import tensorflow as tf

_NUM_BINS = 30
#: DATA_CLASS_SCALAR and DATA_CLASS_TENSOR of summary.proto.
_SCALAR, _TENSOR = 1, 2


def scalar(name: str, value: Any) -> None:
    """Writes a number to the default writer at its default step."""
    _write(name, np.array(value, np.float32), "scalars", _SCALAR)


def histogram(name: str, values: Any) -> None:
    """Writes the histogram of numbers of any shape to the default writer.

    TensorBoard takes float64 [bins, 3]: the edges of each bin and its count. Numbers
    that are not finite, as of a training that diverged, are in no bin; how many they
    are is a number of its own, `NAME/not_finite`.
    """
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    if finite.size < values.size:
        scalar(f"{name}/not_finite", values.size - finite.size)
    counts, edges = np.histogram(finite, _NUM_BINS)
    rows = np.stack([edges[:-1], edges[1:], counts.astype(np.float64)], axis=1)
    _write(name, rows, "histograms", _TENSOR)


def _write(name: str, value: np.ndarray, plugin: str, data_class: int) -> None:
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin),
        data_class=data_class,
    )
    tf.summary.write(name, tf.constant(value), metadata=metadata)
