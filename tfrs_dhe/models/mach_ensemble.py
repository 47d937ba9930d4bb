"""Repetitions that were trained apart, as one model."""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers.mach_head import MACHHead
from tfrs_dhe.models import _repetition_directory, _repetition_training
from tfrs_dhe.models.training_run import TrainingRun


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class MACHEnsemble(keras.Model):
    """Merges repetitions of MACH that were trained apart, for evaluation and serving.

    Each repetition has a query model of its own, and the ensemble puts their logits
    side by side: it is a MACHHead that takes the queries themselves. So it goes where
    a head goes, into `layers.factorized_top_k.MACH` or `mach.class_scores`.

    Repetitions may be missing. The aggregations then combine the others', and the
    scores are noisier: `missing_repetitions` says which, and a warning how many.

    Example:
    >>> heads = [MACHHead(100, 2, repetitions=[r]) for r in range(2)]
    >>> ensemble = MACHEnsemble(heads)
    >>> ensemble(tf.zeros([3, 16])).shape
    TensorShape([3, 2, 100])

    Args:
      heads: MACHHeads with the same buckets, number of repetitions and seed, of
        different repetitions.
      query_models: For each head the Keras layer from the queries to what it takes,
        None if it takes the queries themselves. By default None for all. A query
        model that several heads share runs once.
      **kwargs: Those of a Keras model.

    Input shape: What the query models take.

    Output shape: [batch, R', B], of R' repetitions that are there, in ascending order.

    Attributes:
      num_buckets: B.
      num_repetitions: R of the whole model.
      seed: That of the hash functions.
      repetitions: The numbers of the repetitions that are there, ascending.
      missing_repetitions: Those of the others.

    Raises:
      ValueError: If the heads are not of one model.

    References:
      Medini et al., "Extreme Classification in Log Memory using Count-Min Sketch",
      NeurIPS 2019, section 3.
    """

    def __init__(
        self,
        heads: Sequence[MACHHead],
        query_models: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        heads = list(heads)
        query_models = [None] * len(heads) if query_models is None else query_models
        _check_heads(heads, query_models)
        self.num_buckets = heads[0].num_buckets
        self.num_repetitions = heads[0].num_repetitions
        self.seed = heads[0].seed
        held = [r for head in heads for r in head.repetitions]
        self.repetitions = tuple(sorted(held))
        self.missing_repetitions = tuple(
            sorted(set(range(self.num_repetitions)) - set(held))
        )
        # Where each repetition is among the outputs of the heads, one after the other.
        self._order = tuple(held.index(r) for r in self.repetitions)
        self._num_heads = len(heads)
        # Attributes, not lists: a checkpoint of Keras 3 leaves those out.
        for i, (head, query_model) in enumerate(zip(heads, query_models, strict=True)):
            setattr(self, f"head_{i}", head)
            setattr(self, f"query_model_{i}", query_model)
        self.trainable = False
        # Queries may be strings, which XLA does not know.
        self.supports_jit = False
        if is_legacy:
            # A model of legacy Keras with a `build` of its own cannot be part of
            # another one before it is built.
            self.built = True
        if self.missing_repetitions:
            warnings.warn(
                f"{len(self.missing_repetitions)} of {self.num_repetitions} "
                f"repetitions are missing: {_join(self.missing_repetitions)}. Scores "
                f"are combined from the other {len(self.repetitions)}, and noisier.",
                stacklevel=2,
            )

    @classmethod
    def from_directory(
        cls,
        make: Callable[[tuple[int, ...]], TrainingRun],
        directory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        **kwargs: Any,
    ) -> "MACHEnsemble":
        """Merges what `python -m tfrs_dhe.models.train_repetitions` has trained.

        Args:
          make: The function that the models were trained by. The weights are read
            into the models that it returns; no data is.
          directory: That of the training, or several of them, where the repetitions
            are in several places.
          **kwargs: Those of a Keras model.

        Returns:
          The ensemble of all finished repetitions. Others are missing in it.

        Raises:
          ValueError: If a folder was trained with another seed, B, R, class set or
            balanced boundaries than `make` gives, or has a repetition that another
            one has, or there is no finished one.
        """
        directories = (
            [directory] if isinstance(directory, str | os.PathLike) else list(directory)
        )
        found: dict[int, _repetition_directory.RepetitionDirectory] = {}
        heads, query_models = [], []
        for place in (
            place
            for path in directories
            for place in _repetition_directory.RepetitionDirectory.find(path)
        ):
            manifest = place.read_manifest()
            assert manifest is not None
            repetitions = tuple(manifest["repetitions"])
            if manifest["state"] != _repetition_directory.FINISHED:
                label = _repetition_directory.label(repetitions)
                warnings.warn(
                    f"{label} in {place.path}: not finished, and left out. The command "
                    "that trained it goes on.",
                    stacklevel=2,
                )
                continue
            for repetition in repetitions:
                if repetition in found:
                    raise ValueError(
                        f"Repetition {repetition} is in {found[repetition].path} and "
                        f"in {place.path}. Move one of them away."
                    )
                found[repetition] = place
            run = make(repetitions)
            _repetition_directory.check_run(run, repetitions)
            made = _repetition_directory.describe(run, keras.__name__)
            _repetition_directory.check_fits(place.path, manifest, made)
            _repetition_training.read_weights(run, place)
            heads.append(run.head)
            query_models.append(run.query_model)
        if not heads:
            raise ValueError(
                f"There is no finished repetition in {_join(directories)}. Train some "
                "with `python -m tfrs_dhe.models.train_repetitions`."
            )
        return cls(heads, query_models, **kwargs)

    @property
    def heads(self) -> list[MACHHead]:
        """The MACHHeads."""
        return [getattr(self, f"head_{i}") for i in range(self._num_heads)]

    @property
    def query_models(self) -> list[Any]:
        """The query model of each head."""
        return [getattr(self, f"query_model_{i}") for i in range(self._num_heads)]

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights of the heads that take the queries themselves.

        Query models make theirs, and their heads', when they are called.
        """
        for head, query_model in zip(self.heads, self.query_models, strict=True):
            if query_model is None and input_shape is not None:
                head.build(input_shape)
        self.built = True

    def call(self, inputs: Any) -> tf.Tensor:
        """Returns the logits [batch, R', B] of queries."""
        queries: dict[int, Any] = {}
        logits = []
        for head, query_model in zip(self.heads, self.query_models, strict=True):
            key = id(query_model)
            if key not in queries:
                queries[key] = inputs if query_model is None else query_model(inputs)
            logits.append(head(queries[key]))
        return self._in_order(tf.concat(logits, axis=-2), axis=-2)

    def bucket_ids(self, class_ids: tf.Tensor) -> tf.Tensor:
        """Returns the buckets that classes fall into.

        Args:
          class_ids: Strings or integers [...], dense or ragged.

        Returns:
          tf.int32 [..., R'], from 0 to B - 1.

        Raises:
          ValueError: If the ids are neither strings nor integers.
        """
        if isinstance(class_ids, tf.RaggedTensor):
            return class_ids.with_flat_values(self.bucket_ids(class_ids.flat_values))
        buckets = [head.bucket_ids(class_ids) for head in self.heads]
        return self._in_order(tf.concat(buckets, axis=-1), axis=-1)

    def bucket_table(self, class_ids: Any) -> np.ndarray:
        """Returns the buckets of a whole catalogue as an array.

        Args:
          class_ids: Strings or integers [K].

        Returns:
          uint8, uint16 or int32 [R', K], the smallest that holds B - 1.

        Raises:
          ValueError: If the ids are neither strings nor integers, or not one list.
        """
        class_ids = tf.convert_to_tensor(class_ids)
        table = np.concatenate([head.bucket_table(class_ids) for head in self.heads])
        return table[list(self._order)]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, a shared query model once."""
        serialize = keras.saving.serialize_keras_object
        unique = list({id(model): model for model in self.query_models}.values())
        positions = {id(model): i for i, model in enumerate(unique)}
        return {
            "name": self.name,
            "heads": [serialize(head) for head in self.heads],
            "query_models": [serialize(model) for model in unique],
            "query_model_of_head": [positions[id(m)] for m in self.query_models],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Returns an ensemble of untrained models."""

        def deserialize(made_of: Any) -> Any:
            return keras.saving.deserialize_keras_object(
                made_of, custom_objects=custom_objects
            )

        unique = [deserialize(model) for model in config["query_models"]]
        return cls(
            [deserialize(head) for head in config["heads"]],
            [unique[i] for i in config["query_model_of_head"]],
            name=config["name"],
        )

    def _in_order(self, values: tf.Tensor, axis: int) -> tf.Tensor:
        if self._order == tuple(range(len(self._order))):
            return values
        return tf.gather(values, self._order, axis=axis)


def _check_heads(heads: list[MACHHead], query_models: Sequence[Any]) -> None:
    if not heads:
        raise ValueError("`heads` must have at least one MACHHead. Received none.")
    if len(query_models) != len(heads):
        raise ValueError(
            f"`query_models` must have one entry for each of the {len(heads)} heads. "
            f"Received: {len(query_models)}."
        )
    for name in ("num_buckets", "num_repetitions", "seed", "balanced"):
        values = [getattr(head, name) for head in heads]
        if len(set(values)) > 1:
            raise ValueError(
                f"`heads` must agree in `{name}`: repetitions with other hash "
                f"functions are of another model. Received: {values}."
            )
    held = [r for head in heads for r in head.repetitions]
    if len(set(held)) != len(held):
        raise ValueError(
            f"`heads` must hold different repetitions. Received: {held}. Give each "
            "the numbers that it holds: MACHHead(..., repetitions=[3])."
        )


def _join(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)
