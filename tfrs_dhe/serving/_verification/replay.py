"""Tries requests in a fresh process and says what came of them."""

import base64
import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from tfrs_dhe.serving._verification import processes
from tfrs_dhe.serving._verification.answers import answer_problems
from tfrs_dhe.serving._verification.recorded_requests import Request


@dataclasses.dataclass(frozen=True)
class Replay:
    """What came of the requests.

    Attributes:
      problems: A sentence for each thing that went wrong.
      load_seconds: How long loading took; None if it failed.
      first_seconds: How long the first request took; None if none was answered.
      median_seconds: The median of the requests after it, None if there were none.
    """

    problems: Sequence[str]
    load_seconds: float | None
    first_seconds: float | None
    median_seconds: float | None


def replay(
    version_path: Path, requests: Sequence[Request], timeout: float, tolerance: float
) -> Replay:
    """Loads a version in a process without this package and answers requests there.

    Args:
      version_path: The version's directory.
      requests: The requests; answers are compared where some were recorded.
      timeout: After so many seconds the process is killed, which is a problem.
      tolerance: Of floats, relative to the largest value of an output.

    Returns:
      What came of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "requests.jsonl"), Path(folder, "answers.jsonl")
        asked.write_text("".join(_line(request) + "\n" for request in requests))
        failure = _run([str(version_path), str(asked), str(answered)], timeout)
        written = answered.read_text() if answered.exists() else ""
    # The last line may be cut off where the process was killed.
    lines = [json.loads(line) for line in written.splitlines(True) if line[-1] == "\n"]
    loading, answers = lines[:1], lines[1:]
    problems = []
    for request, answer in zip(requests, answers, strict=False):
        problems += [
            f"{request.name} ({request.signature}): {text}"
            for text in _problems(request, answer, tolerance)
        ]
    if failure:
        problems.append(f"{_step(requests, lines)} {failure}")
    seconds = [answer["seconds"] for answer in answers if "seconds" in answer]
    return Replay(
        problems,
        loading[0]["loaded"] if loading else None,
        seconds[0] if seconds else None,
        float(np.median(seconds[1:])) if len(seconds) > 1 else None,
    )


def _run(arguments: Sequence[str], timeout: float) -> str:
    """Returns how the process failed, empty if it did not."""
    script = Path(__file__).with_name("session.py")
    try:
        done = processes.run_script(script, arguments, timeout)
    except subprocess.TimeoutExpired as error:
        lines = processes.last_lines(error.stderr)
        return f"did not end within {timeout:g} seconds. Its last lines:\n{lines}"
    if done.returncode == 0:
        return ""
    lines = processes.last_lines(done.stderr)
    return f"ended the process with status {done.returncode}. Its last lines:\n{lines}"


def _step(requests: Sequence[Request], lines: Sequence[object]) -> str:
    if not lines:
        return "loading in a fresh process"
    if len(lines) <= len(requests):
        return f"{requests[len(lines) - 1].name} in a fresh process"
    return "closing the session in a fresh process"


def _problems(
    request: Request, answer: Mapping[str, object], tolerance: float
) -> list[str]:
    error = answer.get("error")
    if error is not None:
        return [f"it fails with {_first_line(str(error))}"]
    if request.expected is None:
        return []
    outputs = answer["outputs"]
    assert isinstance(outputs, dict)
    received = {name: _array(text) for name, text in outputs.items()}
    return answer_problems(request.expected, received, tolerance)


def _first_line(error: str) -> str:
    # TensorFlow appends the graph's whole story to its errors.
    return next((line for line in error.splitlines() if line.strip()), "")[:500]


def _line(request: Request) -> str:
    inputs = {name: _text(array) for name, array in request.inputs.items()}
    return json.dumps({"signature": request.signature, "inputs": inputs})


def _text(array: np.ndarray) -> str:
    proto = tf.make_tensor_proto(array)
    return base64.b64encode(proto.SerializeToString()).decode()


def _array(text: str) -> np.ndarray:
    return tf.make_ndarray(tensor_pb2.TensorProto.FromString(base64.b64decode(text)))
