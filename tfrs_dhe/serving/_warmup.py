"""Requests that TF Serving answers while it loads a version, before it is used.

The first request to a signature is far slower than those that follow, and one that
cannot be answered makes the load fail instead of a user's request.
"""

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

from tfrs_dhe.serving._samples import Sample

#: Where TF Serving looks for the file in a version's directory.
WARMUP_PATH = Path("assets.extra") / "tf_serving_warmup_requests"

#: TF Serving refuses a file with more.
MAX_NUM_RECORDS = 1000

_INSTALL = "pip install 'tfrs-dhe[serving]'"


def resolve_warmup(warmup: bool | None) -> bool:
    """Returns whether warmup requests are written.

    Args:
      warmup: True for yes, False for no, None if the protos are installed; a
        warning says if they are not.

    Raises:
      ImportError: If they are asked for and the protos are not installed.
    """
    if warmup is False:
        return False
    try:
        _protos()
    except ImportError as error:
        if warmup:
            raise ImportError(
                "warmup=True needs the protos of TF Serving, which could not be "
                f"imported: {error}\nInstall them with `{_INSTALL}`."
            ) from error
        warnings.warn(
            "No warmup requests are written, so the first requests to this version "
            "will be slow: tensorflow-serving-api is not installed. Install it with "
            f"`{_INSTALL}`, or pass warmup=False if they are not wanted.",
            stacklevel=3,
        )
        return False
    return True


def write_warmup(version_path: Path, samples: Sequence[Sample]) -> None:
    """Writes the requests of samples, without the empty ones.

    Args:
      version_path: The version's directory.
      samples: Requests and answers.
    """
    path = version_path / WARMUP_PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for sample in samples:
            if all(len(rows) for rows in sample.inputs.values()):
                writer.write(_prediction_log(sample).SerializeToString())


def _prediction_log(sample: Sample) -> Any:
    log = _protos().PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = sample.signature
    for name, array in sample.inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return log


def _protos() -> ModuleType:
    return importlib.import_module("tensorflow_serving.apis.prediction_log_pb2")
