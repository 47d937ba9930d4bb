"""`sweep`: evaluates a grid of settings in processes, and goes on where it stopped."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tfrs_dhe.analysis.sweep_results import Sweep, SweepPoint
from tfrs_dhe.layers import _arguments

_WORKER = Path(__file__).with_name("_sweep_worker.py")
_LOG_TAIL = 1500


def sweep(
    evaluate: str,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    directory: str | Path,
    *,
    data_share: float = 1.0,
    processes: int = 1,
    threads: int | None = None,
    higher_is_better: bool = True,
) -> Sweep:
    """Evaluates every point of a grid, each in a process of its own.

    A finished point is a file in the directory. The same call after an interruption, or
    with a larger grid, evaluates what is missing; points that failed are tried again.

    Example, `my_model.py` having a function
    `evaluate(data_share, num_buckets, num_repetitions)` that trains on so much of the
    data and returns `{"quality": recall, "bytes": size}`:

    >>> result = sweep(
    ...     "my_model.py:evaluate",
    ...     {"num_buckets": [100, 1000], "num_repetitions": [2, 4]},
    ...     "runs/sweep",
    ...     data_share=0.1,
    ...     processes=4,
    ... )  # doctest: +SKIP
    >>> print(result.recommended())  # doctest: +SKIP

    Args:
      evaluate: `module:function` or `file.py:function`. It is called with `data_share`
        and the settings of a point by name, and returns a dict of numbers with at least
        `quality` and `bytes`.
      grid: For each setting its values, all of which are combined; or a list of points.
        Values are what JSON has: finite numbers, strings, booleans, None, and lists of
        these. A setting named `seed` says which points are repetitions of one another;
        each point is there once.
      directory: Where results and logs go; it is made.
      data_share: Part of the data to train on, in (0, 1]; `in_sample` takes it by user.
      processes: How many at a time.
      threads: Of each; by default the CPUs divided among the processes.
      higher_is_better: Whether more quality is better, as of a recall; else it is a
        loss.

    Returns:
      A `Sweep` of the points of this grid that are finished.

    Raises:
      ValueError: If an argument is out of range.
      RuntimeError: If points failed; the message has the end of their logs. Those that
        are finished are kept.

    References:
      The sensitivity to B and R that Medini et al., NeurIPS 2019, leave open.
    """
    module = evaluate.rpartition(":")[0]
    if not module or (module.endswith(".py") and not Path(module).is_file()):
        raise ValueError(
            "`evaluate` must be module:function or file.py:function, of a file that is "
            f"there. Received: {evaluate!r}."
        )
    if not 0 < data_share <= 1:
        raise ValueError(f"`data_share` must be in (0, 1]. Received: {data_share!r}.")
    _arguments.check_positive_integer("processes", processes)
    points = _points(grid)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    threads = threads or max(1, len(os.sched_getaffinity(0)) // processes)
    jobs = [{"data_share": data_share, **point} for point in points]
    paths = [directory / f"{_key(evaluate, job)}.json" for job in jobs]
    waiting = [
        (job, path) for job, path in zip(jobs, paths, strict=True) if not path.exists()
    ]
    with ThreadPoolExecutor(processes) as pool:
        failures = [
            failure
            for failure in pool.map(
                lambda one: _run(evaluate, one[0], one[1], threads), waiting
            )
            if failure
        ]
    if failures:
        raise RuntimeError(
            f"{len(failures)} of {len(jobs)} points failed; the same call tries them "
            "again. " + "\n".join(failures)
        )
    return Sweep(tuple(_read(path) for path in paths), higher_is_better)


def _points(grid: Any) -> list[dict[str, Any]]:
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str):
                raise ValueError(
                    "`grid` must have a list of values for each setting. Received: "
                    f"{name} = {values!r}."
                )
        points = [
            dict(zip(grid, values, strict=True))
            for values in itertools.product(*grid.values())
        ]
    else:
        points = [dict(point) for point in grid]
    if not points:
        raise ValueError(f"`grid` must have at least one point. Received: {grid!r}.")
    if any(set(point) != set(points[0]) for point in points):
        raise ValueError("`grid` as a list must have the same settings in each point.")
    if "data_share" in points[0]:
        # Results of several shares would be taken for seeds of one another.
        raise ValueError(
            "`grid` must not have the setting data_share, which is an argument of "
            "`sweep`. Make a sweep for each share."
        )
    seen = set()
    for point in points:
        for name, value in point.items():
            _check_value(name, value)
        text = json.dumps(point, sort_keys=True)
        if text in seen:
            # It would count as two seeds that agree.
            raise ValueError(
                f"`grid` must have each point once. Received twice: {point}."
            )
        seen.add(text)
    return points


def _check_value(name: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`grid` must have values that JSON has: finite numbers, strings, booleans, "
            f"None or lists of these. Received: {name} = {value!r} of type "
            f"{type(value).__name__}."
        ) from error


def _key(evaluate: str, settings: Mapping[str, Any]) -> str:
    text = json.dumps([evaluate, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _run(evaluate: str, settings: dict[str, Any], path: Path, threads: int) -> str:
    """Evaluates a point; returns what went wrong, "" if nothing did."""
    job = {"evaluate": evaluate, "settings": settings, "path": str(path.resolve())}
    environment = {
        **os.environ,
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
    }
    log = path.with_suffix(".log")
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, str(_WORKER), json.dumps(job)],
            # Held open: the process ends when this one is gone.
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        code = process.wait()
    if code == 0 and path.exists():
        return ""
    return f"{settings}, exit code {code}, {log}:\n{log.read_text()[-_LOG_TAIL:]}"


def _read(path: Path) -> SweepPoint:
    found = json.loads(path.read_text())
    settings, figures = found["settings"], found["figures"]
    missing = {"quality", "bytes"} - set(figures)
    if missing:
        raise ValueError(
            "`evaluate` must return a dict with `quality` and `bytes`. Received one "
            f"without {sorted(missing)}, in {path}."
        )
    settings.pop("data_share")
    # What is not finite is a word there.
    figures = {name: float(value) for name, value in figures.items()}
    return SweepPoint(settings, figures["quality"], figures["bytes"], figures)
