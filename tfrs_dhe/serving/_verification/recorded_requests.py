"""The requests that a version is tried with: its samples and warmup records."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import message

from tfrs_dhe.serving._samples import SAMPLES_PATH, Sample, read_samples
from tfrs_dhe.serving._verification.saved_model import SavedModel
from tfrs_dhe.serving._verification.signatures import DEFAULT, shape_of

WARMUP_PATH = Path("assets.extra") / "tf_serving_warmup_requests"
# TF Serving refuses to load a version with more.
_MOST_WARMUP_RECORDS = 1000


@dataclasses.dataclass(frozen=True)
class Request:
    """A request to a signature.

    Attributes:
      name: What to call it in a message.
      signature: The name of the signature.
      inputs: Arrays by the names of the inputs.
      expected: The outputs recorded for it, if any were.
    """

    name: str
    signature: str
    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray] | None = None


def sample_requests(model: SavedModel) -> tuple[list[Request], list[str]]:
    """Returns the recorded samples that fit the signatures, and what is wrong.

    Args:
      model: The SavedModel.

    Returns:
      The requests, and a sentence for each sample that does not fit.
    """
    try:
        samples = samples_of(model.path)
    except ValueError as error:
        return [], [str(error)]
    requests = [
        Request(f"sample {i}", sample.signature, sample.inputs, sample.outputs)
        for i, sample in enumerate(samples)
    ]
    return _fitting(model, requests)


def samples_of(version_path: Path) -> list[Sample]:
    """Returns the recorded samples of a version.

    Args:
      version_path: The version's directory.

    Raises:
      ValueError: If the file is damaged.
    """
    try:
        return read_samples(version_path)
    except (KeyError, TypeError, ValueError, message.DecodeError) as error:
        raise ValueError(
            f"{SAMPLES_PATH} cannot be read: {error}. Export the model again."
        ) from None


def records_of(path: Path) -> Iterator[bytes]:
    """Returns the records of a TFRecord file.

    Args:
      path: The file; tf.errors.OpError is raised where it is damaged.
    """
    return tf.data.TFRecordDataset(str(path)).as_numpy_iterator()


def warmup_requests(model: SavedModel) -> tuple[list[Request], list[str]]:
    """Returns the warmup records that fit the signatures, and what is wrong.

    Args:
      model: The SavedModel.

    Returns:
      The requests, and a sentence for each record that does not fit.

    Raises:
      ImportError: If TF Serving's protos are not installed.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    path = model.path / WARMUP_PATH
    requests = []
    problems = []
    try:
        records = [
            prediction_log_pb2.PredictionLog.FromString(record)
            for record in records_of(path)
        ]
    except (tf.errors.OpError, message.DecodeError) as error:
        return [], [f"{WARMUP_PATH} cannot be read: {error}. Write it again."]
    if len(records) > _MOST_WARMUP_RECORDS:
        problems.append(
            f"{WARMUP_PATH} has {len(records)} records; TF Serving refuses more than "
            f"{_MOST_WARMUP_RECORDS}."
        )
    for i, record in enumerate(records):
        kind = record.WhichOneof("log_type")
        if kind == "predict_log":
            asked = record.predict_log.request
            try:
                inputs = {k: tf.make_ndarray(x) for k, x in asked.inputs.items()}
            except (TypeError, ValueError) as error:
                problems.append(f"warmup record {i} holds no tensor: {error}")
                continue
            signature = asked.model_spec.signature_name or DEFAULT
            requests.append(Request(f"warmup record {i}", signature, inputs))
        else:
            problems.append(
                f"warmup record {i} is a {kind} and no predict_log, which is all that "
                "these signatures answer."
            )
    fitting, others = _fitting(model, requests)
    return fitting, problems + others


def _fitting(
    model: SavedModel, requests: list[Request]
) -> tuple[list[Request], list[str]]:
    fitting = []
    problems = []
    for request in requests:
        wrong = list(_mismatches(model, request))
        problems += [f"{request.name}: {text}" for text in wrong]
        if not wrong:
            fitting.append(request)
    return fitting, problems


def _mismatches(model: SavedModel, request: Request) -> list[str]:
    signature = model.signatures.get(request.signature)
    if signature is None:
        return [
            f"there is no signature {request.signature!r}; there is "
            f"{sorted(model.signatures)}."
        ]
    if set(request.inputs) != set(signature.inputs):
        return [
            f"it gives the inputs {sorted(request.inputs)}, and signature "
            f"{request.signature!r} takes {sorted(signature.inputs)}."
        ]
    problems = []
    for name, array in sorted(request.inputs.items()):
        info = signature.inputs[name]
        dtype = tf.dtypes.as_dtype(info.dtype)
        given = tf.string if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype)
        if given != dtype:
            problems.append(
                f"input {name!r} is of dtype {given.name}, and signature "
                f"{request.signature!r} takes {dtype.name}."
            )
        if not shape_of(info).is_compatible_with(array.shape):
            problems.append(
                f"input {name!r} has the shape {list(array.shape)}, and signature "
                f"{request.signature!r} takes {shape_of(info)}."
            )
    return problems
