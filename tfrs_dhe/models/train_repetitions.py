r"""Trains the repetitions of MACH by processes that never talk to each other.

    python -m tfrs_dhe.models.train_repetitions my_module:make \
        --directory runs/x --num-repetitions 16 --processes 2

`make(repetitions)` returns a `tfrs_dhe.models.TrainingRun`; `my_module:make` may be
`path/to/file.py:make` as well. Every repetition gets a process, a model and a folder
of its own. On a cluster, the same command with a part of the repetitions is a job:

    ... --repetitions $SLURM_ARRAY_TASK_ID
    ... --repetitions 0:4

The folder may be shared or collected afterwards; `tfrs_dhe.models.MACHEnsemble`
merges what is there. If a process is killed, the same command goes on at its last
checkpoint, and finished repetitions are left alone. A training that goes on in another
number of threads may differ in the last bits, so each folder keeps that number.

Exit code: 0 if all repetitions asked for are finished, 1 if one failed, 2 for wrong
arguments.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tfrs_dhe.models import _repetition_directory, _repetition_worker

#: How much of a failed process's log is shown.
NUM_LOG_LINES = 20

_POLL_SECONDS = 0.1


def parse_repetitions(text: str) -> tuple[int, ...]:
    """Returns the numbers that "3", "0:4" or "0:4,8,12:14" stands for.

    Example:
    >>> parse_repetitions("0:3,7")
    (0, 1, 2, 7)

    Raises:
      ValueError: If the text is something else, a range is empty, or a number is there
        twice.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?::(\d+))?", part.strip())
        if match is None:
            raise ValueError(
                f'Repetitions are written as "3", "0:4" or "0:4,8". Received: {text!r}.'
            )
        first, end = match.groups()
        part_numbers = range(int(first), int(first) + 1 if end is None else int(end))
        if not part_numbers:
            raise ValueError(
                f"{part.strip()!r} has no repetitions. Received: {text!r}."
            )
        numbers += part_numbers
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"Each repetition must be named once. Received: {text!r}.")
    return tuple(sorted(numbers))


def group(
    repetitions: Sequence[int], num_repetitions: int, size: int
) -> list[tuple[int, ...]]:
    """Returns the repetitions of each model: `size` of them, the last one fewer.

    Raises:
      ValueError: If a repetition is out of range, or a model is not asked for whole.
    """
    if repetitions[-1] >= num_repetitions:
        raise ValueError(
            f"--repetitions go from 0 to {num_repetitions - 1} with "
            f"--num-repetitions {num_repetitions}. Received: {repetitions[-1]}."
        )
    asked, groups = set(repetitions), []
    for start in range(0, num_repetitions, size):
        of_model = tuple(range(start, min(start + size, num_repetitions)))
        if asked.issuperset(of_model):
            groups.append(of_model)
        elif not asked.isdisjoint(of_model):
            raise ValueError(
                f"With --repetitions-per-model {size} one model has the repetitions "
                f"{of_model[0]} to {of_model[-1]}; --repetitions must have all or "
                f"none of them. Received: {tuple(repetitions)}."
            )
    return groups


@dataclasses.dataclass
class _Job:
    """One model to train, and the process that does."""

    label: str
    place: _repetition_directory.RepetitionDirectory
    options: dict[str, Any]
    tries_left: int
    slot: int = 0
    process: subprocess.Popen[bytes] | None = None
    log_start: int = 0
    log_shown: int = 0
    started: float = 0.0

    def start(self, environment: dict[str, str]) -> None:
        self.place.path.mkdir(parents=True, exist_ok=True)
        self.tries_left -= 1
        self.started = time.monotonic()
        with self.place.log.open("ab") as log:
            self.log_start = self.log_shown = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, _repetition_worker.__file__, json.dumps(self.options)],
                # Never written to; it closes when this process is gone.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def show_progress(self) -> None:
        """Prints the lines of progress that the process has logged since."""
        with self.place.log.open("rb") as log:
            log.seek(self.log_shown)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self.log_shown += len(line)
                text = line.decode(errors="replace").rstrip()
                if text.startswith(f"{self.label}: "):
                    _say(text)

    def log_tail(self) -> str:
        with self.place.log.open("rb") as log:
            log.seek(self.log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-NUM_LOG_LINES:])

    def stop(self) -> None:
        assert self.process is not None
        # At any moment: the next one goes on at the last checkpoint.
        self.process.kill()
        self.process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        # Empty text, as of a variable that is not set, does not stand for all.
        asked = args.repetitions
        repetitions = parse_repetitions(
            f"0:{args.num_repetitions}" if asked is None else asked
        )
        groups = group(repetitions, args.num_repetitions, args.repetitions_per_model)
    except ValueError as error:
        parser.error(str(error))
    jobs, finished = [], 0
    for of_model in groups:
        job = _make_job(of_model, args)
        manifest = job.place.read_manifest()
        if manifest and manifest["state"] == _repetition_directory.FINISHED:
            _say(f"{job.label}: has been finished before")
            finished += 1
        else:
            jobs.append(job)
    failed = _run(jobs, args)
    finished += len(jobs) - len(failed)
    _say(f"{finished} of {len(groups)} models are finished in {args.directory}.")
    if failed:
        _say(f"Failed: {'; '.join(failed)}. The same command goes on with them.")
    return 1 if failed else 0


