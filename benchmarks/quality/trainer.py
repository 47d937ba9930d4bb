"""A model of users and items, and steps of its training."""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import methods
import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._keras import keras


class Ranker(keras.Model):
    """The logit that a user takes an item.

    Args:
      user_layer: From ids to embeddings.
      item_layer: From ids to embeddings.
      kind: "gmf", a weighted product of the two (He et al., WWW 2017), or "mlp".
    """

    def __init__(self, user_layer, item_layer, kind):
        super().__init__()
        self.user_layer = user_layer
        self.item_layer = item_layer
        self.kind = kind
        hidden = (64, 32, 16) if kind == "mlp" else ()
        self.head = keras.Sequential(
            [
                *(keras.layers.Dense(units, activation="relu") for units in hidden),
                keras.layers.Dense(1),
            ]
        )

    def call(self, inputs, training=None):
        """Returns logits [n] of users [n], items [n] and features of these [n, s]."""
        users, items, features = inputs
        users = self.user_layer(users, training=training)
        features = {} if features.shape[1] == 0 else {"side_features": features}
        items = self.item_layer(items, training=training, **features)
        together = users * items if self.kind == "gmf" else tf.concat([users, items], 1)
        return self.head(together)[:, 0]


class Trainer:
    """Makes the model of a run, trains it on pairs and scores pairs.

    Args:
      run: Settings, a `grid.Run`.
      data: A `data.Data`. Layers with a dictionary know the users of its training pairs
        and its candidates.

    Attributes:
      model: The `Ranker`.
      learning_rate: A number, or a schedule from steps.

    Raises:
      ValueError: If the method is unknown, or is to have features that the set lacks.
    """

    def __init__(self, run, data):
        keras.utils.set_random_seed(run.seed)
        self._batch_size = run.batch_size
        user_counts, item_counts = data.training_counts()
        self._user_keys, self._item_keys = _keys(data.user_ids), _keys(data.item_ids)
        method, uses_features = methods.parse(run.method)
        num_features = data.item_features.shape[1] if uses_features else 0
        if uses_features and not num_features:
            raise ValueError(f"{run.data} has no side features for {run.method}.")
        self._item_features = data.item_features[:, :num_features]
        known_users, known_items = _known(data)
        item_layer = method.make(
            _by_frequency(self._item_keys, item_counts, known_items),
            run.share,
            run.seed + 1_000,
        )
        if uses_features:
            item_layer = methods.with_features(method, item_layer)
        user_layer = method.make(
            _by_frequency(self._user_keys, user_counts, known_users),
            run.share,
            run.seed,
        )
        self.model = Ranker(user_layer, item_layer, run.model)
        self.learning_rate = _learning_rate(run, data)
        self._optimizer = keras.optimizers.AdamW(
            self.learning_rate, weight_decay=run.weight_decay, jit_compile=False
        )
        self._step, self._score = self._functions(num_features)
        self.model(self._inputs(data.validation.take(slice(1))), training=False)
        self._optimizer.build(self.model.trainable_variables)

    @property
    def variables(self):
        """What training changes: the model's weights and the optimizer's variables."""
        return [*self.model.weights, *self._optimizer.variables]

    @property
    def layers(self):
        """The layers of users and of items."""
        return [self.model.user_layer, self.model.item_layer]

    def epoch(self, pairs):
        """Trains on pairs in their order; returns the mean loss of the steps."""
        batches = (pairs.take(rows) for rows in _batches(len(pairs), self._batch_size))
        losses = [self._step(*self._inputs(batch), batch.labels) for batch in batches]
        return float(np.mean(losses))

    def scores(self, pairs):
        """Returns the logits [n] of pairs [n]."""
        batches = (pairs.take(rows) for rows in _batches(len(pairs), 16_384))
        logits = [self._score(*self._inputs(batch)).numpy() for batch in batches]
        return np.concatenate(logits)

    def known(self, data):
        """Returns what is known of users, and of items that a dictionary has.

        Returns:
          Twice keys [n], counts in training [n] and side features [n, s] or None.
        """
        users, items = _known(data)
        user_counts, item_counts = data.training_counts()
        features = self._item_features if self._item_features.shape[1] else None
        return [
            (self._user_keys[users], user_counts[users], None),
            (
                self._item_keys[items],
                item_counts[items],
                None if features is None else features[items],
            ),
        ]

    def keys(self, data):
        """Returns the keys of the users and of the items of a set's training pairs."""
        pairs = data.train
        return self._user_keys[pairs.users], self._item_keys[pairs.items]

    def _inputs(self, pairs):
        users, items = self._user_keys[pairs.users], self._item_keys[pairs.items]
        return users, items, self._item_features[pairs.items]

    def _functions(self, num_features):
        """Returns a training step and the scores of a batch as graphs."""

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None, num_features], tf.float32),
                tf.TensorSpec([None], tf.float32),
            ]
        )
        def step(users, items, features, labels):
            with tf.GradientTape() as tape:
                logits = self.model((users, items, features), training=True)
                losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses)
            variables = self.model.trainable_variables
            self._optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables, strict=True)
            )
            return loss

        @tf.function(reduce_retracing=True)
        def score(users, items, features):
            return self.model((users, items, features), training=False)

        return step, score


def _learning_rate(run, data):
    """Returns the learning rate of a run, or its schedule."""
    if run.schedule == "constant":
        return run.learning_rate
    if run.schedule != "cosine":
        raise ValueError(
            f"`schedule` must be constant or cosine. Received: {run.schedule!r}."
        )
    steps = -(-data.pairs_per_epoch // run.batch_size)
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=steps * (run.epochs - 1),
        warmup_target=run.learning_rate,
        warmup_steps=steps,
    )


def _keys(ids):
    return hashing.cityhash64(tf.constant(ids)).numpy()


def _known(data):
    """Returns the users and the items that a dictionary has."""
    user_counts, _ = data.training_counts()
    return np.flatnonzero(user_counts), data.candidates


def _by_frequency(keys, counts, known):
    """Returns the keys of those that are known, the most frequent first."""
    return keys[known][np.argsort(-counts[known], kind="stable")]


def _batches(size, batch_size):
    return [slice(start, start + batch_size) for start in range(0, size, batch_size)]
