"""Trains a model of users and items and measures it."""

import os
import time

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import methods
import numpy as np
import served
import tensorflow as tf
from methods import OUTPUT_DIM
from scipy.stats import rankdata

from tfrs_dhe import hashing
from tfrs_dhe._keras import keras

MODELS = ("gmf", "mlp")
#: Training ends early after as many epochs without a better one on validation pairs.
PATIENCE = 3
#: Test pairs are told apart by how often their item, or their user, was trained on.
SEGMENTS = {"unseen": (0, 0), "rare": (1, 5), "known": (6, np.inf)}


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


def area_under_curve(labels, scores):
    """Returns the share of pairs of a positive and a negative that are in order.

    None where there is no such pair; 0 for scores that are not numbers, which a
    training that diverged gives.
    """
    positives = labels > 0.5
    num_positive, num_negative = positives.sum(), (~positives).sum()
    if not num_positive or not num_negative:
        return None
    if not np.all(np.isfinite(scores)):
        return 0.0
    below = rankdata(scores)[positives].sum() - num_positive * (num_positive + 1) / 2
    return round(float(below / num_positive / num_negative), 5)


def train(run, data, report=print):
    """Trains and evaluates; returns what belongs into the result line.

    The epoch that is best on the validation pairs is tested; `PATIENCE` epochs after it
    none is expected to be better.

    Args:
      run: Settings, a `grid.Run`.
      data: A `data.Data`.
      report: Is told of each epoch: the run, its number, loss and validation AUC.
    """
    keras.utils.set_random_seed(run.seed)
    generator = np.random.default_rng(run.seed)
    user_counts, item_counts = data.training_counts()
    user_keys, item_keys = _keys(data.user_ids), _keys(data.item_ids)
    method, uses_features = methods.parse(run.method)
    num_features = data.item_features.shape[1] if uses_features else 0
    if uses_features and not num_features:
        raise ValueError(f"{run.data} has no side features for {run.method}.")
    item_features = data.item_features[:, :num_features]
    known_users, known_items = np.flatnonzero(user_counts), data.candidates
    item_layer = method.make(
        _by_frequency(item_keys, item_counts, known_items), run.share, run.seed + 1_000
    )
    if uses_features:
        item_layer = methods.with_features(method, item_layer)
    model = Ranker(
        method.make(
            _by_frequency(user_keys, user_counts, known_users), run.share, run.seed
        ),
        item_layer,
        run.model,
    )
    optimizer = keras.optimizers.AdamW(
        run.learning_rate, weight_decay=run.weight_decay, jit_compile=False
    )

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
            logits = model((users, items, features), training=True)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        variables = model.trainable_variables
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
        return loss

    @tf.function(reduce_retracing=True)
    def score(users, items, features):
        return model((users, items, features), training=False)

    def inputs(pairs):
        items = pairs.items
        return user_keys[pairs.users], item_keys[items], item_features[items]

    def scores(pairs):
        batches = (pairs.take(rows) for rows in _batches(len(pairs), 16_384))
        return np.concatenate([score(*inputs(batch)).numpy() for batch in batches])

    def measure():
        tested = scores(data.test)
        return {
            "test": segments(data.test, tested, item_counts[data.test.items]),
            "test_by_user": segments(data.test, tested, user_counts[data.test.users]),
        }

    def measure_rounded(row_dtype):
        with served.rounded([model.user_layer, model.item_layer], row_dtype):
            tested = scores(data.validation)
            value = area_under_curve(data.validation.labels, tested)
            return {"validation": value, **measure()}

    model(inputs(data.validation.take(slice(1))), training=False)
    optimizer.build(model.trainable_variables)
    validation, best, best_epoch, best_weights = [], -1.0, 0, None
    start, cpu_start = time.perf_counter(), time.process_time()
    for epoch in range(run.epochs):
        pairs = data.epoch(generator)
        batches = (pairs.take(rows) for rows in _batches(len(pairs), run.batch_size))
        losses = [step(*inputs(batch), batch.labels) for batch in batches]
        value = area_under_curve(data.validation.labels, scores(data.validation))
        validation.append(value)
        report(run, epoch + 1, float(np.mean(losses)), value)
        if value > best:
            best, best_epoch = value, epoch
            best_weights = model.get_weights()
        elif epoch - best_epoch == PATIENCE:
            break
    model.set_weights(best_weights)
    num_keys = [len(known_users), len(known_items)]
    if not method.has_dictionary:
        num_keys = [0, 0]
    layers = [model.user_layer, model.item_layer]
    return {
        "parameters": {
            "users": model.user_layer.count_params(),
            "items": model.item_layer.count_params(),
            "full_table": OUTPUT_DIM * (len(user_keys) + len(item_keys)),
        },
        "bytes": {
            row_dtype: sum(map(served.num_bytes, layers, num_keys, 2 * [row_dtype]))
            for row_dtype in ("float32", *served.ROW_DTYPES)
        },
        "validation": validation,
        **measure(),
        "rounded": {dtype: measure_rounded(dtype) for dtype in served.ROW_DTYPES},
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu_start, 1),
    }


def _keys(ids):
    return hashing.cityhash64(tf.constant(ids)).numpy()


def _by_frequency(keys, counts, known):
    """Returns the keys of those that are known, the most frequent first."""
    return keys[known][np.argsort(-counts[known], kind="stable")]


def _batches(size, batch_size):
    return [slice(start, start + batch_size) for start in range(0, size, batch_size)]


def segments(pairs, scores, counts):
    """Returns AUC and number of pairs for each of `SEGMENTS` and for all.

    Args:
      pairs: `data.Pairs` [n].
      scores: Theirs, floats [n].
      counts: How often their item, or user, was trained on [n].
    """
    chosen = {name: (counts >= a) & (counts <= b) for name, (a, b) in SEGMENTS.items()}
    chosen["all"] = np.ones(len(pairs), bool)
    return {
        name: {
            "auc": area_under_curve(pairs.labels[rows], scores[rows]),
            "pairs": int(rows.sum()),
        }
        for name, rows in chosen.items()
        if rows.any()
    }
