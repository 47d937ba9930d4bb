"""What comes with ragged ids or inputs, as a list."""

from typing import Any

import tensorflow as tf


def flat_values(
    name: str, value: Any, reference_name: str, reference: Any
) -> tf.Tensor:
    """Returns the flat values of a ragged tensor that goes with another one.

    Args:
      name: Of the argument.
      value: Ragged, with the row lengths of the reference.
      reference_name: What the reference is, for errors.
      reference: Ragged; either may have uniform inner dimensions that the other does
        not have.

    Raises:
      ValueError: If one is ragged and the other is not.
      InvalidArgumentError: When run, if the row lengths differ.
    """
    if not isinstance(reference, tf.RaggedTensor) or not isinstance(
        value, tf.RaggedTensor
    ):
        raise ValueError(
            f"`{name}` and {reference_name} must both be dense, or both ragged with "
            f"the same row lengths. Received: {reference_name} "
            f"{type(reference).__name__}, `{name}` {type(value).__name__} of shape "
            f"{getattr(value, 'shape', None)}."
        )
    message = f"`{name}` and {reference_name} have different row lengths."
    splits = zip(reference.nested_row_splits, value.nested_row_splits, strict=False)
    checks = [tf.debugging.assert_equal(a, b, message) for a, b in splits]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(value.flat_values)
