import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from tfrs_dhe import mach
from tfrs_dhe.mach.aggregation import ACTIVATIONS, AGGREGATIONS


def reference_scores(
    logits: np.ndarray, buckets: np.ndarray, aggregation: str, activation: str
) -> np.ndarray:
    """The paper's formulas in float64: logits [Q, R, B], buckets [C, R]."""
    logits = logits.astype(np.float64)
    log_p = (
        special.log_softmax(logits, axis=-1)
        if activation == "softmax"
        else special.log_expit(logits)
    )
    repetition = np.arange(logits.shape[1])
    log_p, z = (x[:, repetition, buckets] for x in (log_p, logits))  # [Q, C, R]
    p, num_buckets = np.exp(log_p), logits.shape[-1]
    return {
        "unbiased_mean": lambda: (
            num_buckets / (num_buckets - 1) * (p.mean(-1) - 1 / num_buckets)
        ),
        "min": lambda: p.min(-1),
        "median": lambda: np.median(p, axis=-1),
        "mean_log_probability": lambda: log_p.mean(-1),
        "mean_logit": lambda: z.mean(-1),
    }[aggregation]()


every_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS)


@every_aggregation
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("num_repetitions", [1, 2, 5, 6])
def test_scores_are_the_papers(
    aggregation: str, activation: str, num_repetitions: int
) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, num_repetitions, 9)).astype(np.float32)
    buckets = rng.integers(9, size=(30, num_repetitions))
    values = mach.bucket_values(tf.constant(logits), aggregation, activation)
    scores = mach.class_scores(values, tf.constant(buckets), aggregation)
    expected = reference_scores(logits, buckets, aggregation, activation)
    assert scores.dtype == tf.float32
    # Roundings of float32, a few in the softmax and one for each repetition.
    np.testing.assert_allclose(scores, expected, rtol=0, atol=16 * 2**-23)


@every_aggregation
def test_a_score_does_not_depend_on_what_else_is_scored(aggregation: str) -> None:
    rng = np.random.default_rng(1)
    values = tf.constant(rng.random((3, 7, 50), np.float32))
    buckets = tf.constant(rng.integers(50, size=(1000, 7)))
    together = mach.class_scores(values, buckets, aggregation).numpy()
    for i in (0, 1, 500, 999):
        alone = mach.class_scores(values[1:2], buckets[i : i + 1], aggregation)
        assert alone.numpy()[0, 0] == together[1, i]
    per_query = mach.class_scores(
        values, tf.tile(buckets[tf.newaxis], [3, 1, 1]), aggregation
    )
    np.testing.assert_array_equal(per_query, together)


@every_aggregation
def test_half_precision_logits_are_combined_in_float32(aggregation: str) -> None:
    logits = tf.random.normal([2, 3, 8])
    for dtype in (tf.float16, tf.bfloat16):
        half = tf.cast(logits, dtype)
        values = mach.bucket_values(half, aggregation)
        assert values.dtype == tf.float32
        np.testing.assert_array_equal(
            values, mach.bucket_values(tf.cast(half, tf.float32), aggregation)
        )


@every_aggregation
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_extreme_logits_stay_finite(aggregation: str, activation: str) -> None:
    logits = tf.constant([[[1e30, -1e30, 0.0], [-1e30, 0.0, 1e30]]])
    values = mach.bucket_values(logits, aggregation, activation)
    assert np.isfinite(values).all()


def test_worked_by_hand() -> None:
    values = tf.constant([0.5, 0.125, 0.25, 0.0])[:, tf.newaxis]

    def score(aggregation: str) -> float:
        return mach.combine(values, aggregation, num_buckets=5).numpy().item()

    assert score("min") == 0.0
    assert score("median") == 0.1875
    assert score("mean_logit") == score("mean_log_probability") == 0.21875
    assert score("unbiased_mean") == pytest.approx(1.25 * (0.21875 - 0.2), rel=1e-6)


def test_unbiased_mean_has_the_stated_mean_and_variance() -> None:
    """Over the hash functions, of one class among others of known probability.

    If a query's true bucket probabilities are known without error, the estimate
    is p_i on average, and spreads by sum_{k != i} p_k^2 / (R (B - 1)).
    """
    num_buckets, num_repetitions, trials = 8, 4, 4000
    p = 1.0 / np.arange(1, 31)
    p /= p.sum()
    # Every repetition has a hash function of its own, and every trial a few of them.
    tables = mach.bucket_table(np.arange(30), num_buckets, trials * num_repetitions)
    tables = tables.reshape(trials, num_repetitions, 30)
    buckets = [np.bincount(r, p, num_buckets) for table in tables for r in table]
    values = np.reshape(buckets, [trials, 1, num_repetitions, num_buckets])

    @tf.function
    def estimates_of(values: tf.Tensor, buckets: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            lambda trial: mach.class_scores(*trial, "unbiased_mean")[0],
            (values, buckets),
            fn_output_signature=tf.float64,
        )

    estimates = estimates_of(values, tables.transpose(0, 2, 1)).numpy()
    variance = ((p**2).sum() - p**2) / (num_repetitions * (num_buckets - 1))
    standard_error = np.sqrt(variance / trials)
    # 30 classes: a deviation of 4 standard errors has probability .002 in all.
    assert (np.abs(estimates.mean(axis=0) - p) < 4 * standard_error).all()
    # A sample variance spreads by sqrt((kurtosis - 1) / trials).
    deviations = (estimates - p) ** 2
    spread = deviations.std(axis=0) / np.sqrt(trials)
    assert (np.abs(deviations.mean(axis=0) - variance) < 4 * spread).all()
    # The plain mean is not unbiased: it holds 1/B of all other classes.
    plain = estimates * (num_buckets - 1) / num_buckets + 1 / num_buckets
    assert (np.abs(plain.mean(axis=0) - p) > 4 * standard_error).all()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"`aggregation` must be one of.*'mean'"):
        mach.bucket_values(tf.zeros([1, 2, 3]), "mean")
    with pytest.raises(ValueError, match="`activation` must be one of"):
        mach.bucket_values(tf.zeros([1, 2, 3]), "min", "relu")
    with pytest.raises(ValueError, match="`aggregation`"):
        mach.combine(tf.zeros([2, 3]), "max", 4)
    with pytest.raises(ValueError, match=r"`buckets` must have the shape.*\(5,\)"):
        mach.class_scores(tf.zeros([1, 2, 3]), tf.zeros([5], tf.int32), "min")
    with pytest.raises(ValueError, match="`buckets` must end in the 2 repetitions"):
        mach.class_scores(tf.zeros([1, 2, 3]), tf.zeros([5, 3], tf.int32), "min")
