"""The C program serves what Python serves, and outlives wrong requests."""

import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.serving import native_checks, native_exports
from tfrs_dhe._keras import tfrs
from tfrs_dhe.serving import native

pytestmark = native_checks.needs_compiler


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[native.Server]:
    path = tmp_path_factory.mktemp("strings")
    native_exports.save_strings(path)
    with native.Server(path) as server:
        yield server


EXPORTS = [
    native_exports.save_mach_index,
    native_exports.save_side_features,
    pytest.param(
        native_exports.save_brute_force,
        marks=pytest.mark.skipif(tfrs is None, reason="an index of TFRS"),
    ),
]


@pytest.mark.parametrize("save", EXPORTS)
def test_answers_are_those_of_python(save, tmp_path: Path) -> None:
    native_checks.check_native(tmp_path, save(tmp_path))


def test_answers_by_hand(server: native.Server) -> None:
    texts = [b"abc", "\u00e9", b"", b"\xff\0"]
    answer = server.predict("serving_default", {"text": texts})
    assert answer["text"].tolist() == [b"abc", b"\xc3\xa9", b"", b"\xff\0"]
    assert answer["length"].tolist() == [3, 2, 0, 2]
    assert answer["halves"].dtype == tf.bfloat16.as_numpy_dtype
    assert answer["halves"].tolist() == [1.5, 1.0, 0.0, 1.0]
    assert answer["is_empty"].tolist() == [False, False, True, False]
    numbers = np.array([[1, 2], [3, 4]], ">f4")[:, ::-1]
    answer = server.predict("total", {"numbers": numbers, "negate": True})
    assert answer["sum"].tolist() == [-3, -7]
    empty = server.predict("total", {"numbers": np.zeros([0, 2], "f"), "negate": False})
    assert empty["sum"].shape == (0,)


def test_no_python_in_the_process(server: native.Server) -> None:
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtensorflow_cc.so" in maps
    assert "libpython" not in maps
    assert "_pywrap" not in maps


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("total", {"negate": True}, "must feed a value for placeholder"),
        ("total", {"numbers": np.zeros([1, 2]), "negate": True}, "is of type 1"),
        ("total", {"numbers": [[1.0]], "negate": True}, "2 elements in dimension 1"),
        ("total", {"numbers": [1.0, 2.0], "negate": True}, "is of rank 2"),
        ("total", {"numbers": [[1.0, np.nan]], "negate": True}, "must be finite"),
        ("serving_default", {"text": np.zeros(2)}, 'text:0" is of type 7'),
        ("serving_default", {"text": [["a"]]}, "is of rank 1"),
        # A Python function, which loads here and would load in TF Serving.
        ("with_python", {"number": [1]}, "PyFunc"),
    ],
)
def test_wrong_requests_are_refused_and_the_next_is_answered(
    server: native.Server, signature: str, inputs: dict, message: str
) -> None:
    with pytest.raises(native.RequestError, match=message):
        server.predict(signature, inputs)
    answer = server.predict("serving_default", {"text": ["next"]})
    assert answer["length"].tolist() == [4]


def test_the_driver_refuses_what_it_cannot_send(server: native.Server) -> None:
    with pytest.raises(ValueError, match=r"one of .*'total'.*Received: 'none'"):
        server.predict("none", {})
    with pytest.raises(ValueError, match=r"may be \['text'\]. Received: \['id'\]"):
        server.predict("serving_default", {"id": ["a"]})
    with pytest.raises(ValueError, match=r"inputs\['text'\].* dtype string"):
        server.predict("serving_default", {"text": [1]})
    with pytest.raises(ValueError, match=r"inputs\['text'\].* dtype string"):
        server.predict("serving_default", {"text": np.array([1, "a"], object)})
    with pytest.raises(ValueError, match=r"inputs\['number'\].* dtype int64"):
        server.predict("with_python", {"number": [2**70]})
    with pytest.raises(ValueError, match="repeats=0"):
        server.time("serving_default", {"text": ["a"]}, repeats=0)


def test_large_requests_leave_no_memory_behind(server: native.Server) -> None:
    def megabytes() -> float:
        pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096 / 1e6

    texts = [b"x" * 50_000_000, b"y" * 100_000]
    used = []
    for _ in range(5):
        answer = server.predict("serving_default", {"text": texts})
        assert answer["length"].tolist() == [50_000_000, 100_000]
        assert answer["text"][0] == texts[0]
        used.append(megabytes())
    # One string that is kept for each request would be 150 MB in three.
    assert used[-1] - used[1] < 100


def test_times_are_of_runs(server: native.Server) -> None:
    latency = server.time("serving_default", {"text": ["a"]}, repeats=20)
    assert 0 < latency.min <= latency.p50
    with pytest.raises(native.RequestError, match="must be finite"):
        server.time("total", {"numbers": [[np.inf, 1]], "negate": False}, repeats=2)


def test_a_damaged_export(tmp_path: Path) -> None:
    inputs = native_exports.save_side_features(tmp_path)["serving_default"]
    (data,) = (tmp_path / "variables").glob("*.data-*")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(native.RequestError, match="RestoreV2"):
        native.Server(tmp_path)
    # As in TF Serving, which says AVAILABLE then and fails at a request.
    for file in (tmp_path / "variables").iterdir():
        file.unlink()
    with native.Server(tmp_path) as server, pytest.raises(native.RequestError):
        server.predict("serving_default", inputs)
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"saved_model\.pb is damaged"):
        native.Server(tmp_path)
    (tmp_path / "saved_model.pb").unlink()
    with pytest.raises(ValueError, match=r"has no saved_model\.pb"):
        native.Server(tmp_path)


def test_a_process_that_ends_is_an_error(tmp_path: Path) -> None:
    native_exports.save_strings(tmp_path)
    server = native.Server(tmp_path)
    server.process.kill()
    server.process.wait()
    with pytest.raises(RuntimeError, match="ended with code -9"):
        server.predict("serving_default", {"text": ["a"]})
    server.close()
    with pytest.raises(RuntimeError, match="closed"):
        server.predict("serving_default", {"text": ["a"]})


def test_an_interrupted_request_leaves_no_answer_to_the_next(
    tmp_path: Path,
) -> None:
    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    native_exports.save_strings(tmp_path)
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        with native.Server(tmp_path) as server:
            server.process.send_signal(signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                server.predict("serving_default", {"text": ["first"]})
            server.process.send_signal(signal.SIGCONT)
            with pytest.raises(RuntimeError, match=r"closed.*interrupted request"):
                server.predict("serving_default", {"text": ["second"]})
    finally:
        signal.signal(signal.SIGALRM, handler)


def test_half_an_answer_is_none(tmp_path: Path) -> None:
    """The process ends while it writes a string, whose first half has come."""
    native_exports.save_strings(tmp_path)
    loaded = struct.pack("=QII", 8, 0, 0)
    text = struct.pack("=IIIqQQ", 1, tf.string.as_datatype_enum, 1, 1, 14, 6)
    answer = struct.pack("=QII", 8 + len(text) + 6, 0, 0) + text + b"hal"
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"sys.stdout.buffer.write({loaded + answer!r})\n"
        "sys.stdout.flush()\nsys.stdin.buffer.read(8)\n"
    )
    program.chmod(0o755)
    with (
        native.Server(tmp_path, program) as server,
        pytest.raises(RuntimeError, match="ended with code 0"),
    ):
        server.predict("total", {"numbers": [[1, 2]], "negate": False})
