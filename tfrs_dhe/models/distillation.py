"""Teaches a layer the embeddings that a table has learned."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers.factorized_top_k import _identifiers

#: The share of the steps in which the learning rate rises.
WARM_UP = 0.05
#: The largest norm of all gradients together. Without it and without normalization, a
#: network for 71,000 ids gave the mean to all of them, and stayed there.
CLIP_NORM = 0.1


@dataclass(frozen=True)
class Distillation:
    """What a layer has learned of the embeddings it was taught.

    Attributes:
      unexplained: The share of the embeddings' weighted variance that the trained
        layer leaves, called with training=False: 0 if it has learned all, 1 if no
        more than their mean.
      history: The same in training, the mean over each epoch's steps, ids that were
        replaced by new ones included.
    """

    unexplained: float
    history: tuple[float, ...]


def distill_embeddings(
    layer: Any,
    ids: Any,
    embeddings: Any,
    weights: Any = None,
    epochs: int = 500,
    batch_size: int = 1024,
    learning_rate: float = 0.005,
    side_features: Any = None,
    id_dropout: float = 0.1,
    seed: int = 0,
    verbose: bool = False,
) -> Distillation:
    """Teaches a layer the embeddings that a trained table has for known ids.

    A table is trained as ever, while all of it fits; then a layer of a quarter of its
    parameters, without a dictionary, learns its rows by least squares, and takes its
    place in the model, whose other parts stay as they are. A pass over the ids costs
    far less than one over the examples, as each id is in it once, so there can be
    many passes, and they end closer to the table than training on the examples does.

    New ids are taught, too: in each pass a share of the ids, `id_dropout`, is replaced
    by random ones, which keep embedding, weight and side features. What the layer
    learns for an id that it has not seen is thus the mean embedding, of those with
    similar side features if there are some, where it would be something arbitrary.

    Adam's learning rate rises over the first twentieth of the steps and falls to zero
    along a cosine, and gradients are clipped to a norm of .1. The loss is the squared
    distance, divided by the variance of the embeddings, so that no setting depends on
    their scale. Networks need no normalization for it.

    Example:
    >>> from tfrs_dhe.layers import DeepHashEmbedding
    >>> ids = tf.constant(["ann", "bob", "cyd", "dan"])
    >>> table = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.float32)
    >>> layer = DeepHashEmbedding(
    ...     2, hidden_dim=16, num_hidden_layers=2, num_hashes=32, normalization=None
    ... )
    >>> distilled = distill_embeddings(layer, ids, table)
    >>> distilled.unexplained < 0.05
    True

    Args:
      layer: From ids [n] to embeddings [n, d], with trainable weights, built or not;
        it is changed.
      ids: Strings or integers [n], each once.
      embeddings: Finite numbers [n, d], what the table has for them.
      weights: Numbers [n], not negative, how much each id counts; None counts each
        once. Square roots of how often the ids occur do well.
      epochs: Passes over the ids.
      batch_size: Ids of a step, at most; the steps of an epoch are of one size, give
        or take an id.
      learning_rate: The largest.
      side_features: Numbers [n, s] that the layer takes beside the ids, or None.
      id_dropout: The share of ids that are replaced by random ones, in [0, 1). More of
        it favours new ids, less the known ones; 0 leaves new ids to chance.
      seed: Of the order of the ids, and of those that are replaced.
      verbose: Whether to print the progress, every twentieth of the epochs.

    Returns:
      A `Distillation`.

    Raises:
      ValueError: If shapes do not fit, ids are neither strings nor integers, one occurs
        twice, a number is not finite or out of range, the embeddings are all equal, or
        the layer has nothing to train.

    References:
      Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531;
      Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, for learning what
      is inside the teacher rather than its answers; Volkovs, Yu and Poutanen,
      "DropoutNet: Addressing Cold Start in Recommender Systems", NIPS 2017, section
      4.2, for what is learned from ids that are left out.
    """
    epochs = _arguments.check_positive_integer("epochs", epochs)
    batch_size = _arguments.check_positive_integer("batch_size", batch_size)
    if not 0 < learning_rate < np.inf:
        raise ValueError(
            f"`learning_rate` must be above 0, and finite. Received: {learning_rate!r}."
        )
    if not 0 <= id_dropout < 1:
        raise ValueError(f"`id_dropout` must be in [0, 1). Received: {id_dropout!r}.")
    examples = _Examples.checked(ids, embeddings, weights, side_features)
    outputs = layer(*examples.inputs(slice(1)), training=False)
    if outputs.shape != (1, examples.embeddings.shape[1]):
        raise ValueError(
            "`embeddings` must be as wide as those of `layer`, [n, d]. Received: "
            f"{examples.embeddings.shape} and, for one id, {tuple(outputs.shape)}."
        )
    if not layer.trainable_variables:
        raise ValueError(
            f"`layer` must have trainable weights. Received: {layer.name}, without any."
        )
    num_steps = epochs * examples.num_batches(batch_size)
    step = _step(layer, examples.variance(), _schedule(learning_rate, num_steps))
    generator = np.random.default_rng(seed)
    history = []
    for epoch in range(1, epochs + 1):
        order = generator.permutation(len(examples))
        drawn = examples.with_new_ids(id_dropout, generator)
        losses = [step(*drawn.batch(rows)) for rows in drawn.split(order, batch_size)]
        history.append(float(np.mean(losses)))
        if verbose and (epoch == epochs or epoch % max(1, epochs // 20) == 0):
            print(f"epoch {epoch}/{epochs}: {history[-1]:.4f} unexplained")
    return Distillation(_unexplained(layer, examples, batch_size), tuple(history))


@dataclass(frozen=True)
class _Examples:
    """Ids, their embeddings, weights with the mean 1, and side features."""

    ids: np.ndarray
    embeddings: np.ndarray
    weights: np.ndarray
    side_features: np.ndarray | None

    @classmethod
    def checked(
        cls, ids: Any, embeddings: Any, weights: Any, side_features: Any
    ) -> "_Examples":
        """Returns them of what a caller gave."""
        # Through a tensor: NumPy would cut zeros off the ends of strings, and make
        # strings of integers beside them.
        ids = _identifiers.as_tensor("ids", ids).numpy()
        if ids.ndim != 1 or not len(ids):
            raise ValueError(
                f"`ids` must be a vector, not empty. Received shape: {ids.shape}."
            )
        distinct, counts = np.unique(ids, return_counts=True)
        if len(distinct) < len(ids):
            raise ValueError(
                "`ids` must have each id once, as it has one embedding. Received "
                f"{distinct[counts > 1].tolist()[0]!r} more than once."
            )
        if weights is None:
            weights = np.ones(len(ids), np.float32)
        weights = _numbers("weights", weights, 1, len(ids))
        if np.any(weights < 0) or not np.any(weights > 0):
            raise ValueError(
                "`weights` must not be negative, and some above 0. Received: from "
                f"{weights.min()} to {weights.max()}."
            )
        if side_features is not None:
            side_features = _numbers("side_features", side_features, 2, len(ids))
        return cls(
            ids,
            _numbers("embeddings", embeddings, 2, len(ids)),
            (weights / weights.mean(dtype=np.float64)).astype(np.float32),
            side_features,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def with_new_ids(self, share: float, generator: np.random.Generator) -> "_Examples":
        """Returns them with a share of the ids, drawn at random, replaced by new."""
        if not share:
            return self
        rows = np.flatnonzero(generator.random(len(self)) < share)
        new, is_new = _random_ids(self.ids, len(rows), generator)
        ids = self.ids.copy()
        ids[rows[is_new]] = new[is_new]
        return replace(self, ids=ids)

    def inputs(self, rows: Any) -> tuple[Any, ...]:
        """Returns what the layer is called with."""
        ids = tf.constant(self.ids[rows])
        if self.side_features is None:
            return (ids,)
        return ids, tf.constant(self.side_features[rows])

    def batch(self, rows: Any) -> tuple[tuple[Any, ...], tf.Tensor, tf.Tensor]:
        """Returns inputs, embeddings and weights."""
        return (
            self.inputs(rows),
            tf.constant(self.embeddings[rows]),
            tf.constant(self.weights[rows]),
        )

    def num_batches(self, batch_size: int) -> int:
        return -(-len(self) // batch_size)

    def split(self, order: np.ndarray, batch_size: int) -> list[np.ndarray]:
        # Of one size: what is left over could be too few for batch normalization.
        return np.array_split(order, self.num_batches(batch_size))

    def variance(self) -> float:
        """Returns the weighted variance of a number of the embeddings."""
        counting = self.embeddings[self.weights > 0]
        if np.all(counting == counting[0]):
            raise ValueError(
                "`embeddings` must differ: of equal ones there is nothing to learn. "
                f"Received {len(counting)} times the same, weights of 0 left out."
            )
        weights = self.weights[:, np.newaxis].astype(np.float64)
        mean = np.mean(weights * self.embeddings, axis=0)
        return float(np.mean(weights * (self.embeddings - mean) ** 2))


def _numbers(name: str, values: Any, rank: int, num_ids: int) -> np.ndarray:
    array = np.asarray(values, np.float32)
    if array.ndim != rank or len(array) != num_ids:
        raise ValueError(
            f"`{name}` must have rank {rank} and a row for each of the "
            f"{num_ids} ids. Received shape: {array.shape}."
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{name}` must be finite. Received NaN or infinity.")
    return array


def _random_ids(
    known: np.ndarray, size: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ids like known ones [size], and which of them are not known."""
    if known.dtype.kind in "iu":
        limits = np.iinfo(known.dtype)
        ids = generator.integers(
            limits.min, limits.max, size, known.dtype, endpoint=True
        )
        return ids, ~np.isin(ids, known)
    # Of 64 random bits, so that none is known.
    ids = np.array([generator.bytes(8).hex().encode() for _ in range(size)], object)
    return ids, np.ones(size, bool)


