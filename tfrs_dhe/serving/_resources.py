"""What the functions of an export read: all of it, and nothing else, is saved."""

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import is_legacy, keras

#: A SavedModel keeps constants in its graph, which may not pass 2 GB.
_MAX_CONSTANT_BYTES = 2**30


def resources_of(functions: Mapping[str, Any], parts: Iterable[Any]) -> list[Any]:
    """Returns the variables and lookup tables that functions read, each once.

    A SavedModel that tracks these in place of the model has no optimizer, no metric
    and no functions of Keras's own. Variables are TensorFlow's, also under Keras 3,
    whose own a SavedModel would restore to another place than the functions read.

    Args:
      functions: Concrete functions by the names of the signatures.
      parts: All objects the servable is made of.

    Raises:
      ValueError: If a function reads something that no part has, so that nothing
        would fill it in a server, or has too large constants.
    """
    owners = {}
    for part in parts:
        part = variable_of(part)
        if isinstance(part, tf.Variable):
            owners[id(part.handle)] = part
        elif isinstance(part, tf.saved_model.experimental.TrackableResource):
            owners[id(part.resource_handle)] = part
    read: dict[int, Any] = {}
    for name, function in functions.items():
        # A variable need not be a part: the function knows it.
        owners |= {id(v.handle): v for v in function.graph.variables}
        num_bytes = 0
        for outside, inside in function.graph.captures:
            if outside.dtype not in (tf.resource, tf.variant):
                num_bytes += outside.shape.num_elements() * outside.dtype.size
            elif id(outside) in owners:
                read[id(outside)] = owners[id(outside)]
            else:
                raise ValueError(
                    f"Signature `{name}` reads `{inside.name}`, a lookup table or "
                    "data set that is no part of `servable`, so TF Serving would not "
                    "have it. Make the table an attribute of the layer that reads it, "
                    "and read the data set into a tf.Variable."
                )
        if num_bytes > _MAX_CONSTANT_BYTES:
            raise ValueError(
                f"Signature `{name}` has {num_bytes:,} bytes of constants, and a graph "
                "holds less than 2 GB. Keep large tensors in a tf.Variable."
            )
    return list(read.values())


def variable_of(part: Any) -> Any:
    """Returns TensorFlow's variable behind one of Keras 3; others as they are."""
    if not is_legacy and isinstance(part, keras.Variable):
        return part.value
    return part
