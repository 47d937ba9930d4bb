"""A top-k index over a head that is easily seen to be right."""

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from tfrs_dhe import mach
from tfrs_dhe.layers import MACHHead


class EveryClass(tfrs.layers.factorized_top_k.TopK):
    """Scores every class by the head's present weights and sorts."""

    def __init__(
        self, head: MACHHead, ids: Any, aggregation: str = "mean_logit"
    ) -> None:
        super().__init__(k=10)
        self.head = head
        self.aggregation = aggregation
        self.index(tf.constant(ids))

    def index(self, candidates: Any, identifiers: Any = None) -> "EveryClass":
        self.ids = candidates
        return self

    def call(self, queries: Any, k: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        values = mach.bucket_values(self.head(queries), self.aggregation)
        scores = mach.class_scores(
            values, self.head.bucket_ids(self.ids), self.aggregation
        )
        scores, rows = tf.math.top_k(scores, min(k or self._k, len(self.ids)))
        return scores, tf.gather(self.ids, rows)

    def is_exact(self) -> bool:
        return False
