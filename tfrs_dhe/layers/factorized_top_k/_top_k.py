"""The base class of an index: TFRS's own where there is one."""

from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras, tfrs


class _TopK(keras.Model):
    """Stands for `tfrs.layers.factorized_top_k.TopK` in a process without TFRS."""

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._k = k
        self.query_with_exclusions: Any

    def _reset_tf_function_cache(self) -> None:
        self.query_with_exclusions = tf.function(
            self.query_with_exclusions.python_function
        )


TopK: Any = _TopK if tfrs is None else tfrs.layers.factorized_top_k.TopK
