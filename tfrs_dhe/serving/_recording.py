"""Requests to an export and the answers that the model gives in this process."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe.serving._sample_inputs import SampleInputs
from tfrs_dhe.serving._samples import Sample
from tfrs_dhe.serving._signatures import DEFAULT, EXCLUSIONS, Signature

#: How many of the best ids a sample of exclusions excludes.
_NUM_EXCLUSIONS = 2


def record(
    signatures: Sequence[Signature],
    functions: Mapping[str, Any],
    samples: SampleInputs,
    batch_sizes: Sequence[int],
) -> list[Sample]:
    """Runs every signature at every batch size.

    Args:
      signatures: The signatures, the default one first.
      functions: Their functions by name.
      samples: The sample inputs.
      batch_sizes: The batch sizes.

    Raises:
      ValueError: If a signature fails, or has not one row of outputs for one of
        inputs.
    """
    recorded = []
    for size in batch_sizes:
        default: dict[str, tf.Tensor] = {}
        for signature in signatures:
            inputs = samples.batch(size)
            if EXCLUSIONS in signature.specs and EXCLUSIONS not in inputs:
                inputs[EXCLUSIONS] = default["ids"][:, :_NUM_EXCLUSIONS]
            outputs = _run(signature.name, functions[signature.name], inputs, size)
            if signature.name == DEFAULT:
                default = outputs
            recorded.append(
                Sample(signature.name, _arrays(inputs), _arrays(outputs)),
            )
    return recorded


def _run(
    name: str, function: Any, inputs: Mapping[str, tf.Tensor], size: int
) -> dict[str, tf.Tensor]:
    try:
        outputs = function(**inputs)
    except Exception as error:
        raise ValueError(
            f"Signature `{name}` fails on {size} rows of `sample_inputs`: {error}"
        ) from error
    for output_name, output in outputs.items():
        if not output.shape.rank or output.shape[0] != size:
            raise ValueError(
                f"Signature `{name}` must return one row for each row of its inputs. "
                f"For {size} rows, output `{output_name}` has shape {output.shape}."
            )
    return outputs


def _arrays(tensors: Mapping[str, tf.Tensor]) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
