"""Initializers of Keras."""

from typing import Any


def copy_initializer(initializer: Any) -> Any:
    """Returns an equal initializer: one that is used twice warns, or repeats itself."""
    if hasattr(initializer, "clone"):
        return initializer.clone()
    return type(initializer).from_config(initializer.get_config())
