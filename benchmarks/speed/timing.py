"""What the speed benchmarks share: the clock and the conditions."""

import os
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import tensorflow as tf

WARM_UP = 3

Name = TypeVar("Name", bound=Hashable)


def median_seconds(
    functions: Mapping[Name, Callable[[tf.Tensor], tf.Tensor]],
    argument: tf.Tensor,
    repeats: int,
) -> dict[Name, float]:
    """Medians of `repeats` calls, taken in turns so that noise hits all alike."""
    seconds: dict[Name, list[float]] = {name: [] for name in functions}
    for repeat in range(WARM_UP + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            result = function(argument)
            # One value, so that the clock stops when the result is there.
            result[-1].numpy()
            if repeat >= WARM_UP:  # The first calls trace, compile and warm up.
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def conditions() -> dict[str, Any]:
    """What figures depend on besides the program."""
    return {
        "tensorflow": tf.__version__,
        "cpus": os.cpu_count(),
        "gpus": len(tf.config.list_physical_devices("GPU")),
    }
