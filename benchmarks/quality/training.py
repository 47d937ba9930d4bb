"""Trains a model of users and items and measures it."""

import dataclasses
import time

import numpy as np
import served
import tensorflow as tf
from epoch_checkpoint import EpochCheckpoint
from methods import OUTPUT_DIM
from scipy.special import expit
from scipy.stats import rankdata
from trainer import Trainer

from tfrs_dhe.models import distill_embeddings

MODELS = ("gmf", "mlp")
#: Training ends early after as many epochs without a better one on validation pairs,
#: once these are told apart at all: products of small rows take a while to begin.
PATIENCE = 3
BEGUN = 0.55
#: The decay that is best for a full table, which teaches, where it is not .3.
TEACHER_DECAY = {"ciao": 1.0}
#: Ids of a step that learns rows of a table.
DISTILLATION_BATCH = 1024
#: The last that was trained, by its run: methods with one seed have the same.
_TEACHERS = {}
#: Test pairs are told apart by how often their item, or their user, was trained on.
SEGMENTS = {"unseen": (0, 0), "rare": (1, 5), "known": (6, np.inf)}


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


def clocks():
    """Returns wall and processor time, seconds [2]."""
    return np.array([time.perf_counter(), time.process_time()])


def fit(run, data, trainer, report=print, teacher=None, checkpoints=None):
    """Trains until the validation pairs say that it is enough.

    The model has the weights of the epoch that is best on them then; `PATIENCE` epochs
    after it none is expected to be better, unless the learning rate is to fall still.

    Args:
      run: Settings, a `grid.Run`.
      data: A `data.Data`.
      trainer: The `Trainer`.
      report: Is told of each epoch: the run, its number, loss and validation AUC.
      teacher: The trained `Trainer` that part of the labels is of, or None.
      checkpoints: A folder for the state of runs after each epoch, to be taken up from
        there, or None.

    Returns:
      The validation AUC of each epoch, and the seconds [2] that those took which an
      earlier process trained: wall and processor time.
    """
    generator = np.random.default_rng(run.seed)
    validation, earlier, start = [], np.zeros(2), clocks()
    best_weights = [tf.Variable(weight) for weight in trainer.model.weights]
    checkpoint = state = None
    if checkpoints is not None:
        checkpoint = EpochCheckpoint(
            checkpoints / run.folder_name,
            variables=trainer.variables,
            best=best_weights,
        )
        state = checkpoint.restore()
    if state is not None:
        validation, earlier = state["validation"], np.array(state["seconds"])
        generator.bit_generator.state = state["generator"]
    while len(validation) < run.epochs and not is_over(run, validation):
        pairs = data.epoch(generator)
        if teacher is not None:
            pairs = taught(pairs, teacher, run.teacher)
        loss = trainer.epoch(pairs)
        scores = trainer.scores(data.validation)
        value = area_under_curve(data.validation.labels, scores)
        if value > max(validation, default=-1.0):
            copy(trainer.model.weights, best_weights)
        validation.append(value)
        report(run, len(validation), loss, value)
        if checkpoint is not None:
            checkpoint.save(
                {
                    "epoch": len(validation),
                    "validation": validation,
                    "generator": generator.bit_generator.state,
                    "seconds": list(earlier + clocks() - start),
                }
            )
    copy(best_weights, trainer.model.weights)
    return validation, earlier


def is_over(run, validation):
    """Returns whether training ends early, by the validation AUC of the epochs."""
    best = max(validation, default=0.0)
    if run.schedule != "constant" or best < BEGUN:
        return False
    since = len(validation) - 1 - validation.index(best)
    return since >= PATIENCE


def copy(variables, others):
    """Gives values of variables to others of the same shapes."""
    for variable, other in zip(variables, others, strict=True):
        other.assign(variable)


def taught(pairs, teacher, weight):
    """Returns pairs whose labels are in part a teacher's probabilities.

    Args:
      pairs: `data.Pairs`.
      teacher: A trained `Trainer`.
      weight: Of its probabilities; the labels have the rest.
    """
    probabilities = expit(teacher.scores(pairs))
    labels = (1 - weight) * pairs.labels + weight * probabilities
    return dataclasses.replace(pairs, labels=labels.astype(np.float32))


