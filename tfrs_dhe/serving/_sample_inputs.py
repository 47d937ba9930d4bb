"""The sample inputs of an export: what a request looks like, and some rows of one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class SampleInputs:
    """Inputs by name, each with at least one row.

    Attributes:
      tensors: Tensors [num_rows, ...] by the names of the inputs.
      specs: What a request may have in their place, by the same names.
      form: What the model takes, with names of inputs in place of tensors: a name
        or a dict, which may hold dicts.
    """

    tensors: Mapping[str, tf.Tensor]
    specs: Mapping[str, tf.TensorSpec]
    form: Any

    def batch(self, size: int) -> dict[str, tf.Tensor]:
        """Returns `size` rows, repeated from the first where there are fewer."""
        return {
            name: tf.gather(tensor, tf.range(size) % len(tensor))
            for name, tensor in self.tensors.items()
        }

    def argument(self, tensors: Mapping[str, tf.Tensor]) -> Any:
        """Returns tensors by name in the form that the model takes them."""
        return _in_form(self.form, tensors)


def read_sample_inputs(
    sample_inputs: Any, input_name: str, any_length: Sequence[str]
) -> SampleInputs:
    """Returns sample inputs as tensors, with the specs of requests.

    Args:
      sample_inputs: A tensor, array or list with a leading batch dimension, or a
        dict of such, which may hold dicts: their entries are inputs as well.
      input_name: The name of the input, where it is a single one.
      any_length: The inputs whose second dimension may have any size in a request.

    Raises:
      ValueError: If they cannot be inputs of a signature.
    """
    inputs: dict[str, Any] = {}
    form = _flatten(input_name, sample_inputs, inputs)
    if not inputs:
        raise ValueError("`sample_inputs` must have at least one input. Received: {}.")
    tensors = {name: _as_rows(name, values) for name, values in inputs.items()}
    sizes = {name: len(tensor) for name, tensor in tensors.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            "`sample_inputs` must have the same number of rows in every input. "
            f"Received: {sizes}."
        )
    unknown = set(any_length) - {n for n, x in tensors.items() if x.shape.rank > 1}
    if isinstance(any_length, str) or unknown:
        raise ValueError(
            "`any_length` must be a list of names of inputs [batch, length, ...]. "
            f"Received: {any_length!r}, and inputs "
            f"{ {name: list(x.shape) for name, x in tensors.items()} }."
        )
    specs = {
        name: tf.TensorSpec(_shape(x, name in any_length), x.dtype, name)
        for name, x in tensors.items()
    }
    return SampleInputs(tensors, specs, form)


def _flatten(name: Any, values: Any, inputs: dict[str, Any]) -> Any:
    """Adds what is in nested dicts to `inputs`, and returns the form of them."""
    if isinstance(values, Mapping):
        return {key: _flatten(key, value, inputs) for key, value in values.items()}
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(
            "Names of inputs must be words of letters, digits and underscores that a "
            f"request can have. Received: {name!r}."
        )
    if name in inputs:
        raise ValueError(
            "A request has one input of a name, but `sample_inputs` has several dicts "
            f"with `{name}`. Rename one in the model."
        )
    inputs[name] = values
    return name


def _in_form(form: Any, tensors: Mapping[str, tf.Tensor]) -> Any:
    if isinstance(form, Mapping):
        return {key: _in_form(inner, tensors) for key, inner in form.items()}
    return tensors[form]


def _shape(rows: tf.Tensor, any_length: bool) -> list[int | None]:
    inner = list(rows.shape[1:])
    return [None, None, *inner[1:]] if any_length else [None, *inner]


def _as_rows(name: str, values: Any) -> tf.Tensor:
    if isinstance(values, tf.RaggedTensor | tf.SparseTensor):
        raise ValueError(
            f"`sample_inputs`: `{name}` must be dense, as all inputs of TF Serving "
            f"are. Received a {type(values).__name__}. Pad it, and name it in "
            "`any_length` if requests may be longer or shorter."
        )
    try:
        if not hasattr(values, "dtype") and np.asarray(values).dtype.kind in "iu":
            # TensorFlow would make int32 of small ones and of large ones int64.
            values = np.asarray(values)
        rows = tf.convert_to_tensor(values)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`sample_inputs`: `{name}` must be a tensor, an array or a list of equal "
            f"rows. Received: {values!r}."
        ) from error
    if not rows.shape.rank or not len(rows):
        raise ValueError(
            f"`sample_inputs`: `{name}` must have a leading batch dimension of at "
            f"least 1. Received shape {rows.shape}."
        )
    return rows
