"""Building a layer that is part of another one."""

from typing import Any

import tensorflow as tf


def named_after(part: Any) -> Any:
    """Returns a scope in which an inner layer is built by its `build`.

    Weights made in it have the layer's name in theirs, as those of a call have. The
    `.h5` files of legacy Keras take the weights of the outer layer by their names, of
    which none may be there twice.

    Args:
      part: The inner layer.
    """
    return tf.name_scope(part.name)
