"""Trainable tables of rows as weights of a layer."""

from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import is_legacy


def add_table(
    layer: Any,
    name: str,
    num_rows: int,
    width: int,
    initializer: Any,
    regularizer: Any = None,
) -> Any:
    """Returns a new trainable weight [num_rows, width] of a layer.

    Args:
      layer: The Keras layer that is built.
      name: Of the weight.
      num_rows: How many rows.
      width: Of a row.
      initializer: An initializer that no other weight shares.
      regularizer: A regularizer or None.
    """
    # Half precision would cast whole tables in every call.
    autocast = "experimental_autocast" if is_legacy else "autocast"
    return layer.add_weight(
        name=name,
        shape=(num_rows, width),
        initializer=initializer,
        regularizer=regularizer,
        **{autocast: False},
    )


def table_rows(table: Any, numbers: tf.Tensor, dtype: str) -> tf.Tensor:
    """Returns rows of a table by their numbers [n], of a dtype [n, width]."""
    variable = table if is_legacy else table.value
    return tf.cast(tf.gather(variable, numbers), dtype)
