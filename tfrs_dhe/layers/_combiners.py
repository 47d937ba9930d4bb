"""Ways to make one embedding of an id's two rows."""

import tensorflow as tf

COMBINERS = ("sum", "multiply", "concat")


def row_width(output_dim: int, combiner: str) -> int:
    """Returns the width of the rows whose combination is `output_dim` wide.

    Raises:
      ValueError: If there is none.
    """
    if combiner != "concat":
        return output_dim
    if output_dim % 2:
        raise ValueError(
            "`output_dim` must be even for combiner='concat', which puts two rows "
            f"beside each other. Received: {output_dim}."
        )
    return output_dim // 2


def combine(rows: list[tf.Tensor], combiner: str) -> tf.Tensor:
    """Returns embeddings [n, output_dim] of two rows [n, row_width] each."""
    first, second = rows
    if combiner == "sum":
        return first + second
    if combiner == "multiply":
        return first * second
    return tf.concat(rows, axis=-1)
