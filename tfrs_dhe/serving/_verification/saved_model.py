"""The version directory of a SavedModel and the graph in it that is served."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2

from tfrs_dhe.serving._version_directory import versions

FILE_NAME = "saved_model.pb"
VARIABLES = Path("variables") / "variables"
ASSETS = Path("assets")
_INIT_OP = "__saved_model_init_op"
# Written by TensorFlow beside the signatures; no client calls them.
_INTERNAL = (_INIT_OP, "__saved_model_train_op")
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A version directory with its parsed graph.

    Attributes:
      path: The version's directory.
      meta_graph: The MetaGraphDef with the tag `serve`.
    """

    path: Path
    meta_graph: Any

    @property
    def signatures(self) -> Mapping[str, Any]:
        """The SignatureDefs that clients can call, by name."""
        return {
            name: signature
            for name, signature in sorted(self.meta_graph.signature_def.items())
            if name not in _INTERNAL
        }

    @property
    def restore_op(self) -> str:
        """The name of the op that restores the variables, empty if there is none."""
        return self.meta_graph.saver_def.restore_op_name

    @property
    def init_ops(self) -> Sequence[str]:
        """The names of the ops that run once after the variables are restored."""
        signature = self.meta_graph.signature_def.get(_INIT_OP)
        names = {signature.outputs[_INIT_OP].name} if signature else set()
        for name, collection in self.meta_graph.collection_def.items():
            if name in _INIT_COLLECTIONS:
                names.update(collection.node_list.value)
        return sorted(names)

    @property
    def asset_tensors(self) -> Mapping[str, str]:
        """The file of each asset by the name of the node that gives its path."""
        return {
            asset.tensor_info.name.partition(":")[0]: asset.filename
            for asset in self.meta_graph.asset_file_def
        }

    def loading(self) -> Mapping[str, Sequence[str]]:
        """Returns the outputs of what runs when the model is loaded, by its name."""
        steps = {"restoring": [self.restore_op], "initialization": self.init_ops}
        return {name: ops for name, ops in steps.items() if any(ops)}

    def requests(self) -> Mapping[str, Sequence[str]]:
        """Returns the outputs of what clients call, by its name in messages."""
        return {
            f"signature {name!r}": [info.name for info in signature.outputs.values()]
            for name, signature in self.signatures.items()
        }

    def entries(self) -> Mapping[str, Sequence[str]]:
        """Returns the outputs of all that a server runs, by its name in messages."""
        return {**self.requests(), **self.loading()}


def read_saved_model(version_path: Path | str) -> SavedModel:
    """Parses the graph of a version directory.

    Args:
      version_path: The directory.

    Returns:
      The SavedModel.

    Raises:
      ValueError: If there is no directory, no graph in it, or none to serve.
    """
    path = Path(version_path)
    if not path.is_dir():
        raise ValueError(f"{path} is no directory. Give the directory of a version.")
    file = path / FILE_NAME
    if not file.is_file():
        raise ValueError(f"{path} has no {FILE_NAME}. Export the model again.")
    try:
        parsed = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except message.DecodeError as error:
        raise ValueError(
            f"{file} is no SavedModel or is cut off: {error}. Export the model again."
        ) from None
    tags = [sorted(graph.meta_info_def.tags) for graph in parsed.meta_graphs]
    if ["serve"] not in tags:
        raise ValueError(
            f"{file} has no graph with the tags ['serve'], which a server loads. "
            f"It has graphs with the tags {tags}."
        )
    return SavedModel(path, parsed.meta_graphs[tags.index(["serve"])])


def resolve_version(path: Path | str) -> Path:
    """Returns the directory of a version.

    Args:
      path: The directory of a version, or that of a model with versions in it, of
        which the highest is taken.

    Raises:
      ValueError: If it is neither.
    """
    given = Path(path)
    if not given.is_dir():
        raise ValueError(f"{given} is no directory.")
    # A number is a version even where what makes it one is missing.
    if given.name.isdecimal() or (given / FILE_NAME).exists():
        return given
    found = [path for path in versions(given).values() if path.is_dir()]
    if not found:
        raise ValueError(
            f"{given} is neither a version (it has no {FILE_NAME}) nor a model's "
            "directory (it has no folder whose name is a number)."
        )
    return found[-1]
