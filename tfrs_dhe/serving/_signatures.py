"""The signatures of a servable: what each takes, calls and returns."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras, tfrs
from tfrs_dhe.serving import _indexes
from tfrs_dhe.serving._sample_inputs import SampleInputs

DEFAULT = "serving_default"
WITH_EXCLUSIONS = "with_exclusions"
EMBEDDINGS = "embeddings"
#: The input of `WITH_EXCLUSIONS` beside those of `DEFAULT`.
EXCLUSIONS = "exclusions"

#: Arguments of a layer that are no inputs.
_NO_INPUTS = {"training", "mask"}


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a request names, sends and gets.

    Attributes:
      name: The name.
      specs: The inputs by name.
      call: From tensors by the names of the inputs to tensors by those of the
        outputs.
    """

    name: str
    specs: Mapping[str, tf.TensorSpec]
    call: Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]


def signatures_of_model(
    model: Any, samples: SampleInputs, output_name: str | None
) -> list[Signature]:
    """Returns the one signature of a layer or model.

    Args:
      model: A Keras layer or model.
      samples: The sample inputs.
      output_name: The name of its output; by default "scores" or "embeddings".

    Raises:
      ValueError: If it cannot be called.
    """
    call = caller(model, samples)

    def serve(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return _named(call(inputs), model, output_name)

    return [Signature(DEFAULT, samples.specs, serve)]


def signatures_of_index(
    index: _indexes.ServedIndex,
    samples: SampleInputs,
    exclusions: bool,
    embeddings: bool,
) -> list[Signature]:
    """Returns the signatures of an index.

    Args:
      index: The index.
      samples: The sample inputs, of its query model if it has one.
      exclusions: Whether ids can be excluded.
      embeddings: Whether there is one for the embeddings of queries.

    Raises:
      ValueError: If there are no embeddings, or an input has a name that is taken.
    """

    def serve(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return index.search(samples.argument(inputs))

    def serve_with_exclusions(
        inputs: Mapping[str, tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        queries = {name: inputs[name] for name in samples.specs}
        return index.search_without(samples.argument(queries), inputs[EXCLUSIONS])

    signatures = [Signature(DEFAULT, samples.specs, serve)]
    if exclusions:
        if EXCLUSIONS in samples.specs:
            raise ValueError(
                f"`{EXCLUSIONS}` is the input of the ids to exclude, so no other "
                "input may have this name. Rename it, or export with "
                "exclusions=False."
            )
        spec = tf.TensorSpec([None, None], index.identifier_dtype, EXCLUSIONS)
        specs = {**samples.specs, EXCLUSIONS: spec}
        signatures.append(Signature(WITH_EXCLUSIONS, specs, serve_with_exclusions))
    if embeddings:
        if index.query_model is None:
            raise ValueError(
                "embeddings=True needs an index with a query model: without one, "
                "queries are embeddings already."
            )
        call = caller(index.query_model, samples, by_keyword=False)

        def embed(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return _named(call(inputs), index.query_model, "embeddings")

        signatures.append(Signature(EMBEDDINGS, samples.specs, embed))
    return signatures


def caller(
    model: Any, samples: SampleInputs, by_keyword: bool = True
) -> Callable[[Mapping[str, tf.Tensor]], Any]:
    """Returns a function that calls a model, in inference mode, with inputs by name.

    Inputs that are all arguments of the model's `call` are passed as such, others
    as one dict, a single one by itself.

    Args:
      model: A Keras layer or model, or a callable module.
      samples: The sample inputs.
      by_keyword: Whether inputs may be arguments; an index passes on one thing.
    """
    parameters = inspect.signature(getattr(model, "call", model)).parameters
    options = {"training": False} if "training" in parameters else {}
    names = set(samples.form) if isinstance(samples.form, Mapping) else set()
    are_arguments = bool(names) and names <= set(parameters) - _NO_INPUTS

    def call_by_keyword(inputs: Mapping[str, tf.Tensor]) -> Any:
        return model(**samples.argument(inputs), **options)

    def call_with_one(inputs: Mapping[str, tf.Tensor]) -> Any:
        return model(samples.argument(inputs), **options)

    if by_keyword and are_arguments:
        return call_by_keyword
    return call_with_one


def check_has_call(model: Any) -> None:
    """Raises a ValueError if a model can be trained alone.

    Args:
      model: A Keras layer or model.
    """
    bases = (keras.Model.call, keras.layers.Layer.call)
    if getattr(type(model), "call", None) not in bases:
        return
    raise ValueError(
        f"{type(model).__name__} has no `call`: it says how to train, not what to "
        "answer. Export what answers: an index over its towers "
        "(tfrs.layers.factorized_top_k.BruteForce(model.query_model) or "
        "tfrs_dhe.layers.factorized_top_k.MACH), or one of its towers; or give the "
        "model a `call` that returns scores."
    )


def _named(outputs: Any, model: Any, name: str | None) -> dict[str, tf.Tensor]:
    """Returns outputs by name."""
    if isinstance(outputs, Mapping):
        named = dict(outputs)
    elif tf.is_tensor(outputs):
        named = {name or _output_name(outputs, model): outputs}
    else:
        raise ValueError(
            f"{type(model).__name__} must return a tensor or a dict of tensors, whose "
            f"keys name the outputs. Received: {outputs!r}."
        )
    for key, output in named.items():
        if not isinstance(key, str) or not isinstance(output, tf.Tensor):
            raise ValueError(
                f"Outputs of {type(model).__name__} must be dense tensors named by "
                f"strings. Received {key!r}: {output!r}."
            )
    return named


def _output_name(output: tf.Tensor, model: Any) -> str:
    is_ranking = tfrs is not None and isinstance(model, tfrs.Model)
    is_one_number = output.shape.rank == 1 or output.shape[1:] == [1]
    return "scores" if is_ranking or is_one_number else "embeddings"