def _run(jobs: list[_Job], args: argparse.Namespace) -> list[str]:
    """Runs all processes, so many at a time, and returns the labels of failed ones."""
    waiting, running = list(jobs), list[_Job]()
    failed: list[str] = []
    with _terminate_on_signal():
        try:
            while waiting or running:
                while waiting and len(running) < args.processes:
                    job = waiting.pop(0)
                    slots = {other.slot for other in running}
                    job.slot = min(set(range(args.processes)) - slots)
                    job.start(_environment(args, job))
                    running.append(job)
                    _say(f"{job.label}: starts, log in {job.place.log}")
                time.sleep(_POLL_SECONDS)
                for job in list(running):
                    assert job.process is not None
                    code = job.process.poll()
                    job.show_progress()
                    if code is None:
                        continue
                    running.remove(job)
                    seconds = time.monotonic() - job.started
                    if code == 0:
                        _say(f"{job.label}: finished after {seconds:.0f} s")
                        continue
                    reason = f"exit code {code}" if code > 0 else f"signal {-code}"
                    _say(
                        f"{job.label}: FAILED with {reason} after {seconds:.0f} s. "
                        f"The end of {job.place.log}:\n{job.log_tail()}"
                    )
                    if job.tries_left:
                        _say(f"{job.label}: tries again")
                        waiting.append(job)
                    else:
                        failed.append(job.label)
        finally:
            for job in running:
                job.stop()
    return failed


def _make_job(repetitions: tuple[int, ...], args: argparse.Namespace) -> _Job:
    place = _repetition_directory.RepetitionDirectory.of(args.directory, repetitions)
    manifest = place.read_manifest() or {}
    options = {
        "make": args.make,
        "directory": str(args.directory),
        "repetitions": repetitions,
        "num_repetitions": args.num_repetitions,
        "seed": args.seed,
        "checkpoint_seconds": args.checkpoint_seconds,
        "deterministic": not args.nondeterministic,
        # The sums of a step are cut by threads, so their number is kept.
        "threads": args.threads
        or manifest.get("threads")
        or max(1, _num_cpus() // args.processes),
    }
    label = _repetition_directory.label(repetitions)
    return _Job(label, place, options, tries_left=args.retries + 1)


def _environment(args: argparse.Namespace, job: _Job) -> dict[str, str]:
    threads = str(job.options["threads"])
    environment = {
        **os.environ,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
    }
    if args.gpus:
        gpus = args.gpus.split(",")
        environment["CUDA_VISIBLE_DEVICES"] = gpus[job.slot % len(gpus)]
        # Several processes may share one.
        environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return environment


def _num_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        # What a scheduler has given to this job.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _terminate_on_signal() -> Iterator[None]:
    """Makes signals an exception, so that the processes are ended as well."""

    def leave(number: int, frame: Any) -> None:
        _say("Interrupted. The same command goes on at the last checkpoints.")
        sys.exit(128 + number)

    before = {
        number: signal.signal(number, leave)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(text, flush=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tfrs_dhe.models.train_repetitions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "make", help="module:function or file.py:function that returns a TrainingRun"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        required=True,
        help="where every repetition gets a folder",
    )
    parser.add_argument(
        "--num-repetitions",
        type=_positive,
        required=True,
        help="R of the whole model",
    )
    parser.add_argument(
        "--repetitions",
        help='which to train here, such as "3", "0:4" or "0:4,8"; by default all',
    )
    parser.add_argument(
        "--repetitions-per-model",
        type=_positive,
        default=1,
        help="how many share a model and its trunk; by default 1, as in the paper",
    )
    parser.add_argument(
        "--processes", type=_positive, default=1, help="how many at a time"
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        help="of each process; by default all CPUs divided among --processes",
    )
    parser.add_argument(
        "--gpus", help='such as "0,1", handed out to the processes in turn'
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of initial weights and the order of the data; not that of the hashes",
    )
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=600.0,
        help="between checkpoints within an epoch; there is one after each epoch",
    )
    parser.add_argument(
        "--retries",
        type=_count,
        default=0,
        help="how often a failed process is started again",
    )
    parser.add_argument(
        "--nondeterministic",
        action="store_true",
        help="for a model with an op that TensorFlow cannot run deterministically",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
