"""All that a MACH index says of one query: of its buckets and of its classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import mach
from tfrs_dhe.layers.factorized_top_k import MACH, _identifiers


@dataclass(frozen=True, eq=False)
class QueryScores:
    """Scores of one query.

    Attributes:
      index: The index that was asked.
      identifiers: Of the classes in the index [K], bytes or integers.
      table: Buckets of the classes [R, K].
      logits: Of the buckets, float32 [R, B].
      values: What the aggregation combines, float32 [R, B].
      probabilities: Of the buckets, float64 [R, B].
      scores: Of the classes, float32 [K].
    """

    index: Any
    identifiers: np.ndarray
    table: np.ndarray
    logits: np.ndarray
    values: np.ndarray
    probabilities: np.ndarray
    scores: np.ndarray

    @property
    def num_buckets(self) -> int:
        """B."""
        return int(self.logits.shape[1])

    @property
    def num_repetitions(self) -> int:
        """R of those that the head holds."""
        return int(self.logits.shape[0])

    def position(self, identifier: Any) -> int:
        """Returns where a class is in the index, -1 if it is not."""
        found: int = _identifiers.positions(
            tf.constant(self.identifiers), self._tensor(identifier)
        )[0]
        return int(found)

    def buckets_of(self, identifier: Any) -> np.ndarray:
        """Returns the buckets [R] of a class, which need not be in the index."""
        buckets: np.ndarray = self.index.head.bucket_ids(self._tensor(identifier))
        return np.asarray(buckets)[0]

    def score_of(
        self, buckets: np.ndarray, repetitions: np.ndarray | None = None
    ) -> float:
        """Returns the score of buckets [R], of some of the repetitions if asked."""
        if repetitions is None:
            repetitions = np.arange(self.num_repetitions)
        values = self.values[repetitions, buckets[repetitions]]
        return float(
            mach.combine(
                tf.constant(values[:, np.newaxis]),
                self.index.aggregation,
                self.num_buckets,
            )[0]
        )

    def plain(self, identifier: Any) -> Any:
        """Returns an identifier as the index has it: bytes or an integer."""
        return self._tensor(identifier).numpy().tolist()[0]

    def _tensor(self, identifier: Any) -> tf.Tensor:
        dtype = self.index.identifiers().dtype
        return _identifiers.as_tensor("identifier", [identifier], dtype)


def query_scores(index: Any, query: Any) -> QueryScores:
    """Asks an index for everything it knows of one query.

    Args:
      index: A `layers.factorized_top_k.MACH` with classes.
      query: Features of one query, a batch of one.

    Returns:
      The scores.

    Raises:
      ValueError: If `index` is something else, `query` is not one query, or a score is
        nan.
    """
    if not isinstance(index, MACH):
        raise ValueError(
            "`index` must be a layers.factorized_top_k.MACH, the index that answered. "
            f"Received: {index!r}."
        )
    identifiers = index.identifiers().numpy()
    model = index.query_model
    logits = index.head(query if model is None else model(query))
    if logits.shape.rank != 3 or logits.shape[0] != 1:
        raise ValueError(
            "`query` must be a batch of one query, whose logits have the shape "
            f"[1, R, B]. Received logits of shape {logits.shape}."
        )
    values = mach.bucket_values(logits, index.aggregation, index.activation)
    table = index._tables.buckets.numpy()
    scores = mach.class_scores(values, tf.constant(table.T), index.aggregation)
    wide = tf.cast(logits, tf.float64)
    probabilities = (
        tf.nn.softmax(wide) if index.activation == "softmax" else tf.sigmoid(wide)
    )
    if any(np.isnan(found).any() for found in (logits, probabilities, scores)):
        # Nothing is ahead of nan, and no bucket would be to blame.
        raise ValueError(
            "`index` must have scores to explain. Received logits that are not finite; "
            "see whether the training diverged."
        )
    return QueryScores(
        index=index,
        identifiers=identifiers,
        table=table,
        logits=tf.cast(logits, tf.float32).numpy()[0],
        values=values.numpy()[0],
        probabilities=probabilities.numpy()[0],
        scores=scores.numpy()[0],
    )
