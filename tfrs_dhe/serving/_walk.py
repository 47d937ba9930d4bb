"""All that a servable is made of."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras


def walk(root: Any, name: str = "servable") -> Iterator[tuple[str, Any]]:
    """Yields an object and everything that it tracks, each once, with its path.

    Args:
      root: A Keras layer or another trackable object.
      name: Its path.

    Yields:
      Paths such as `servable.query_model.encoding`, the same for every object that
      is made by the same code, and objects, those near the root first.
    """
    seen = {id(root)}
    found = [(name, root)]
    for path, item in found:
        yield path, item
        for child_name, child in _children(item):
            if id(child) not in seen:
                seen.add(id(child))
                found.append((f"{path}.{child_name}", child))


def _children(item: Any) -> Iterator[tuple[str, Any]]:
    # A list of layers from which one was removed has no checkpoint. Its layers are
    # among those of the layer that holds it.
    with contextlib.suppress(ValueError):
        yield from tf.train.TrackableView.children(item).items()
    if isinstance(item, keras.layers.Layer):
        # Those that Keras 3 holds in lists and TensorFlow does not see.
        layers = item._flatten_layers(include_self=False, recursive=False)
        for i, layer in enumerate(layers):
            yield f"layers[{i}]", layer
