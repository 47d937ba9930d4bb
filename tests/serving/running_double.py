"""Runs the stand-in of TF Serving in a process of its own."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from tests.processes import ROOT

# Long enough for a busy machine; nothing here is about time.
TIMEOUT = 60


@dataclasses.dataclass(frozen=True)
class RunningDouble:
    """Where a server is."""

    grpc_port: int
    rest_port: int

    @property
    def target(self) -> str:
        return f"localhost:{self.grpc_port}"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.rest_port}"

    def post(
        self, body: Any, path: str = "/v1/models/movies:predict"
    ) -> requests.Response:
        """Sends bytes as they are, and anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body)
        return requests.post(self.url + path, data=data, timeout=TIMEOUT)


@contextlib.contextmanager
def running_double(base_path: Path, *flags: str) -> Iterator[RunningDouble]:
    """Serves the model `movies`; fails if the server dies before it is stopped."""
    port_file = base_path.with_name(f"{base_path.name}.ports")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.serving.double", "--model_name=movies"),
            f"--model_base_path={base_path}",
            f"--port_file={port_file}",
            *flags,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    try:
        wait_until(lambda: port_file.exists() or process.poll() is not None)
        assert port_file.exists(), "the server did not start"
        ports = json.loads(port_file.read_text())
        yield RunningDouble(ports["grpc"], ports["rest"])
        assert process.poll() is None, "the server died"
    finally:
        process.terminate()
        process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for what another process does."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
