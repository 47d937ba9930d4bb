"""Spares AutoGraph, and whoever waits for it, code that has nothing to rewrite.

AutoGraph rewrites what `tf.function` traces, function by function, so that Python's
`if` and `for` work on tensors. The code of this package asks TensorFlow for conditions
and loops by itself; rewriting it would take seconds before a first step.
"""

from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def no_autograph(function: _Function) -> _Function:
    """Marks a function that AutoGraph is to call as it stands.

    Other than with `tf.autograph.experimental.do_not_convert`, layers of users that it
    calls are rewritten as anywhere else, since Keras asks for it, and Keras sees the
    function's own arguments. Plain functions that it calls are not rewritten. The mark
    is the one of that decorator; where TensorFlow had another one, code would be
    rewritten, no more.

    Args:
      function: Of any arguments.

    Returns:
      The function itself.
    """
    vars(function).update(autograph_info__={})
    return function
