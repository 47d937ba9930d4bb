"""`bucket_calibration`: whether the probabilities of buckets are what they say."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe.analysis import _plots, _text
from tfrs_dhe.layers import _arguments
from tfrs_dhe.mach import aggregation


@dataclass(frozen=True, eq=False)
class Calibration(_plots.Plotted):
    """Confidence against accuracy; `bucket_calibration` makes it, `print` shows it.

    A case is an example in a repetition: the confidence is the probability of the
    likeliest bucket, and it is right if a true class is in that bucket.

    `plot` draws accuracy against confidence.

    Attributes:
      num_examples: n.
      num_undefined: Cases without a probability, as logits are not finite. They are in
        no bin, and where there are some, errors are nan.
      counts: Cases whose confidence is in each of the bins [bins].
      confidence: Their mean confidence [bins], nan where there is none.
      accuracy: The share of them that is right [bins], nan where there is none.
      by_repetition: The expected calibration error of each repetition [R].
    """

    num_examples: int
    num_undefined: int
    counts: np.ndarray = field(repr=False)
    confidence: np.ndarray = field(repr=False)
    accuracy: np.ndarray = field(repr=False)
    by_repetition: tuple[float, ...]

    @property
    def error(self) -> float:
        """Expected calibration error, `sum_b n_b / n |accuracy_b - confidence_b|`."""
        if self.num_undefined:
            return math.nan
        return _error(self.counts, self.confidence, self.accuracy)

    @property
    def gap(self) -> float:
        """Mean confidence less accuracy: above zero for a model that is too sure."""
        if self.num_undefined:
            return math.nan
        held = self.counts > 0
        gaps = (self.confidence - self.accuracy)[held]
        return float(gaps @ self.counts[held] / self.counts.sum())

    @property
    def expected_error(self) -> float:
        """The error of a calibrated model on so few examples.

        Accuracies of n_b cases then deviate by `sqrt(2 c (1 - c) / (pi n_b))` on the
        average; the R cases of an example count as one, as they go right together.
        """
        held = self.counts > 0
        c, share = self.confidence[held], self.counts[held] / self.counts.sum()
        deviation = np.sqrt(2 * c * (1 - c) / (math.pi * share * self.num_examples))
        return float(share @ deviation)

    @property
    def excess_error(self) -> float:
        """The error beyond what a sample of this size makes of it."""
        return max(self.error - self.expected_error, 0.0)

    @property
    def sentence(self) -> str:
        """Returns the error in words."""
        if self.num_undefined:
            num_cases = int(self.counts.sum()) + self.num_undefined
            return (
                f"No calibration error: {self.num_undefined:,} of {num_cases:,} cases "
                "have logits that are not finite."
            )
        return (
            f"Expected calibration error {self.error:.4f}; a calibrated model would "
            f"have {self.expected_error:.4f}."
        )

    def __str__(self) -> str:
        rows = [
            [
                f"{i / len(self.counts):.2g} to {(i + 1) / len(self.counts):.2g}",
                f"{count:,}",
                f"{self.confidence[i]:.3f}",
                f"{self.accuracy[i]:.3f}",
            ]
            for i, count in enumerate(self.counts.tolist())
            if count
        ]
        head = ["confidence", "cases", "mean", "accuracy"]
        words = "too sure" if self.gap > 0 else "not sure enough"
        found = (
            f"calibration error {self.error:.4f} (calibrated: "
            f"{self.expected_error:.4f}), {words} by {abs(self.gap):.4f}"
        )
        if self.num_undefined:
            found = self.sentence
        return f"{self.num_examples:,} examples, {found}\n{_text.table(head, rows)}"

    def _draw(self, title: str | None) -> Any:
        """Draws accuracy against confidence."""
        title = title or "Calibration of bucket probabilities"
        figure = _plots.new_figure(5.5, 4.5)
        axes = figure.subplots()
        held = self.counts > 0
        shares = [*self.confidence[held], *self.accuracy[held]]
        top = 1.15 * max(shares, default=1.0)
        axes.plot([0, top], [0, top], color="grey", linewidth=0.8, label="calibrated")
        axes.plot(self.confidence[held], self.accuracy[held], marker="o", label="live")
        cases = zip(
            self.confidence[held], self.accuracy[held], self.counts[held], strict=True
        )
        for i, (x, y, count) in enumerate(cases):
            axes.annotate(
                f"{count:,}",
                (x, y),
                textcoords="offset points",
                # Now below and now above, as neighbours may be near.
                xytext=(4, (-14, 8)[i % 2]),
                fontsize="small",
            )
        axes.set(
            xlabel="probability of the likeliest bucket",
            ylabel="share of cases in which it is right",
            title=f"{title}\nerror {_text.measured(self.error, '.3f')}, number of "
            "cases at each point",
        )
        axes.legend()
        return figure


def bucket_calibration(
    head: Any,
    examples: Iterable[tuple[Any, Any]],
    *,
    query_model: Any = None,
    activation: str = "softmax",
    num_bins: int = 10,
) -> Calibration:
    """Compares the probability of the likeliest bucket with how often it is right.

    Example:
    >>> from tfrs_dhe.layers import MACHHead
    >>> head = MACHHead(8, 4, kernel_initializer="zeros")
    >>> calibration = bucket_calibration(head, [(tf.ones([50, 3]), np.arange(50))])
    >>> calibration.confidence[1].round(3), calibration.num_examples
    (np.float64(0.125), 50)

    Args:
      head: A `MACHHead`.
      examples: Batches (queries, class_ids), a `tf.data.Dataset` or any iterable: the
        head's input [batch, d], or features for the query model; and the true classes,
        [batch], or [batch, labels] or ragged where examples have several.
      query_model: Turns features into the head's input.
      activation: `"softmax"` or `"sigmoid"`, as the head is trained.
      num_bins: Bins of equal width from 0 to 1.

    Returns:
      A `Calibration`.

    Raises:
      ValueError: If there is no example, a batch has not as many true classes as
        queries, or an argument is out of range.

    References:
      Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """
    aggregation.check_aggregation("unbiased_mean", activation)
    _arguments.check_positive_integer("num_bins", num_bins)
    num_repetitions = len(head.repetitions)
    # Cases, their confidence and the right ones, by repetition and bin.
    totals = np.zeros((3, num_repetitions, num_bins))
    num_undefined = np.zeros(num_repetitions, np.int64)
    num_examples = 0
    for queries, class_ids in examples:
        logits = head(queries if query_model is None else query_model(queries))
        probabilities = aggregation.bucket_values(logits, "unbiased_mean", activation)
        confidence = tf.reduce_max(probabilities, axis=-1).numpy().astype(np.float64)
        likeliest = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        class_ids = _as_ids(class_ids, len(confidence))
        right = _is_right(likeliest, head.bucket_ids(class_ids)).numpy()
        defined = np.isfinite(confidence)
        num_undefined += np.count_nonzero(~defined, axis=0)
        for r in range(num_repetitions):
            sure, hits = confidence[defined[:, r], r], right[defined[:, r], r]
            bins = np.minimum((sure * num_bins).astype(int), num_bins - 1)
            for total, weights in zip(totals, (None, sure, hits), strict=True):
                total[r] += np.bincount(bins, weights, num_bins)
        num_examples += len(confidence)
    if not num_examples:
        raise ValueError("`examples` must have at least one. Received none.")
    by_repetition = [
        math.nan if undefined else _error(*_means(totals[:, r]))
        for r, undefined in enumerate(num_undefined)
    ]
    counts, confidence, accuracy = _means(totals.sum(axis=1))
    return Calibration(
        num_examples=num_examples,
        num_undefined=int(num_undefined.sum()),
        counts=counts.astype(np.int64),
        confidence=confidence,
        accuracy=accuracy,
        by_repetition=tuple(by_repetition),
    )


def _as_ids(class_ids: Any, num_queries: int) -> Any:
    """Returns the classes of a batch, of which one must not count for all queries."""
    if not isinstance(class_ids, tf.RaggedTensor):
        class_ids = tf.convert_to_tensor(class_ids)
    if class_ids.shape.rank not in (1, 2) or class_ids.shape[0] != num_queries:
        raise ValueError(
            "`examples` must have the true classes of each query, of shape "
            f"[{num_queries}] or [{num_queries}, labels]. Received class_ids of shape "
            f"{class_ids.shape}."
        )
    return class_ids


def _is_right(likeliest: tf.Tensor, buckets: Any) -> tf.Tensor:
    """Returns whether a true class is in the likeliest bucket: float64 [batch, R]."""
    if isinstance(buckets, tf.RaggedTensor):
        # -1 is no bucket.
        buckets = buckets.to_tensor(-1)
    if buckets.shape.rank == 2:
        buckets = buckets[:, tf.newaxis]
    hits = tf.reduce_any(buckets == likeliest[:, tf.newaxis], axis=1)
    return tf.cast(hits, tf.float64)


def _means(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = totals[0]
    means = np.divide(
        totals[1:], counts, out=np.full((2, len(counts)), np.nan), where=counts > 0
    )
    return counts, means[0], means[1]


def _error(counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray) -> float:
    held = counts > 0
    gaps = np.abs(accuracy - confidence)[held]
    return float(gaps @ counts[held] / counts.sum())
