"""A version appears whole or not at all."""

import operator
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import serving
from tfrs_dhe._keras import keras
from tfrs_dhe.serving import _export, _version_directory, _warmup
from tfrs_dhe.serving._verification import saved_model


@pytest.fixture
def layer() -> Any:
    made = keras.layers.Dense(2)
    made(tf.ones([1, 3]))
    return made


def export(layer: Any, base_path: Path, **arguments: Any) -> Path:
    return serving.export(layer, base_path, np.ones([1, 3], np.float32), **arguments)


def test_the_next_version_is_the_highest_and_one(layer: Any, tmp_path: Path) -> None:
    base = tmp_path / "models" / "scores"
    assert export(layer, base) == base / "1"
    (base / "0041").mkdir()  # 41 for TF Serving.
    (base / "99 old").mkdir()
    (base / "latest").mkdir()
    assert export(layer, base) == base / "42"
    assert export(layer, base, version=7) == base / "7"
    assert export(layer, base) == base / "43"
    assert {"0041", "1", "42", "43", "7", "99 old", "latest"} == set(os.listdir(base))
    # Whoever runs the server may read it.
    assert (base / "43").stat().st_mode & 0o777 == base.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("path", "name"),
    [
        # Looked up when the test runs: TensorFlow may exchange its lazy modules.
        ("tf.saved_model", "save"),
        ("_samples", "write_samples"),
        ("_manifest", "write_manifest"),
        ("_warmup", "write_warmup"),
        ("_version_directory", "_flush"),
        ("os", "rename"),
        ("", "record"),
    ],
)
@pytest.mark.parametrize("is_new", [True, False])
def test_a_failure_leaves_nothing(
    path: str, name: str, is_new: bool, layer: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    module = operator.attrgetter(path)(_export) if path else _export
    base = tmp_path / "base"
    if not is_new:
        (base / "3").mkdir(parents=True)

    original = getattr(module, name)

    def work_and_fail(*arguments: Any, **options: Any) -> None:
        if name != "rename":
            original(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, work_and_fail)
    with pytest.raises(KeyboardInterrupt):
        export(layer, base, warmup=True)
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert sorted(left) == ([] if is_new else ["base", "base/3"])


def test_a_disk_error_is_raised(layer: Any, tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_version_directory.os, "rename", fail)
    with pytest.raises(OSError, match="No space left"):
        export(layer, tmp_path / "base")
    assert list(tmp_path.iterdir()) == []


def test_exports_at_once_are_versions_of_their_own(tmp_path: Path) -> None:
    numbers = range(8)
    barrier = threading.Barrier(len(numbers))

    def write(number: int) -> None:
        with _version_directory.staged(tmp_path) as path:
            (path / "number").write_text(str(number))
            barrier.wait()
            _version_directory.publish(path, tmp_path, None)

    threads = [threading.Thread(target=write, args=[number]) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {p.name: (p / "number").read_text() for p in tmp_path.iterdir()}
    assert set(found) == set("12345678")
    assert sorted(map(int, found.values())) == list(numbers)


def test_a_version_that_came_in_between_is_not_replaced(tmp_path: Path) -> None:
    with _version_directory.staged(tmp_path) as path:
        (path / "new").touch()
        (tmp_path / "5").mkdir()
        (tmp_path / "5" / "old").touch()
        with pytest.raises(ValueError, match="`version` 5 exists"):
            _version_directory.publish(path, tmp_path, 5)
    assert [p.name for p in tmp_path.rglob("*")] == ["5", "old"]


def test_where_no_version_can_be(layer: Any, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    for version, match in ((1, "`version` 1 exists"), (0, "positive"), ("2", "posi")):
        with pytest.raises(ValueError, match=match):
            export(layer, tmp_path, version=version)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match="directory of a model's versions"):
        export(layer, file)
    with pytest.raises(ValueError, match="must be a local directory"):
        export(layer, "gs://bucket/model")  # type: ignore[arg-type]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "file"]


def test_versions_are_those_of_64_bits(layer: Any, tmp_path: Path) -> None:
    """TF Serving reads an int64, and does not look at a larger number."""
    (tmp_path / str(2**63)).mkdir()
    (tmp_path / "20261130123456789012345").mkdir()
    assert export(layer, tmp_path) == tmp_path / "1"
    assert saved_model.resolve_version(tmp_path) == tmp_path / "1"
    with pytest.raises(ValueError, match=r"`version` must be .* below 2\*\*63"):
        export(layer, tmp_path, version=2**63)
    largest = export(layer, tmp_path, version=2**63 - 1)
    assert saved_model.resolve_version(tmp_path) == largest
    with pytest.raises(ValueError, match="`version` must be given"):
        export(layer, tmp_path)


def test_warmup_requests_are_those_of_the_samples(layer: Any, tmp_path: Path) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    path = serving.export(
        layer,
        tmp_path,
        {"inputs": tf.constant([[1.0, 2, 3], [4, 5, 6]])},
        batch_sizes=(0, 1, 3),
        warmup=True,
    )
    file = str(path / "assets.extra" / "tf_serving_warmup_requests")
    rows = []
    for record in tf.compat.v1.io.tf_record_iterator(file):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        assert set(request.inputs) == {"inputs"}
        rows.append(tf.make_ndarray(request.inputs["inputs"]).tolist())
    first, second = [1, 2, 3], [4, 5, 6]
    assert rows == [[first], [first, second, first]]


def test_without_the_protos_warmup_says_what_to_install(
    layer: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    def absent() -> None:
        raise ImportError("No module named 'tensorflow_serving'")

    monkeypatch.setattr(_warmup, "_protos", absent)
    with pytest.raises(ImportError, match=r"pip install 'tfrs-dhe\[serving\]'"):
        export(layer, tmp_path, warmup=True)
    with pytest.warns(UserWarning, match=r"pip install 'tfrs-dhe\[serving\]'"):
        path = export(layer, tmp_path)
    assert not (path / "assets.extra/tf_serving_warmup_requests").exists()
