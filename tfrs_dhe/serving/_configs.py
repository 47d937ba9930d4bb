"""The text files that TF Serving is started with."""

import itertools
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_encoding

from tfrs_dhe.hashing import constants
from tfrs_dhe.layers import _arguments
from tfrs_dhe.serving._manifest import read_manifest
from tfrs_dhe.serving._version_directory import versions

MODEL_CONFIG = "models.config"
BATCHING_PARAMETERS = "batching.config"
MONITORING_CONFIG = "monitoring.config"


def write_configs(
    base_path: str | os.PathLike[str],
    model_name: str,
    *,
    served_path: str | None = None,
    max_batch_size: int | None = None,
    batch_timeout_micros: int = 1000,
    allowed_batch_sizes: Sequence[int] | None = None,
    num_batch_threads: int | None = None,
    max_enqueued_batches: int | None = None,
    pad_variable_length_inputs: bool = False,
    prometheus_path: str = "/monitoring/prometheus/metrics",
) -> dict[str, Path]:
    r"""Writes the text files that `tensorflow_model_server` takes for a model.

    They go into `base_path`, beside the versions, where the server does not take
    them for one. With them it is started by

    ```
    tensorflow_model_server --port=8500 --rest_api_port=8501 \
        --model_config_file=BASE/models.config \
        --monitoring_config_file=BASE/monitoring.config \
        --enable_batching --batching_parameters_file=BASE/batching.config
    ```

    where the last line is for a `max_batch_size`.

    Example:
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> files = write_configs(folder, "movies", served_path="/models/movies")
    >>> print(files["models.config"].read_text())
    model_config_list {
      config {
        name: "movies"
        base_path: "/models/movies"
        model_platform: "tensorflow"
      }
    }
    <BLANKLINE>

    Args:
      base_path: The directory of the model's versions.
      model_name: What requests call the model: letters, digits, "_", "-" and ".".
      served_path: Where the server finds `base_path`, such as "/models/movies" in a
        container; by default where it is here.
      max_batch_size: Up to how many rows of different requests are answered at once;
        by default requests are not batched. It has to be at least the largest batch
        of the warmup requests, or the server does not load the version.
      batch_timeout_micros: How long a request waits for others, in microseconds.
      allowed_batch_sizes: Numbers of rows that a batch is filled up to, ascending,
        the last one `max_batch_size`; by default none is filled up.
      num_batch_threads: How many batches run at once; by default the server's own.
      max_enqueued_batches: How many batches may wait; by default the server's own.
      pad_variable_length_inputs: Whether inputs of different lengths (`any_length`
        of `export`) are padded to be in one batch, with 0 or "".
      prometheus_path: Where the server shows its metrics on its REST port.

    Returns:
      The files by name: `models.config` and `monitoring.config`, and
      `batching.config` if there is a `max_batch_size`.

    Raises:
      ValueError: If an argument is out of range, or a version in `base_path` has
        larger warmup requests than `max_batch_size`.
    """
    base = Path(base_path)
    if not base.is_dir():
        raise ValueError(
            "`base_path` must be the directory of the model's versions. Received: "
            f"{str(base_path)!r}, which is none; call `export` first."
        )
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", model_name):
        raise ValueError(
            '`model_name` must be letters, digits, "_", "-" and ".", as it is part of '
            f"addresses. Received: {model_name!r}."
        )
    served_path = str(base.resolve()) if served_path is None else served_path
    model = {
        "name": model_name,
        "base_path": served_path,
        "model_platform": "tensorflow",
    }
    texts = {
        MODEL_CONFIG: _text({"model_config_list": {"config": model}}),
        MONITORING_CONFIG: _text(
            {"prometheus_config": {"enable": True, "path": prometheus_path}}
        ),
    }
    options = {
        "allowed_batch_sizes": allowed_batch_sizes,
        "num_batch_threads": num_batch_threads,
        "max_enqueued_batches": max_enqueued_batches,
        "pad_variable_length_inputs": pad_variable_length_inputs or None,
    }
    if max_batch_size is not None:
        _arguments.check_positive_integer("max_batch_size", max_batch_size)
        _check_warmup(base, max_batch_size)
        texts[BATCHING_PARAMETERS] = _text(
            _batching_parameters(max_batch_size, batch_timeout_micros, options)
        )
    elif any(value is not None for value in options.values()):
        raise ValueError(
            "Requests are batched only with a `max_batch_size`. Received none, and "
            f"{options}."
        )
    for name, text in texts.items():
        _replace(base / name, text)
    return {name: base / name for name in texts}


def _replace(path: Path, text: str) -> None:
    """Puts a file in the place of an old one, whole: a server may be reading it."""
    scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        scratch.write_text(text)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _batching_parameters(
    max_batch_size: int, batch_timeout_micros: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the fields of tensorflow.serving.BatchingParameters."""
    allowed = options["allowed_batch_sizes"]
    if allowed is not None:
        for size in allowed:
            _arguments.check_positive_integer("allowed_batch_sizes", size)
        ascends = all(a < b for a, b in itertools.pairwise([0, *allowed]))
        if not allowed or not ascends or allowed[-1] != max_batch_size:
            raise ValueError(
                "`allowed_batch_sizes` must be positive, ascend, and end in "
                f"`max_batch_size`, {max_batch_size}. Received: {list(allowed)}."
            )
    numbers = {
        "max_batch_size": max_batch_size,
        "num_batch_threads": options["num_batch_threads"],
        "max_enqueued_batches": options["max_enqueued_batches"],
    }
    fields: dict[str, Any] = {
        name: {"value": _arguments.check_positive_integer(name, value)}
        for name, value in numbers.items()
        if value is not None
    }
    if not constants.is_integer(batch_timeout_micros) or batch_timeout_micros < 0:
        raise ValueError(
            "`batch_timeout_micros` must be an integer of at least 0. Received: "
            f"{batch_timeout_micros!r}."
        )
    fields["batch_timeout_micros"] = {"value": int(batch_timeout_micros)}
    for name in ("allowed_batch_sizes", "pad_variable_length_inputs"):
        if options[name] is not None:
            fields[name] = options[name]
    return fields


def _check_warmup(base_path: Path, max_batch_size: int) -> None:
    for version, path in versions(base_path).items():
        manifest = read_manifest(path) or {"warmup": False}
        largest = max(manifest["batch_sizes"]) if manifest["warmup"] else 0
        if largest > max_batch_size:
            raise ValueError(
                f"Version {version} has warmup requests of {largest} rows, and the "
                "server does not load it with `max_batch_size` below that. Received: "
                f"max_batch_size={max_batch_size}."
            )


def _text(fields: Mapping[str, Any], indent: str = "") -> str:
    """Returns a message in the text format of protocol buffers."""
    lines = ""
    for name, value in fields.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Mapping):
                lines += f"{indent}{name} {{\n{_text(item, indent + '  ')}{indent}}}\n"
            else:
                lines += f"{indent}{name}: {_literal(item)}\n"
    return lines


def _literal(value: str | bool | int) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + text_encoding.CEscape(value, as_utf8=True) + '"'
    return str(value)
