"""Scripts of this folder, run in a Python process of their own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ENVIRONMENT = {
    # Kernels are looked for on the CPU; and the memory of a GPU may all belong to the
    # process that asks.
    "CUDA_VISIBLE_DEVICES": "-1",
    # Only errors, of which the last are shown.
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def run_script(
    script: Path, arguments: Sequence[str], timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Runs a script by its path, in a process that has none of this one's modules.

    Args:
      script: The script.
      arguments: Its arguments.
      timeout: After so many seconds the process is killed.

    Returns:
      The finished process with what it wrote.

    Raises:
      subprocess.TimeoutExpired: If the time did not suffice.
    """
    return subprocess.run(
        # -P: the folder of the script stays off the path of imports, where its
        # neighbours would hide modules of the same names.
        [sys.executable, "-P", str(script), *arguments],
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def last_lines(output: bytes | None, count: int = 5) -> str:
    """Returns the end of what a process wrote, indented.

    Args:
      output: What it wrote.
      count: How many lines that are not empty.
    """
    lines = (output or b"").decode(errors="replace").splitlines()
    kept = [line.rstrip() for line in lines if line.strip()][-count:]
    return "\n".join(f"    {line[:300]}" for line in kept)
