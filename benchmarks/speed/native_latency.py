"""Latency of exported layers, served by a C program.

Calls from Python take longer than a look-up, so layers are exported and asked by the
program of `tfrs_dhe.serving.native`. They are measured in turns, and of the medians of
some rounds the lowest counts, as other programs on a machine only add to it.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfrs_dhe import serving
from tfrs_dhe.serving import native

ROUNDS = 5


def use_one_core() -> None:
    """Keeps this process, and those it starts, on one core where the system can.

    With more of them TensorFlow hands operations of a few microseconds from thread to
    thread in some runs and not in others, and medians of the same program differ by a
    factor of two.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


@contextlib.contextmanager
def serve(forms: Mapping[str, Any], ids: np.ndarray) -> Iterator[dict[str, Any]]:
    """Exports layers from ids to embeddings and starts a server of each."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        paths = {
            name: serving.export(
                form,
                Path(folder) / str(i),
                ids[:4],
                input_name="ids",
                output_name="embeddings",
                allow_untrained=True,
                warmup=False,
            )
            for i, (name, form) in enumerate(forms.items())
        }
        yield {
            name: stack.enter_context(native.Server(path))
            for name, path in paths.items()
        }


def lowest_medians(
    servers: Mapping[str, native.Server], batch: np.ndarray, seconds: float
) -> dict[str, float]:
    """Seconds that each server needs for a batch, measured for `seconds` each."""
    request = {"ids": batch}
    medians: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(ROUNDS):
        for name, server in servers.items():
            fastest = server.time("serving_default", request, repeats=1).min
            repeats = min(max(int(seconds / ROUNDS / fastest), 3), 2000)
            latency = server.time("serving_default", request, repeats)
            medians[name].append(latency.p50)
    return {name: min(values) for name, values in medians.items()}
