"""What rules a class out without scoring it."""

import abc

import tensorflow as tf


class Bound(abc.ABC):
    """Which classes of one query may reach a score, seen from their best buckets.

    A bound looks at the buckets whose value reaches a threshold t_r. Each gives a
    weight to each of its classes, and the weights of a class add up. The bound
    knows which sum a class needs for a score of T. If that is more than nothing, no
    class outside of these buckets has such a score.

    Exactness rests on one claim, which holds in spite of all rounding:

    ```
    score(c) >= T, as computed   =>   sum of the weights of c >= needed(T)
    ```
    """

    @abc.abstractmethod
    def thresholds(self, score: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        """Returns thresholds, the cheapest for T or those of a level if higher.

        Args:
          score: T, tf.float32; -inf if no score is known yet.
          level: tf.float32, what values have to reach.

        Returns:
          tf.float32 [R]; inf where no bucket is looked at.
        """

    @abc.abstractmethod
    def weights(self, values: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
        """Returns the weights of buckets.

        Args:
          values: tf.float32 [n], values of buckets that reach their threshold.
          thresholds: tf.float32 [n], the thresholds of their repetitions.

        Returns:
          tf.float64 [n].
        """

    @abc.abstractmethod
    def needed(self, score: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
        """Returns the sum of weights that a class needs for a score of T.

        Args:
          score: T, tf.float32.
          thresholds: tf.float32 [R].

        Returns:
          tf.float64; not above 0 if a class may reach T without any weight.
        """

    @abc.abstractmethod
    def promise(
        self, sums: tf.Tensor, counts: tf.Tensor, thresholds: tf.Tensor
    ) -> tf.Tensor:
        """Returns the greater the higher the classes' scores are likely to be.

        Args:
          sums: tf.float64 [n], of the weights of classes.
          counts: tf.int32 [n], of their buckets that reach the threshold.
          thresholds: tf.float32 [R].

        Returns:
          tf.float64 [n].
        """
