import numpy as np
import pytest

from tfrs_dhe.serving._verification.answers import answer_problems


def differs(expected: dict[str, object], received: dict[str, object]) -> bool:
    def arrays(outputs: dict[str, object]) -> dict[str, np.ndarray]:
        return {name: np.asarray(x) for name, x in outputs.items()}

    return bool(answer_problems(arrays(expected), arrays(received)))


def floats(*values: float) -> dict[str, object]:
    return {"scores": np.array([values], np.float32)}


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        # One unit in the last place of 100 is 7.6e-6, a tenth of what is allowed.
        (floats(np.nextafter(np.float32(100), np.float32(101)), 0.01), False),
        (floats(100, 0.01 + 9e-5), False),
        (floats(100, 0.01 + 2e-4), True),
        (floats(np.nan, 0.01), True),
        (floats(np.inf, 0.01), True),
        ({"scores": np.array([[100, 0.01]])}, True),
        ({"scores": np.float32([[100, 0.01, 0]])}, True),
        ({"score": np.float32([[100, 0.01]])}, True),
    ],
)
def test_floats(received: dict[str, object], expected: bool) -> None:
    assert differs(floats(100, 0.01), received) == expected


def test_tolerance_is_relative_to_the_largest() -> None:
    near, far = np.float32([[100, 0.1]]), np.float32([[100, 0.3]])
    assert not answer_problems({"scores": near}, {"scores": far}, tolerance=0.01)
    assert answer_problems({"scores": near}, {"scores": far}, tolerance=0.001)


def test_equal_without_a_number() -> None:
    outputs = floats(np.nan, -np.inf, 1)
    assert not differs(outputs, outputs)
    assert differs(outputs, floats(np.nan, np.inf, 1))
    assert not differs(floats(), floats())


def test_others_are_equal_or_not() -> None:
    assert differs({"n": np.int64([2**62])}, {"n": np.int64([2**62 + 1])})
    assert differs({"n": np.array([b"\xff"], object)}, {"n": np.array([b""], object)})


SCORES = [3.0, 2.0, 2.0, 1.0]
# Other last digits, as another order of summation gives them.
NOISY = [3.0, 2.0 + 2.4e-7, 2.0, 1.0]


@pytest.mark.parametrize(
    ("scores", "ids", "expected"),
    [
        (SCORES, ["a", "b", "c", "d"], False),
        (NOISY, ["a", "c", "b", "d"], False),
        # The last of the list may tie with one beyond it.
        (NOISY, ["a", "b", "c", "e"], False),
        # Not of equal scores, or others than those recorded.
        (NOISY, ["b", "a", "c", "d"], True),
        (NOISY, ["a", "b", "e", "d"], True),
        (NOISY, ["a", "b", "b", "d"], True),
        # The same scores to the bit have the same order.
        (SCORES, ["a", "c", "b", "d"], True),
        (SCORES, ["a", "b", "c", "e"], True),
    ],
)
def test_ids_of_equal_scores(
    scores: list[float], ids: list[str], expected: bool
) -> None:
    def outputs(scores: list[float], ids: list[str]) -> dict[str, object]:
        named = np.array([[each.encode() for each in ids]], object)
        return {"scores": np.float32([scores]), "ids": named}

    recorded = outputs(SCORES, ["a", "b", "c", "d"])
    assert differs(recorded, outputs(scores, ids)) == expected
