"""Training of one model, from its last checkpoint to the end."""

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe._version import __version__
from tfrs_dhe.hashing import derive_seed
from tfrs_dhe.models import _repetition_directory
from tfrs_dhe.models.training_run import TrainingRun

#: Raised where a checkpoint is of another model: by its variables' number, shapes
#: and dtypes.
_MISFIT = (AssertionError, ValueError, tf.errors.InvalidArgumentError)


def train(
    make: Callable[[tuple[int, ...]], TrainingRun],
    directory: str | os.PathLike[str],
    repetitions: Sequence[int],
    num_repetitions: int | None = None,
    *,
    seed: int = 0,
    checkpoint_seconds: float = 600.0,
    deterministic: bool = True,
    threads: int | None = None,
) -> None:
    """Trains one model in this process, or goes on where another was killed.

    Killed at any moment and started again, it ends with the same weights, bit by
    bit, as if it had not been: a checkpoint has every variable that a step of the
    training reads or writes, random generators of Keras among them, and the number
    of the epoch and the step. What no variable keeps starts anew in each epoch, from
    a seed of its own.

    Args:
      make: Returns the `TrainingRun` for given repetitions.
      directory: Where the repetitions of the whole model are; this one gets a
        folder in there.
      repetitions: Which the model holds.
      num_repetitions: R, if it is to be compared with that of `make`.
      seed: Of initial weights, dropout and the order of the data; other ones follow
        from it for each of the repetitions.
      checkpoint_seconds: How long after a checkpoint to write the next one; there
        is one after each epoch in any case.
      deterministic: Whether to ask TensorFlow for deterministic ops.
      threads: How many the process was given; kept for the one that goes on.

    Raises:
      ValueError: If `make` returns something else than was asked for, or the folder
        holds another training.
      RuntimeError: If another process is training there.
    """
    repetitions = tuple(repetitions)
    place = _repetition_directory.RepetitionDirectory.of(directory, repetitions)
    label = _repetition_directory.label(repetitions)
    with place.lock():
        manifest = place.read_manifest()
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        if is_legacy:
            # The generators of dropout are variables then, which can be saved.
            keras.backend.experimental.enable_tf_random_generator()
        _set_seed(seed, label)
        run = make(repetitions)
        _repetition_directory.check_run(run, repetitions, num_repetitions)
        made = {
            "state": _repetition_directory.TRAINING,
            "repetitions": repetitions,
            **_repetition_directory.describe(run, keras.__name__),
            "training_seed": seed,
            "epochs": run.epochs,
            "deterministic": deterministic,
            "threads": threads,
            "tfrs_dhe": __version__,
            "tensorflow": tf.__version__,
        }
        if manifest is None:
            place.write_element_spec(_dataset(run, 0))
            place.write_manifest(made)
        else:
            _repetition_directory.check_fits(place.path, manifest, made, to_go_on=True)
            if manifest["state"] == _repetition_directory.FINISHED:
                print(f"{label}: has been finished before", flush=True)
                return
        training = _Training(run, place, label)
        training.restore()
        training.train(seed, checkpoint_seconds)
        write_weights(run, place)
        place.write_manifest(
            {
                **made,
                "state": _repetition_directory.FINISHED,
                "embedding_dim": int(run.head.kernel.shape[-1]),
            }
        )


