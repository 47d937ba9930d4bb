"""What is trained: the answer of a user's `make(repetitions)`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.hashing import constants
from tfrs_dhe.layers.mach_head import MACHHead


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingRun:
    """A model for some of the repetitions of MACH, and how it is trained.

    `python -m tfrs_dhe.models.train_repetitions my_module:make` trains what the
    function `make(repetitions)` returns, and `MACHEnsemble.from_directory(make,
    ...)` merges it. `make` is called once for each model, in any process, and has to
    build the same each time:

    ```python
    def make(repetitions):
        head = tfrs_dhe.layers.MACHHead(1000, 16, seed=7, repetitions=repetitions)
        query_model = tf.keras.Sequential([...])
        model = MyModel(query_model, head)
        model.compile(optimizer=tf.keras.optimizers.Adam(0.001))
        return tfrs_dhe.models.TrainingRun(
            model=model,
            head=head,
            query_model=query_model,
            dataset=lambda epoch: ratings.shuffle(10_000, seed=epoch).batch(256),
            epochs=5,
            class_ids=movie_ids,
        )
    ```

    Args:
      model: Compiled Keras or TFRS model. Its `train_step` is run on the batches of
        `dataset`, as by `fit`.
      head: The MACHHead within the model; it holds the `repetitions` asked for.
      dataset: From the number of the epoch, 0, 1, ..., to its tf.data.Dataset of
        batches. It is called anew for every epoch, with TensorFlow's seeds set to
        the epoch's, so a process that starts at epoch 3 has the same batches there
        as one that came from epoch 2.
      epochs: How many epochs to train.
      query_model: Keras layer or model from the queries to what `head` takes; None
        if the head takes the queries themselves.
      class_ids: Strings or integers [K], the catalogue, if it is fixed. Only a
        digest of it is kept, and a repetition that was trained on other classes is
        refused.

    Raises:
      ValueError: If an argument is not what it should be.
    """

    model: Any
    head: MACHHead
    dataset: Callable[[int], tf.data.Dataset]
    epochs: int
    query_model: Any = None
    class_ids: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.head, MACHHead):
            raise ValueError(
                f"`head` must be a tfrs_dhe.layers.MACHHead. Received: {self.head!r}."
            )
        if not callable(self.dataset):
            raise ValueError(
                "`dataset` must be a function from the number of the epoch to a "
                "tf.data.Dataset, so that a killed training can go on at any epoch: "
                "lambda epoch: data.shuffle(10_000, seed=epoch).batch(256). "
                f"Received: {self.dataset!r}."
            )
        if not constants.is_integer(self.epochs) or self.epochs < 1:
            raise ValueError(
                f"`epochs` must be a positive integer. Received: {self.epochs!r}."
            )
        for name, value in (("model", self.model), ("query_model", self.query_model)):
            if name == "query_model" and value is None:
                continue
            if not isinstance(value, keras.layers.Layer):
                raise ValueError(
                    f"`{name}` must be a model or layer of {keras.__name__}, the "
                    f"Keras of this process. Received: {value!r}."
                )
        if getattr(self.model, "optimizer", None) is None:
            raise ValueError(
                "`model` must be compiled: model.compile(optimizer=...). "
                f"Received: {self.model!r}."
            )
