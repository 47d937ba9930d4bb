"""Training on several replicas, processes and servers against one device.

What is compared are whole trainings of `tests/models/distributed.py`, in float64.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.models import distributed
from tests.processes import ROOT

SECONDS = 240
#: Losses are sums in float32, over examples and at most as many repetitions.
TERMS = distributed.BATCH * distributed.NUM_REPETITIONS
ROUNDING = 2.0**-24
#: Adam moves a weight in each of 12 steps by at most its rate, 0.01, or so, times a
#: quotient of gradients that have the relative error of such a sum.
WEIGHT_TOLERANCE = 0.01 * 12 * TERMS * ROUNDING


def start(place: str, directory: Path, names: list[str], log: str, **environment: str):
    """Starts a training, of which one cannot say when it should end."""
    settings = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    arguments = [place, ",".join(names), str(directory)]
    with (directory / log).open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.models.distributed", *arguments],
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
            cwd=ROOT,
        )


def run(place: str, directory: Path, names: list[str]) -> None:
    process = start(place, directory, names, f"{place}.log")
    try:
        status = process.wait(SECONDS)
    finally:
        process.kill()
    assert status == 0, (directory / f"{place}.log").read_text()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trainings write, and the one on one device has written."""
    path = tmp_path_factory.mktemp("trainings")
    run("one_device", path, sorted(distributed.MODELS))
    return path


def read_losses(directory: Path, prefix: str) -> np.ndarray:
    """Returns the losses [epochs, steps]."""
    paths = [
        directory / f"{prefix}-losses-{epoch}.json"
        for epoch in range(distributed.EPOCHS)
    ]
    return np.array([json.loads(path.read_text()) for path in paths])


def assert_same_weights(
    directory: Path, name: str, place: str, other: str, atol: float
) -> None:
    expected, actual = (
        np.load(directory / f"{name}-{where}-weights.npz") for where in (place, other)
    )
    assert sorted(actual) == sorted(expected)
    assert len(expected) > 10
    for key in expected:
        np.testing.assert_allclose(actual[key], expected[key], rtol=0, atol=atol)


def assert_same_training(directory: Path, name: str, place: str) -> None:
    expected = read_losses(directory, f"{name}-one_device")
    # The models learn, or equal losses would say little.
    assert expected[-1].sum() < 0.95 * expected[0].sum()
    actual = read_losses(directory, f"{name}-{place}")
    np.testing.assert_allclose(actual, expected, rtol=TERMS * ROUNDING)
    assert_same_weights(directory, name, "one_device", place, WEIGHT_TOLERANCE)


def test_two_replicas_train_as_one_device(directory: Path) -> None:
    run("mirrored", directory, sorted(distributed.MODELS))
    for name in distributed.MODELS:
        assert_same_training(directory, name, "mirrored")
        # One device reads the checkpoint of two replicas.
        assert_same_weights(directory, name, "mirrored", "loaded", atol=0)


def test_two_workers_one_of_which_is_killed_train_as_one_device(
    directory: Path,
) -> None:
    """As the manager of a cluster does: one worker is gone, all are started again."""
    names = ["retrieval", "mach"]
    for expected in (-signal.SIGKILL, 0):
        cluster = [f"localhost:{port}" for port in distributed.free_ports(2)]
        workers = []
        for index in range(2):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": cluster}, "task": task})
            log = f"worker{index}.log"
            workers.append(start("worker", directory, names, log, TF_CONFIG=config))
        first, second = workers
        try:
            status = second.wait(SECONDS)
            assert status == expected, (directory / "worker1.log").read_text()
            if expected == 0:
                assert first.wait(SECONDS) == 0, (directory / "worker0.log").read_text()
        finally:
            for process in workers:
                process.kill()
                process.wait()
    for name in names:
        for worker in ("worker0", "worker1"):
            assert_same_training(directory, name, worker)


def test_parameter_server(directory: Path) -> None:
    """One worker does as one device; two do steps when they can, and learn as well."""
    names = ["retrieval", "mach"]
    for num_workers in (1, 2):
        run(f"parameter_server_{num_workers}", directory, names)
    for name in names:
        assert_same_weights(directory, name, "one_device", "by1", WEIGHT_TOLERANCE)
        before, after = json.loads((directory / f"{name}-by2-losses.json").read_text())
        assert after < 0.95 * before
