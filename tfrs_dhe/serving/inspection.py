"""What is in a version: signatures, ops, parameters, bytes, records."""

import collections
import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrs_dhe.serving._manifest import MANIFEST_PATH
from tfrs_dhe.serving._verification.graph import Graph
from tfrs_dhe.serving._verification.recorded_requests import (
    WARMUP_PATH,
    records_of,
    samples_of,
)
from tfrs_dhe.serving._verification.saved_model import (
    VARIABLES,
    SavedModel,
    read_saved_model,
)
from tfrs_dhe.serving._verification.signatures import shape_of

_HASHES = "hash_constants"
# TensorFlow's own entries beside the variables of the model.
_NOT_OF_MODEL = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/")


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a signature takes and gives.

    Attributes:
      inputs: The dtype and shape of each input by its name.
      outputs: The dtype and shape of each output by its name.
    """

    inputs: Mapping[str, tf.TensorSpec]
    outputs: Mapping[str, tf.TensorSpec]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What is in a version; it prints as a table.

    Attributes:
      version_path: The version's directory.
      signatures: The signatures by their names.
      ops: How many nodes of each op the signatures need, each function once.
      parameters: How many values of each dtype the variables have.
      num_bytes: The size of each part of the directory.
      num_samples: How many samples are recorded.
      num_warmup_records: How many warmup records there are.
      manifest: What the export noted about itself, empty if it did not.
    """

    version_path: Path
    signatures: Mapping[str, Signature]
    ops: Mapping[str, int]
    parameters: Mapping[str, int]
    num_bytes: Mapping[str, int]
    num_samples: int
    num_warmup_records: int
    manifest: Mapping[str, Any]

    def __str__(self) -> str:
        sections = [
            *(
                (f"signature {name}", _tensors(signature))
                for name, signature in self.signatures.items()
            ),
            ("ops", _paragraph(self.ops)),
            ("parameters", _numbers(self.parameters)),
            (
                "bytes",
                [
                    *_numbers(self.num_bytes),
                    ("total", f"{sum(self.num_bytes.values()):,}"),
                ],
            ),
            (
                "requests",
                [
                    ("samples", f"{self.num_samples:,}"),
                    ("warmup records", f"{self.num_warmup_records:,}"),
                ],
            ),
            ("manifest", _notes(self.manifest)),
        ]
        texts = [str(self.version_path)]
        for title, rows in sections:
            if rows:
                texts.append(f"{title}\n{_table(rows)}")
        return "\n".join(texts)


def inspect(version_path: Path | str) -> Inspection:
    """Returns what is in a version, without loading it.

    ```
    >>> import tempfile
    >>> class Double(tf.Module):
    ...     @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    ...     def serve(self, x):
    ...         return {"scores": 2 * x}
    >>> module = Double()
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = f"{folder.name}/1"
    >>> tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
    >>> inspect(path).signatures["serving_default"].inputs["x"].dtype
    tf.float32
    >>> folder.cleanup()

    ```

    Args:
      version_path: The version's directory.

    Returns:
      What is in it.

    Raises:
      ValueError: If there is no SavedModel that can be read.
    """
    model = read_saved_model(version_path)
    return Inspection(
        model.path,
        {
            name: Signature(_specs(signature.inputs), _specs(signature.outputs))
            for name, signature in model.signatures.items()
        },
        _ops(model),
        _parameters(model),
        _sizes(model.path),
        len(samples_of(model.path)),
        _num_records(model.path / WARMUP_PATH),
        _manifest(model.path / MANIFEST_PATH),
    )


def _specs(tensors: Mapping[str, Any]) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec(shape_of(info), tf.dtypes.as_dtype(info.dtype), name)
        for name, info in sorted(tensors.items())
    }


def _ops(model: SavedModel) -> dict[str, int]:
    graph = Graph(model.meta_graph.graph_def)
    nodes = {
        (scope.function, node.name): node.op
        for outputs in model.requests().values()
        for scope, node in graph.walk(outputs)
        if node.op not in graph.functions
    }
    return dict(sorted(collections.Counter(nodes.values()).items(), key=_by_count))


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _parameters(model: SavedModel) -> dict[str, int]:
    prefix = model.path / VARIABLES
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        return {}
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{prefix}.index cannot be read: {error}. Export the model again."
        ) from None
    dtypes = reader.get_variable_to_dtype_map()
    counts: dict[str, int] = collections.defaultdict(int)
    for name, shape in reader.get_variable_to_shape_map().items():
        if not name.startswith(_NOT_OF_MODEL):
            counts[dtypes[name].name] += tf.TensorShape(shape).num_elements()
    return dict(sorted(counts.items(), key=_by_count))


def _sizes(path: Path) -> dict[str, int]:
    return {
        part.name: sum(file.stat().st_size for file in _files(part))
        for part in sorted(path.iterdir())
    }


def _files(part: Path) -> Iterator[Path]:
    return filter(Path.is_file, [part, *part.rglob("*")])


def _num_records(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        return sum(1 for _ in records_of(path))
    except tf.errors.OpError as error:
        raise ValueError(
            f"{path} cannot be read: {error.message}. Write it again."
        ) from None


def _manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}. Export again.") from None
    if not isinstance(manifest, dict):
        raise ValueError(f"{path} holds no JSON object. Export again.")
    return manifest


def _tensors(signature: Signature) -> list[tuple[str, str]]:
    return [
        (f"{kind} {name}", f"{spec.dtype.name} {spec.shape}")
        for kind, specs in (("in ", signature.inputs), ("out", signature.outputs))
        for name, spec in specs.items()
    ]


def _numbers(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{count:,}") for name, count in counts.items()]


def _paragraph(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    words = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return [("", line) for line in textwrap.wrap(words, 80)]


def _notes(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    # The signatures stand above, read from the model itself.
    plain = {k: v for k, v in manifest.items() if k not in ("signatures", _HASHES)}
    rows = [(name, json.dumps(value)) for name, value in plain.items()]
    for layer, constants in manifest.get(_HASHES, {}).items():
        words = (f"{name}={json.dumps(value)}" for name, value in constants.items())
        rows.append((f"hashes of {layer}", ", ".join(words)))
    return rows


def _table(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    gap = "  " if width else ""
    return "\n".join(f"  {name:<{width}}{gap}{value}" for name, value in rows)
