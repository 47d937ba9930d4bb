import pytest
import tensorflow as tf

from tests.models import tiny_run
from tfrs_dhe import layers, models
from tfrs_dhe._keras import keras


def test_wrong_arguments_are_refused():
    run = tiny_run.make((0,))
    arguments = {
        "model": run.model,
        "head": run.head,
        "dataset": run.dataset,
        "epochs": 1,
        "query_model": None,
    }
    models.TrainingRun(**arguments)
    uncompiled = keras.Sequential([layers.MACHHead(10, 2)])
    for name, value, message in (
        ("head", run.model, "a tfrs_dhe.layers.MACHHead"),
        ("dataset", tf.data.Dataset.range(3), "function from the number of the epoch"),
        ("epochs", 0, "positive integer"),
        ("query_model", lambda x: x, "the Keras of this process"),
        ("model", uncompiled, "compiled"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be .*{message}"):
            models.TrainingRun(**arguments | {name: value})


def test_dataset_has_to_give_batches(tmp_path, train):
    for dataset, message in (
        (lambda epoch: [1, 2], r"must return a tf.data.Dataset .* dataset\(0\)"),
        (lambda epoch: tiny_run.make((0,)).dataset(0).take(0), r"\(0\) has no batch"),
    ):
        run = tiny_run.make((0,))
        run = models.TrainingRun(run.model, run.head, dataset, 1, run.query_model)
        with pytest.raises(ValueError, match=message):
            train(lambda repetitions, run=run: run, tmp_path, (0,))
