"""From a signature to the function that is saved."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfrs_dhe.serving._signatures import Signature

#: Ops that call back into a Python process, of which TF Serving has none.
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def trace(signature: Signature) -> Any:
    """Returns the concrete function of a signature.

    Raises:
      ValueError: If the inputs do not fit the model, it has no weights yet, or it
        does what TF Serving cannot do.
    """
    made: list[str] = []
    # As they were: AutoGraph puts its own stack into their messages.
    raised: list[Exception] = []

    def refuse(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        made.append(str(kwargs.get("name")))
        raise ValueError(f"no weight may be made now, but `{made[-1]}` was")

    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        try:
            return signature.call(inputs)
        except Exception as error:
            raised.append(error)
            raise

    try:
        with tf.variable_creator_scope(refuse):
            function = tf.function(serve).get_concrete_function(**signature.specs)
    except Exception as error:
        if made:
            raise ValueError(_no_weights(made)) from error
        raise ValueError(
            f"Signature `{signature.name}` cannot be called with {_words(signature)}: "
            f"{raised[0] if raised else error}"
        ) from error
    if made:  # Keras 3 goes on where a weight could not be made.
        raise ValueError(_no_weights(made))
    _check_ops(signature.name, function)
    return function


def _no_weights(made: list[str]) -> str:
    return (
        "`servable` has no weights yet: some are made at its first call (the first is "
        f"`{made[0]}`), and would be those of no training. Train it, or call it and "
        "load its weights, before it is exported."
    )


def _words(signature: Signature) -> str:
    return ", ".join(
        f"`{name}` {spec.dtype.name} {spec.shape}"
        for name, spec in signature.specs.items()
    )


def _check_ops(name: str, function: Any) -> None:
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    python = [node.name for node in nodes if node.op in _PYTHON_OPS]
    if python:
        raise ValueError(
            f"Signature `{name}` calls a Python function, which TF Serving does not "
            f"have: {python[0]}. Write it in TensorFlow ops (instead of "
            "tf.py_function or tf.numpy_function)."
        )
    compiled = [
        part
        for part in (*nodes, *graph.library.function)
        if part.attr["_XlaMustCompile"].b
    ]
    if compiled:
        raise ValueError(
            f"Signature `{name}` has a function of jit_compile=True, and XLA is off "
            "in TF Serving on CPUs. Make it without."
        )
