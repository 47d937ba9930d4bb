"""What a layer takes to serve, and its tables in fewer bits."""

import contextlib

import numpy as np
import tensorflow as tf

from tfrs_dhe.layers import DenseHashEncoding, _compact_rows

#: A dictionary's share of an id: a key of 64 bits in a sorted list, the smallest form
#: that rows are found by.
BYTES_PER_KEY = 8
#: Of a multiply-shift function: a, a' and b, of 64 bits. They are constants of a graph;
#: those of a layer that hashes a few times only are not counted.
BYTES_PER_HASH = 24
#: Rounded after training.
ROW_DTYPES = ("int8", "int4")


def num_keys(layer):
    """Returns how many ids the dictionary of a layer has, 0 if it has none."""
    parts = (layer, *layer.submodules)
    ids = sum(len(part.vocabulary) for part in parts if hasattr(part, "vocabulary"))
    return ids + sum(w.shape[0] for w in layer.weights if w.dtype == tf.int64)


def num_parameters(layer):
    """Returns how many numbers of a layer are learned; keys are not."""
    return sum(int(np.prod(w.shape)) for w in layer.weights if w.dtype != tf.int64)


def num_bytes(layer, row_dtype):
    """Returns the bytes of a layer as it is served.

    Args:
      layer: A layer that is built.
      row_dtype: Of tables; all else is float32.
    """
    total = num_keys(layer) * BYTES_PER_KEY
    for part in layer.submodules:
        if isinstance(part, DenseHashEncoding):
            total += part.num_hashes * BYTES_PER_HASH
    for weight in layer.weights:
        shape = weight.shape
        if weight.dtype == tf.int64:
            continue  # the keys of the dictionary
        if _is_table(weight):
            total += shape[0] * _compact_rows.bytes_per_row(shape[1], row_dtype)
        else:
            total += 4 * int(np.prod(shape))
    return total


@contextlib.contextmanager
def rounded(layers, row_dtype):
    """Rounds the tables of layers in place, and sets them back at the end."""
    tables = [w for layer in layers for w in layer.weights if _is_table(w)]
    exact = [table.numpy() for table in tables]
    for table, rows in zip(tables, exact, strict=True):
        compact = _compact_rows.compact(rows, row_dtype)
        scales = None if compact.scales is None else compact.scales[:, np.newaxis]
        restored = _compact_rows.restore(
            tf.constant(compact.values), scales, rows.shape[1], row_dtype, "float32"
        )
        table.assign(restored)
    yield
    for table, rows in zip(tables, exact, strict=True):
        table.assign(rows)


def _is_table(weight):
    return weight.shape.rank == 2 and "kernel" not in weight.name
