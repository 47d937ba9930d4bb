"""Fresh Python processes, for what a process decides once and for all."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_python(
    code: str, path: tuple[str, ...] = (), **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Runs a program in a fresh interpreter with the package on its path.

    Args:
      code: The program.
      path: Folders that come before all others on the import path.
      **environment: Variables to set, or to unset (None). KERAS_BACKEND and
        TF_USE_LEGACY_KERAS are unset unless given.

    Returns:
      The finished process with its output as text.
    """
    settings: dict[str, str | None] = {
        "KERAS_BACKEND": None,
        "TF_USE_LEGACY_KERAS": None,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join([*path, str(ROOT)]),
        **environment,
    }
    variables = {**os.environ, **{k: v for k, v in settings.items() if v is not None}}
    for name, value in settings.items():
        if value is None:
            variables.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def check_python(
    code: str, path: tuple[str, ...] = (), **environment: str | None
) -> str:
    """Runs a program as `run_python` and returns its output; fails if it fails."""
    done = run_python(code, path, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
