"""The signatures of an export, and the tensors of its graph that they name."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

_TAG = "serve"


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a request to a signature gives and gets.

    Attributes:
      inputs: The name of the graph's tensor, by the name of the input.
      dtypes: The dtypes of the inputs.
      outputs: The name of the graph's tensor, by the name of the output.
    """

    inputs: Mapping[str, str]
    dtypes: Mapping[str, tf.DType]
    outputs: Mapping[str, str]


def read_signatures(version_path: Path | str) -> dict[str, Signature]:
    """Returns the signatures of an export by their names.

    Args:
      version_path: The version's directory, which has `saved_model.pb` in it.

    Raises:
      ValueError: If there is no SavedModel, or none to be served.
    """
    path = Path(version_path) / "saved_model.pb"
    if not path.is_file():
        raise ValueError(
            "`version_path` must be the directory of a SavedModel. Received: "
            f"{str(version_path)!r}, which has no saved_model.pb."
        )
    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(
            f"`version_path` must have a readable saved_model.pb. {path} is damaged."
        ) from error
    graphs = [graph for graph in saved.meta_graphs if _TAG in graph.meta_info_def.tags]
    if not graphs:
        raise ValueError(
            f"`version_path` has no graph with the tag {_TAG!r}. Received: "
            f"{str(version_path)!r}."
        )
    return {
        name: Signature(
            {key: info.name for key, info in definition.inputs.items()},
            {key: tf.as_dtype(info.dtype) for key, info in definition.inputs.items()},
            {key: info.name for key, info in definition.outputs.items()},
        )
        for name, definition in graphs[0].signature_def.items()
        # Such as __saved_model_init_op, which is for the loader.
        if not name.startswith("__")
    }