def teacher_of(run, data, report):
    """Returns the trained full table that teaches a run, or None.

    Args:
      run: Settings, a `grid.Run`.
      data: A `data.Data`.
      report: As of `fit`.
    """
    if not (run.teacher or run.distilled):
        return None
    table = dataclasses.replace(
        run,
        method="table",
        share=1,
        epochs=15,
        learning_rate=0.005,
        weight_decay=TEACHER_DECAY.get(run.data, 0.3),
        schedule="constant",
        teacher=0.0,
        distilled=0,
        id_dropout=0.0,
    )
    if table not in _TEACHERS:
        _TEACHERS.clear()
        _TEACHERS[table] = Trainer(table, data)
        fit(table, data, _TEACHERS[table], report)
    return _TEACHERS[table]


def distill(run, data, teacher, trainer, report=print):
    """Has embeddings learn those of a trained full table, and takes its other weights.

    Args:
      run: Settings, a `grid.Run`.
      data: A `data.Data`.
      teacher: The table's `Trainer`, trained.
      trainer: The `Trainer` whose model is to be changed.
      report: As of `fit`.

    Returns:
      The validation AUC, as the only one of a list.
    """
    trainer.model.head.set_weights(teacher.model.head.get_weights())
    unexplained = []
    for taught_layer, table, (keys, counts, features) in zip(
        trainer.layers, teacher.layers, trainer.known(data), strict=True
    ):
        learned = distill_embeddings(
            taught_layer,
            keys,
            table(keys),
            # Items that are negatives alone have been trained on, too.
            weights=np.sqrt(np.maximum(counts, 1)),
            epochs=run.distilled,
            batch_size=DISTILLATION_BATCH,
            learning_rate=run.learning_rate,
            side_features=features,
            id_dropout=run.id_dropout,
            seed=run.seed,
        )
        unexplained.append(learned.unexplained)
    value = area_under_curve(data.validation.labels, trainer.scores(data.validation))
    report(run, 1, float(np.mean(unexplained)), value)
    return [value]


def train(run, data, report=print, checkpoints=None):
    """Trains and evaluates; returns what belongs into the result line.

    Args:
      run: Settings, a `grid.Run`.
      data: A `data.Data`.
      report: As of `fit`.
      checkpoints: As of `fit`.
    """
    # The teacher first: a trainer sets the seed that its steps draw from.
    teacher = teacher_of(run, data, report)
    trainer = Trainer(run, data)
    user_counts, item_counts = data.training_counts()

    def measure():
        tested = trainer.scores(data.test)
        return {
            "test": segments(data.test, tested, item_counts[data.test.items]),
            "test_by_user": segments(data.test, tested, user_counts[data.test.users]),
        }

    def measure_rounded(row_dtype):
        with served.rounded(trainer.layers, row_dtype):
            tested = trainer.scores(data.validation)
            value = area_under_curve(data.validation.labels, tested)
            return {"validation": value, **measure()}

    start, earlier = clocks(), np.zeros(2)
    if run.distilled:
        validation = distill(run, data, teacher, trainer, report)
    else:
        validation, earlier = fit(run, data, trainer, report, teacher, checkpoints)
    users, items = trainer.layers
    result = {
        "parameters": {
            "users": served.num_parameters(users),
            "items": served.num_parameters(items),
            "full_table": OUTPUT_DIM * (len(data.user_ids) + len(data.item_ids)),
        },
        "bytes": {
            row_dtype: sum(
                served.num_bytes(layer, row_dtype) for layer in trainer.layers
            )
            for row_dtype in ("float32", *served.ROW_DTYPES)
        },
        "validation": validation,
        **measure(),
        "rounded": {dtype: measure_rounded(dtype) for dtype in served.ROW_DTYPES},
    }
    seconds = np.round(earlier + clocks() - start, 1).tolist()
    return result | dict(zip(("seconds", "cpu_seconds"), seconds, strict=True))


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
