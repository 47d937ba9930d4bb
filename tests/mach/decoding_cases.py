"""Values and tables on which decoding could go wrong, and what is right."""

from collections.abc import Callable

import numpy as np

PROBABILITIES = ("unbiased_mean", "min", "median")


def reference_scores(
    values: np.ndarray, buckets: np.ndarray, aggregation: str
) -> np.ndarray:
    """The documented formulas, rounded to float32 after each step: [Q, K]."""
    num_repetitions, num_buckets = values.shape[1:]
    one = np.float32(1)
    rows = [values[:, r, buckets[r]] for r in range(num_repetitions)]
    if aggregation == "min":
        return np.min(rows, axis=0)
    if aggregation == "median":
        middle = np.sort(rows, axis=0)[(num_repetitions - 1) // 2 :][:2]
        if num_repetitions % 2:
            return middle[0]
        return (middle[0] + middle[1]) * np.float32(0.5)
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    mean = total * (one / np.float32(num_repetitions))
    if aggregation == "unbiased_mean":
        share = np.float32(num_buckets / (num_buckets - 1))
        return (mean - one / np.float32(num_buckets)) * share
    return mean


def reference_top_k(
    values: np.ndarray, buckets: np.ndarray, k: int, aggregation: str
) -> tuple[np.ndarray, np.ndarray]:
    """The best scores and classes by a stable sort of all of them."""
    scores = reference_scores(values, buckets, aggregation)
    classes = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, classes, axis=1), classes


def softmax(logits: np.ndarray) -> np.ndarray:
    exps = np.exp(logits - logits.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def random(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def steep(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 8 * rng.normal(size=shape)


def nearly_flat(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Scores that differ in their last bits only."""
    return 1 + 1e-6 * rng.normal(size=shape)


def constant(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, rng.normal())


def few_values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Ties everywhere, also at the bound."""
    return rng.integers(-1, 2, shape).astype(float)


def one_bucket(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One likely bucket in each repetition, all others alike."""
    values = np.zeros(shape)
    np.put_along_axis(values, rng.integers(0, shape[-1], (*shape[:-1], 1)), 9, axis=-1)
    return values


def one_repetition(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One repetition outweighs the others."""
    values = rng.normal(size=shape)
    values[:, rng.integers(shape[1])] *= 1000
    return values


def shifted(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Every repetition has an offset of its own."""
    return rng.normal(size=shape) + 100 * rng.normal(size=(*shape[:-1], 1))


def impossible(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Many probabilities are zero."""
    return np.where(rng.random(shape) < 0.6, -np.inf, rng.normal(size=shape))


def all_impossible(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.normal(size=shape)
    values[:, 0] = -np.inf
    return values


def huge(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Sums that cancel, or leave the range of float32 downwards."""
    limit = np.finfo(np.float32).max / (4.1 * shape[1])
    return limit * rng.choice([-30, -1, -0.5, 1e-9, 0.5, 1], shape)


def tiny(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 1e-30 * rng.normal(size=shape)


def cancelling(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Scores of the size of their own rounding errors."""
    return 1e6 * rng.choice([-1, 1], shape) + rng.normal(size=shape)


DISTRIBUTIONS: tuple[Callable[..., np.ndarray], ...] = (
    random,
    steep,
    nearly_flat,
    constant,
    few_values,
    one_bucket,
    one_repetition,
    shifted,
    impossible,
    all_impossible,
    huge,
    tiny,
    cancelling,
)
#: Those that a softmax can make of logits.
AS_LOGITS = (random, steep, nearly_flat, constant, few_values, one_bucket)


def make_values(
    rng: np.random.Generator,
    distribution: Callable[..., np.ndarray],
    shape: tuple[int, ...],
    aggregation: str,
) -> np.ndarray:
    """Values as a distribution says; half of the probabilities from a softmax."""
    with np.errstate(over="ignore"):
        values = distribution(rng, shape)
        softly = distribution in AS_LOGITS and rng.random() < 0.5
        if softly and aggregation in PROBABILITIES:
            values = softmax(values)
        return values.astype(np.float32)


def random_table(
    rng: np.random.Generator, num_repetitions: int, num_classes: int, num_buckets: int
) -> np.ndarray:
    return rng.integers(0, num_buckets, (num_repetitions, num_classes))


def same_column(
    rng: np.random.Generator, num_repetitions: int, num_classes: int, num_buckets: int
) -> np.ndarray:
    """Classes that nothing tells apart."""
    table = random_table(rng, num_repetitions, num_classes, num_buckets)
    return table[:, rng.integers(0, num_classes, num_classes) // 2]


def one_full_bucket(
    rng: np.random.Generator, num_repetitions: int, num_classes: int, num_buckets: int
) -> np.ndarray:
    """All buckets but one are empty in one repetition, half are in the others."""
    table = random_table(rng, num_repetitions, num_classes, num_buckets) // 2 * 2
    table[rng.integers(num_repetitions)] = rng.integers(num_buckets)
    return np.minimum(table, num_buckets - 1)


TABLES = (random_table, same_column, one_full_bucket)