def _schedule(learning_rate: float, num_steps: int) -> Any:
    warm_up = int(np.ceil(WARM_UP * num_steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, num_steps - warm_up),
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )


def _distance(layer: Any, batch: Any, training: bool) -> tf.Tensor:
    """Returns the weighted mean squared distance from the embeddings."""
    inputs, embeddings, weights = batch
    outputs = tf.cast(layer(*inputs, training=training), tf.float32)
    squares = tf.reduce_mean(tf.square(outputs - embeddings), axis=1)
    return tf.reduce_mean(weights * squares)


def _step(layer: Any, variance: float, schedule: Any) -> Any:
    """Returns a training step: from a batch to the share that is unexplained."""
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=CLIP_NORM)
    variables = layer.trainable_variables
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)
    def step(*batch: Any) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = _distance(layer, batch, training=True) / variance
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        # Keras 3 adds up the squares of a row that ids share, not its gradients.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return step


def _unexplained(layer: Any, examples: _Examples, batch_size: int) -> float:
    """Returns the share of the variance that is left, in inference mode."""
    distance = tf.function(
        lambda *batch: _distance(layer, batch, training=False), reduce_retracing=True
    )
    left = sum(
        len(rows) * float(distance(*examples.batch(rows)))
        for rows in examples.split(np.arange(len(examples)), batch_size)
    )
    return left / len(examples) / examples.variance()
