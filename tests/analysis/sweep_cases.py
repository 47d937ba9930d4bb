"""Functions that `sweep` evaluates in processes of its own."""

import os
import time
from pathlib import Path
from typing import Any


def evaluate(data_share: float, b: int, r: int, seed: int = 0) -> dict[str, float]:
    """Returns a quality that saturates in b r."""
    size = b * r
    return {
        "quality": data_share * size / (size + 100) + 0.001 * seed,
        "bytes": 4 * size,
        "pid": os.getpid(),
    }


def fail_until_told(data_share: float, flag: str, x: int) -> dict[str, float]:
    """Fails for x = 1 until a file is there, and counts its calls."""
    calls = Path(flag + f".{x}")
    calls.write_text(calls.read_text() + "." if calls.exists() else ".")
    if x == 1 and not Path(flag).exists():
        raise OSError("the disk is full")
    return {"quality": x, "bytes": 1}


def nothing(**settings: Any) -> dict[str, float]:
    """Returns too little."""
    return {"quality": 1.0}


def parse(data_share: float, quality: str) -> dict[str, float]:
    """Returns the quality that a word says."""
    return {"quality": float(quality), "bytes": 1}


def rendezvous(data_share: float, folder: str, me: int, other: int) -> dict[str, float]:
    """Returns when another process has been seen: both run at a time, or never end."""
    Path(folder, str(me)).touch()
    while not Path(folder, str(other)).exists():
        time.sleep(0.01)
    return {"quality": 1, "bytes": 1}
