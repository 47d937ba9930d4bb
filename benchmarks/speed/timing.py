"""What the speed benchmarks share: the clock, memory and the conditions."""

import os
import resource
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import tensorflow as tf

WARM_UP = 3

Name = TypeVar("Name", bound=Hashable)


def median_seconds(
    functions: Mapping[Name, Callable[[tf.Tensor], tf.Tensor]],
    argument: tf.Tensor,
    repeats: int,
) -> dict[Name, float]:
    """Medians of `repeats` calls, taken in turns so that noise hits all alike."""
    times = median_times(functions, argument, repeats)
    return {name: time.wall for name, time in times.items()}


class Times(NamedTuple):
    """Seconds by the clock on the wall, and those that processors worked."""

    wall: float
    processor: float


def median_times(
    functions: Mapping[Name, Callable[[tf.Tensor], Any]],
    argument: tf.Tensor,
    repeats: int,
) -> dict[Name, Times]:
    """As `median_seconds`, with the processors' time, which other programs spare."""
    taken: dict[Name, list[tuple[float, float]]] = {name: [] for name in functions}
    for repeat in range(WARM_UP + repeats):
        for name, function in functions.items():
            start = time.perf_counter(), time.process_time()
            result = function(argument)
            # One value, so that the clock stops when the result is there.
            result[-1].numpy()
            end = time.perf_counter(), time.process_time()
            if repeat >= WARM_UP:  # The first calls trace, compile and warm up.
                taken[name].append((end[0] - start[0], end[1] - start[1]))
    return {
        name: Times(*(statistics.median(column) for column in zip(*rows, strict=True)))
        for name, rows in taken.items()
    }


def peak_memory() -> int:
    """Bytes that the process has ever held at a time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def conditions() -> dict[str, Any]:
    """What figures depend on besides the program."""
    return {
        "tensorflow": tf.__version__,
        "cpus": os.cpu_count(),
        "gpus": len(tf.config.list_physical_devices("GPU")),
    }
