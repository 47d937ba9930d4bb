"""The text files are what TF Serving reads."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from tfrs_dhe.serving import write_configs

_FIELD = descriptor_pb2.FieldDescriptorProto
#: Fields of tensorflow/serving's session_bundle_config.proto and
#: monitoring_config.proto, which its Python package does not have: number, type
#: and whether there are several.
_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, ".google.protobuf.Int64Value", False),
        "batch_timeout_micros": (2, ".google.protobuf.Int64Value", False),
        "max_enqueued_batches": (3, ".google.protobuf.Int64Value", False),
        "num_batch_threads": (4, ".google.protobuf.Int64Value", False),
        "thread_pool_name": (5, ".google.protobuf.StringValue", False),
        "allowed_batch_sizes": (6, _FIELD.TYPE_INT64, True),
        "pad_variable_length_inputs": (7, _FIELD.TYPE_BOOL, False),
    },
    "PrometheusConfig": {
        "enable": (1, _FIELD.TYPE_BOOL, False),
        "path": (2, _FIELD.TYPE_STRING, False),
    },
    "MonitoringConfig": {"prometheus_config": (1, ".test.PrometheusConfig", False)},
}


def message(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="test.proto",
        package="test",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for message_name, fields in _MESSAGES.items():
        added = file.message_type.add(name=message_name)
        for field_name, (number, kind, repeated) in fields.items():
            field = added.field.add(name=field_name, number=number)
            field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, kind
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName(f"test.{name}")
    return message_factory.GetMessageClass(found)()


def test_the_server_reads_them(tmp_path: Path) -> None:
    files = write_configs(
        tmp_path,
        "movies-2.0",
        served_path='/models/"my" movies\\é',
        max_batch_size=64,
        batch_timeout_micros=0,
        allowed_batch_sizes=[1, 8, 64],
        num_batch_threads=4,
        max_enqueued_batches=100,
        pad_variable_length_inputs=True,
        prometheus_path="/metrics",
    )
    assert {path.name: path for path in tmp_path.iterdir()} == files

    server = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(files["models.config"].read_text(), server)
    (config,) = server.model_config_list.config
    assert config.name == "movies-2.0"
    assert config.base_path == '/models/"my" movies\\é'
    assert config.model_platform == "tensorflow"

    batching = message("BatchingParameters")
    text_format.Parse(files["batching.config"].read_text(), batching)
    assert batching.max_batch_size.value == 64
    assert batching.HasField("batch_timeout_micros")
    assert batching.batch_timeout_micros.value == 0
    assert batching.allowed_batch_sizes == [1, 8, 64]
    assert batching.num_batch_threads.value == 4
    assert batching.max_enqueued_batches.value == 100
    assert batching.pad_variable_length_inputs

    monitoring = message("MonitoringConfig")
    text_format.Parse(files["monitoring.config"].read_text(), monitoring)
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/metrics"


def test_without_batching_there_are_no_batching_parameters(tmp_path: Path) -> None:
    files = write_configs(tmp_path, "movies")
    assert set(files) == {"models.config", "monitoring.config"}
    server = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(files["models.config"].read_text(), server)
    assert server.model_config_list.config[0].base_path == str(tmp_path.resolve())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"model_name": "my movies"}, "`model_name`"),
        ({"max_batch_size": 0}, "`max_batch_size`"),
        ({"max_batch_size": 8, "allowed_batch_sizes": [1, 4]}, "end in"),
        ({"max_batch_size": 8, "allowed_batch_sizes": [4, 1, 8]}, "ascend"),
        ({"max_batch_size": "8"}, "`max_batch_size` must be a positive integer"),
        ({"max_batch_size": 8, "allowed_batch_sizes": [0.5, 8]}, "`allowed_batch_size"),
        ({"max_batch_size": 8, "batch_timeout_micros": -1}, "`batch_timeout_micros`"),
        ({"max_batch_size": 8, "num_batch_threads": 0}, "`num_batch_threads`"),
        ({"num_batch_threads": 4}, "only with a `max_batch_size`"),
        ({"base_path": "nowhere"}, "call `export` first"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments: dict[str, Any], match: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=match):
        write_configs(**{"base_path": tmp_path, "model_name": "movies", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_warmup_requests_are_no_larger_than_a_batch(tmp_path: Path) -> None:
    extra = tmp_path / "3" / "assets.extra"
    extra.mkdir(parents=True)
    manifest = {"warmup": True, "batch_sizes": [1, 32]}
    (extra / "tfrs_dhe_manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="Version 3 has warmup requests of 32 rows"):
        write_configs(tmp_path, "movies", max_batch_size=16)
    write_configs(tmp_path, "movies", max_batch_size=32)
    manifest["warmup"] = False
    (extra / "tfrs_dhe_manifest.json").write_text(json.dumps(manifest))
    write_configs(tmp_path, "movies", max_batch_size=16)


def test_a_full_disk_leaves_the_files_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in half, the file is empty to the server, or none that it can start with."""
    write = Path.write_text

    def write_half(path: Path, text: str) -> int:
        write(path, text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    files = write_configs(tmp_path, "movies", max_batch_size=8)
    before = {path: path.read_text() for path in files.values()}
    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left"):
        write_configs(tmp_path, "series", max_batch_size=9)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before
