"""What a folder of trained repetitions holds, and how to tell that it fits.

DIRECTORY/repetition-0003/
  manifest.json   what is trained, and whether it is finished
  log.txt         what the process printed
  checkpoints/    to go on from, of tf.train.CheckpointManager
  batches/        shape and dtypes of the batches, without any
  weights.*       of the query model and the head, once finished
  lock            held by the process that trains
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers.mach_head import MACHHead
from tfrs_dhe.mach import buckets
from tfrs_dhe.models.training_run import TrainingRun

TRAINING, FINISHED = "training", "finished"

#: Manifest entries that say which hash functions and classes the head stands for,
#: as a reader of an error message knows them.
_HEAD_ENTRIES = {
    "num_buckets": "the number of buckets B",
    "num_repetitions": "the number of repetitions R",
    "seed": "the seed of the hash functions",
    "boundaries": "the balanced boundaries of buckets",
    "class_set": "the class set",
    "keras": "the Keras",
}

#: Entries that must be the same where a training goes on.
_TRAINING_ENTRIES = {
    "training_seed": "the seed of the training",
    "epochs": "the number of epochs",
}


def label(repetitions: Sequence[int]) -> str:
    """Returns "repetition 3" or "repetitions 2, 3"."""
    numbers = ", ".join(str(r) for r in repetitions)
    return f"repetition{'s' if len(repetitions) > 1 else ''} {numbers}"


class RepetitionDirectory:
    """The folder of one trained model, which has one or more repetitions."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest_path = self.path / "manifest.json"
        self.log = self.path / "log.txt"
        self.checkpoints = self.path / "checkpoints"
        self.batches = self.path / "batches"
        self.weights = self.path / "weights"

    @classmethod
    def of(
        cls, directory: str | os.PathLike[str], repetitions: Sequence[int]
    ) -> "RepetitionDirectory":
        """Returns the folder in which these repetitions, one after the other, are."""
        name = f"repetition-{repetitions[0]:04d}"
        if len(repetitions) > 1:
            name = f"repetitions-{repetitions[0]:04d}-{repetitions[-1]:04d}"
        return cls(Path(directory) / name)

    @classmethod
    def find(cls, directory: str | os.PathLike[str]) -> "list[RepetitionDirectory]":
        """Returns the folders with a manifest, by name."""
        manifests = sorted(Path(directory).glob("*/manifest.json"))
        return [cls(manifest.parent) for manifest in manifests]

    def read_manifest(self) -> dict[str, Any] | None:
        """Returns the manifest, None before the training has begun."""
        try:
            return json.loads(self.manifest_path.read_text())
        except FileNotFoundError:
            return None

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Puts a manifest in the place of the old one, in one step."""
        scratch = self.path / "manifest.json.tmp"
        with scratch.open("w") as file:
            file.write(json.dumps(manifest, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.manifest_path)

    def write_element_spec(self, dataset: tf.data.Dataset) -> None:
        """Keeps what the batches look like, so that merging needs no data."""
        shutil.rmtree(self.batches, ignore_errors=True)
        dataset.take(0).save(str(self.batches))

    def read_element_spec(self) -> Any:
        """Returns what the batches of the training look like."""
        return tf.data.Dataset.load(str(self.batches)).element_spec

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes off; it ends with the process, however that ends.

        Raises:
          RuntimeError: If another process holds it.
        """
        # Where there is none (Windows), all but training works.
        import fcntl

        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(
                    f"Another process is training in {self.path}. Two would spoil "
                    "each other's checkpoints; wait for it or end it."
                ) from None
            yield


def check_run(
    run: Any, repetitions: Sequence[int], num_repetitions: int | None = None
) -> TrainingRun:
    """Returns what `make(repetitions)` gave, if it is what was asked for.

    Raises:
      ValueError: If it is not.
    """
    if not isinstance(run, TrainingRun):
        raise ValueError(
            "`make` must return a tfrs_dhe.models.TrainingRun. Received from "
            f"make({tuple(repetitions)}): {run!r}."
        )
    if run.head.repetitions != tuple(repetitions):
        raise ValueError(
            f"make({tuple(repetitions)}) must return a head that holds these "
            f"repetitions: MACHHead(..., repetitions=repetitions). Received one that "
            f"holds {run.head.repetitions}."
        )
    if num_repetitions is not None and run.head.num_repetitions != num_repetitions:
        raise ValueError(
            f"--num-repetitions is {num_repetitions}, but `make` returned a head "
            f"with num_repetitions={run.head.num_repetitions}."
        )
    return run


def describe(run: TrainingRun, keras_name: str) -> dict[str, Any]:
    """Returns the manifest entries that say what a head stands for."""
    head = run.head
    return {
        "num_buckets": head.num_buckets,
        "num_repetitions": head.num_repetitions,
        "seed": head.seed,
        "boundaries": _boundaries_digest(head),
        "class_set": None if run.class_ids is None else class_set(run.class_ids),
        "keras": keras_name,
    }


def class_set(class_ids: Any) -> dict[str, Any]:
    """Returns the number of distinct classes and a digest, whatever their order.

    Args:
      class_ids: Strings or integers [K].

    Raises:
      ValueError: If the ids are neither strings nor integers, or not one list.
    """
    class_ids = tf.convert_to_tensor(class_ids)
    if class_ids.shape.rank != 1:
        raise ValueError(
            "`class_ids` must be a list of ids, of shape [num_classes]. "
            f"Received shape {class_ids.shape}."
        )
    keys = np.empty(len(class_ids), np.int64)
    for start in range(0, len(keys), buckets.CHUNK_SIZE):
        chunk = slice(start, start + buckets.CHUNK_SIZE)
        keys[chunk] = hashing.int64_keys(class_ids[chunk]).numpy()
    keys = np.unique(keys)
    return {"num_classes": len(keys), "digest": _digest(keys)}


def check_fits(
    path: Path, manifest: dict[str, Any], made: dict[str, Any], to_go_on: bool = False
) -> None:
    """Compares what a folder holds with what `make` returns now.

    Args:
      path: The folder, for the message.
      manifest: What it holds.
      made: What is asked for.
      to_go_on: Whether a training is to go on there, rather than to be merged.

    Raises:
      ValueError: If they differ, with the folder and both values.
    """
    entries = _HEAD_ENTRIES | (_TRAINING_ENTRIES if to_go_on else {})
    for name, words in entries.items():
        if manifest[name] != made[name]:
            raise ValueError(
                f"{path} was trained with {words} {_words(manifest[name])}; this is "
                f"{_words(made[name])}. Repetitions fit together only if they agree "
                "in it: change it back, or train into another directory."
            )


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return f"of {value['num_classes']} classes ({value['digest']})"
    return str(value)


def _boundaries_digest(head: MACHHead) -> str | None:
    if head.boundaries is None:
        return None
    return _digest(tf.convert_to_tensor(head.boundaries).numpy())


def _digest(numbers: np.ndarray) -> str:
    little_endian = np.ascontiguousarray(numbers, dtype="<i8")
    return hashlib.sha256(little_endian.tobytes()).hexdigest()[:16]