class _Training:
    """The state of a training: variables, the epoch and the step within it."""

    def __init__(
        self,
        run: TrainingRun,
        place: _repetition_directory.RepetitionDirectory,
        label: str,
    ) -> None:
        self._run, self._place, self._label = run, place, label
        self._step_function = tf.function(
            run.model.train_step,
            input_signature=[place.read_element_spec()],
            # Keras 3 asks for XLA where it finds a GPU.
            jit_compile=getattr(run.model, "jit_compile", None) or None,
        )
        # Tracing makes all variables, and changes none.
        traced = self._step_function.get_concrete_function()
        self._warn_of_hidden_state(traced)
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._step = tf.Variable(0, dtype=tf.int64)
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                variables=_captured_variables(traced, run.model),
                epoch=self._epoch,
                step=self._step,
            ),
            directory=str(place.checkpoints),
            max_to_keep=1,
        )

    def restore(self) -> None:
        """Goes to the last checkpoint, if there is one."""
        path = self._manager.latest_checkpoint
        if path is None:
            return
        try:
            self._manager.checkpoint.restore(path).assert_consumed()
        except _MISFIT as error:
            raise ValueError(
                f"The checkpoint {path} is of another model than `make` returns now. "
                "Change it back, or train into another directory."
            ) from error
        print(
            f"{self._label}: goes on at epoch {int(self._epoch) + 1}, "
            f"step {int(self._step) + 1}",
            flush=True,
        )

    def train(self, seed: int, checkpoint_seconds: float) -> None:
        """Trains to the last epoch."""
        model = self._run.model
        for epoch in range(int(self._epoch), self._run.epochs):
            start = saved = time.monotonic()
            first, step = int(self._step), int(self._step)
            logs: dict[str, Any] = {}
            _set_seed(seed, f"{self._label}, epoch {epoch}")
            model.reset_metrics()
            for batch in _dataset(self._run, epoch).skip(first):
                logs = self._step_function(batch)
                step += 1
                if time.monotonic() - saved >= checkpoint_seconds:
                    self._save(epoch, step)
                    self._report(epoch, step, logs, start)
                    saved = time.monotonic()
            if not step:
                raise ValueError(f"dataset({epoch}) has no batch.")
            self._save(epoch + 1, 0)
            self._report(epoch, step, logs, start)
        finalize = getattr(model.optimizer, "finalize_variable_values", None)
        if finalize is not None:
            # As `fit` does at its end: averages of weights take their place.
            finalize(model.trainable_variables)

    def _save(self, epoch: int, step: int) -> None:
        self._epoch.assign(epoch)
        self._step.assign(step)
        self._manager.save()

    def _report(
        self, epoch: int, step: int, logs: dict[str, Any], start: float
    ) -> None:
        figures = [
            f"{name}={float(value):.4g}"
            for name, value in logs.items()
            if value is not None and math.prod(value.shape) == 1
        ]
        parts = [
            f"epoch {epoch + 1} of {self._run.epochs}",
            f"step {step}",
            *figures,
            f"{time.monotonic() - start:.1f} s",
        ]
        print(f"{self._label}: {', '.join(parts)}", flush=True)

    def _warn_of_hidden_state(self, traced: Any) -> None:
        """Says so if a step draws random numbers that no variable stands behind."""
        graph = traced.graph.as_graph_def()
        nodes = [
            graph.node,
            *(function.node_def for function in graph.library.function),
        ]
        ops = {node.op for part in nodes for node in part if _has_hidden_state(node.op)}
        if ops:
            print(
                f"{self._label}: WARNING: the training step draws random numbers by "
                f"{', '.join(sorted(ops))}, whose state no checkpoint has. If the "
                "process is killed, it goes on with other numbers than it would have "
                "had. Layers of Keras, tf.random.Generator and "
                "tf.random.stateless_uniform etc. do not have that limit.",
                flush=True,
            )


def write_weights(
    run: TrainingRun, place: _repetition_directory.RepetitionDirectory
) -> None:
    """Writes the weights of the query model and the head."""
    tf.train.Checkpoint(variables=_servable_variables(run)).write(str(place.weights))


def read_weights(
    run: TrainingRun, place: _repetition_directory.RepetitionDirectory
) -> None:
    """Makes the weights of the query model and the head, and reads them.

    Raises:
      ValueError: If they are those of another model.
    """
    # Tracing makes the variables, without data; the optimizer's are not needed.
    tf.function(
        run.model.test_step, input_signature=[place.read_element_spec()]
    ).get_concrete_function()
    checkpoint = tf.train.Checkpoint(variables=_servable_variables(run))
    try:
        checkpoint.read(str(place.weights)).assert_consumed()
    except _MISFIT as error:
        raise ValueError(
            f"The weights in {place.path} are of another model than `make` returns "
            "now. Change it back, or train into another directory."
        ) from error


def _servable_variables(run: TrainingRun) -> list[tf.Variable]:
    layers = [run.head] if run.query_model is None else [run.query_model, run.head]
    unique = {id(v): v for layer in layers for v in layer.variables}
    metrics = _metric_variables(run.model)
    variables = [_tf_variable(v) for v in unique.values()]
    return [v for v in variables if id(v) not in metrics]


def _captured_variables(traced: Any, model: Any) -> list[tf.Variable]:
    """Returns the variables of a traced step, in the order of their first use.

    Metrics are left out: those of a training that went on count fewer batches.
    """
    metrics = _metric_variables(model)
    variables = {id(v.handle): v for v in traced.variables if id(v) not in metrics}
    handles = [id(tensor) for tensor in traced.captured_inputs]
    return [variables[handle] for handle in handles if handle in variables]


def _metric_variables(model: Any) -> set[int]:
    return {id(_tf_variable(v)) for metric in model.metrics for v in metric.variables}


def _tf_variable(variable: Any) -> tf.Variable:
    # Those of Keras 3 wrap one.
    return variable if isinstance(variable, tf.Variable) else variable.value


def _has_hidden_state(op: str) -> bool:
    return op.startswith(
        ("Random", "TruncatedNormal", "Multinomial", "ParameterizedTruncatedNormal")
    ) or op.endswith("CandidateSampler")


def _dataset(run: TrainingRun, epoch: int) -> tf.data.Dataset:
    dataset = run.dataset(epoch)
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            "`dataset` must return a tf.data.Dataset of batches. Received from "
            f"dataset({epoch}): {dataset!r}."
        )
    return dataset


def _set_seed(seed: int, name: str) -> None:
    # Keras takes 32 bits.
    keras.utils.set_random_seed(derive_seed(seed, name) % 2**32)
