"""The one place that chooses a Keras; every other module takes it from here.

TensorFlow has two: Keras 3, and legacy Keras (`tf_keras`), on which TensorFlow
Recommenders lives. Layers of one Keras inside a model of the other are neither
trained nor saved, without an error, so the whole package has to agree with the
TFRS of the process, or, without TFRS, with `tf.keras`.
"""

import importlib
import os
from types import ModuleType
from typing import Any

import tensorflow as tf

_FIX = (
    "Set the environment variable TF_USE_LEGACY_KERAS=1 before TensorFlow is "
    "imported, for instance with\n"
    '    import os; os.environ["TF_USE_LEGACY_KERAS"] = "1"\n'
    "as the first line of the program."
)

tfrs: ModuleType | None = None
_tfrs_error: Exception | None = None
_tfrs_remedy = ""

try:
    tfrs = importlib.import_module("tensorflow_recommenders")
except (ImportError, RecursionError) as error:
    # A Keras 3 whose backend is not installed fails in TensorFlow's lazy loader
    # by endless recursion; `_bind` then says what is wrong.
    _tfrs_error = error
    # TFRS's own refusal of Keras 3 names no module; a missing one is named.
    if getattr(error, "name", None) is None:
        _tfrs_remedy = _FIX
    else:
        _tfrs_remedy = "Install it with `pip install tensorflow-recommenders`."
except tf.errors.NotFoundError as error:
    # An installed ScaNN is built for another TensorFlow, and TFRS imports it.
    _tfrs_error = error
    _tfrs_remedy = (
        "The installed `scann` does not fit this TensorFlow: `pip uninstall scann`."
    )


def _root_package(cls: type) -> ModuleType:
    """Returns the Keras (`keras` or `tf_keras`) that the base of `cls` is from."""
    for base in cls.__mro__:
        name = base.__module__.partition(".")[0]
        if name in ("keras", "tf_keras"):
            return importlib.import_module(name)
    raise ImportError(
        f"tfrs_dhe found no Keras among the bases of {cls}. It supports Keras 3 "
        "and tf_keras; received bases "
        f"{[f'{base.__module__}.{base.__name__}' for base in cls.__mro__]}."
    )


def _refuse_backend(backend: str | None, cause: Exception | None = None) -> None:
    raise ImportError(
        f"tfrs_dhe runs on the TensorFlow backend of Keras 3. Received: {backend!r}; "
        "set KERAS_BACKEND=tensorflow before Keras is imported."
    ) from cause


def _bind() -> ModuleType:
    try:
        base = tf.keras.layers.Layer if tfrs is None else tfrs.Model
        root = _root_package(base)
    except (AttributeError, ImportError, RecursionError) as error:
        # A backend that is not installed breaks the import of Keras itself.
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        if backend != "tensorflow":
            _refuse_backend(backend, error)
        raise
    if root.__name__ == "keras" and root.config.backend() != "tensorflow":
        _refuse_backend(root.config.backend())
    return root


keras: Any = _bind()

#: Whether the package runs on legacy Keras (`tf_keras`) rather than on Keras 3.
is_legacy = keras.__name__ == "tf_keras"


def require_tfrs(who: str) -> ModuleType:
    """Returns `tensorflow_recommenders`, or says how to make it importable.

    Args:
      who: Public name of what needs TFRS, for the message.

    Returns:
      The module `tensorflow_recommenders`.

    Raises:
      ImportError: If TFRS could not be imported in this process.
    """
    if tfrs is None:
        raise ImportError(
            f"{who} needs TensorFlow Recommenders, which could not be imported: "
            f"{_tfrs_error}\n{_tfrs_remedy}"
        ) from _tfrs_error
    return tfrs
