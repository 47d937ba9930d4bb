"""Compares answers with recorded ones.

Integers and strings have to be equal. So have floats, to the bit, in general: the
same kernels get the same batch on the same machine. But the Session loader optimizes
the graph, and another machine has other vector units, which may add up in another
order: a sum of n products then differs by about n roundings of 6e-8 at worst, and by
the root of n mostly. `TOLERANCE` times the largest value is some sixteen roundings.

Where scores come in another last digit, identifiers of equal scores may change places.
"""

from collections.abc import Mapping

import numpy as np

#: The largest difference between floats, relative to the largest value of the output.
TOLERANCE = 1e-6
SCORES, IDS = "scores", "ids"


def answer_problems(
    expected: Mapping[str, np.ndarray],
    received: Mapping[str, np.ndarray],
    tolerance: float = TOLERANCE,
) -> list[str]:
    """Returns in what an answer differs from the one recorded.

    Args:
      expected: The outputs recorded.
      received: The outputs that came.
      tolerance: Of floats, relative to the largest value of the output.

    Returns:
      A sentence for each output that differs.
    """
    if set(expected) != set(received):
        return [
            f"it has the outputs {sorted(received)} and not {sorted(expected)}, "
            "which were recorded."
        ]
    problems = []
    for name in sorted(expected):
        want, got = expected[name], received[name]
        if (want.shape, want.dtype) != (got.shape, got.dtype):
            problems.append(
                f"output {name!r} is {got.dtype} {list(got.shape)}, and "
                f"{want.dtype} {list(want.shape)} was recorded."
            )
            continue
        differing = _differing(want, got, tolerance)
        if name == IDS and differing.any():
            differing &= ~_exchanged(expected, received, tolerance)
        if differing.any():
            problems.append(_message(name, want, got, differing))
    return problems


def _is_float(array: np.ndarray) -> bool:
    # bfloat16 and its like are of kind "V".
    return array.dtype.kind in "fcV"


def _differing(want: np.ndarray, got: np.ndarray, tolerance: float) -> np.ndarray:
    """Returns where two arrays differ, NaN being equal to NaN."""
    if not _is_float(want):
        return np.asarray(want != got, bool)
    precise = np.complex128 if want.dtype.kind == "c" else np.float64
    want, got = want.astype(precise), got.astype(precise)
    finite = np.isfinite(want)
    largest = np.abs(want[finite]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        far = ~(np.abs(want - got) <= tolerance * largest)
    return far & ~((want == got) | (np.isnan(want) & np.isnan(got)))


def _exchanged(
    expected: Mapping[str, np.ndarray],
    received: Mapping[str, np.ndarray],
    tolerance: float,
) -> np.ndarray:
    """Returns where identifiers differ because equal scores have no order.

    A run of equal scores may have its identifiers in any order. The run at the end
    of the list may go on beyond it, so others can come in, but only if the scores
    are not those recorded to the bit: equal scores always have the same order.
    """
    want, got = expected[IDS], received[IDS]
    scores, others = expected.get(SCORES), received.get(SCORES)
    allowed = np.zeros(want.shape, bool)
    if scores is None or others is None or want.ndim != 2 or others.shape != want.shape:
        return allowed
    if np.array_equal(scores, others, equal_nan=True) or scores.shape != want.shape:
        return allowed
    near = tolerance * np.abs(scores[np.isfinite(scores)]).max(initial=0.0)
    for row, line in enumerate(scores):
        ends = [*np.flatnonzero(np.abs(np.diff(line)) > near) + 1, len(line)]
        for start, end in zip([0, *ends], ends, strict=False):
            run = slice(start, end)
            is_last = end == len(line)
            if is_last or sorted(want[row, run]) == sorted(got[row, run]):
                allowed[row, run] = True
    return allowed


def _message(
    name: str, want: np.ndarray, got: np.ndarray, differing: np.ndarray
) -> str:
    first = tuple(int(i) for i in np.argwhere(differing)[0])
    return (
        f"output {name!r} differs from the recorded one at {int(differing.sum())} of "
        f"{differing.size} places, first at {list(first)}: {got[first]!r} came and "
        f"{want[first]!r} was recorded."
    )
