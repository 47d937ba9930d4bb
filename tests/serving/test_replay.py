import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrs_dhe.serving._verification import processes
from tfrs_dhe.serving._verification.recorded_requests import Request
from tfrs_dhe.serving._verification.replay import replay


def test_process_killed_by_a_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def killed(script: Path, arguments: Sequence[str], timeout: float) -> Any:
        answers = Path(arguments[2])
        answers.write_text(
            '{"loaded": 0.5}\n{"outputs": {}, "seconds": 0.25}\n{"outputs": {"sco'
        )
        return subprocess.CompletedProcess(script, -11, b"", b"\n\nStack smashed\n")

    monkeypatch.setattr(processes, "run_script", killed)
    inputs = {"user_id": np.array([b"ann"], object)}
    requests = [Request(f"warmup record {i}", "rank", inputs) for i in range(3)]
    result = replay(tmp_path, requests, timeout=1, tolerance=0)
    assert result.problems == [
        "warmup record 1 in a fresh process ended the process with status -11. "
        "Its last lines:\n    Stack smashed"
    ]
    assert (result.load_seconds, result.first_seconds) == (0.5, 0.25)
    assert result.median_seconds is None
