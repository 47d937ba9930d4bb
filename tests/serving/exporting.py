"""What the tests of exports share: cases, their export, and a server's answers."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfrs_dhe import serving
from tfrs_dhe.serving import _samples

BATCH_SIZES = (0, 1, 7)
REPLAY = Path(__file__).with_name("replay.py")


@dataclasses.dataclass
class Case:
    """A servable and what it answers, by signature, from the inputs of a request."""

    servable: Any
    sample_inputs: Any
    answers: Mapping[str, Callable[..., Any]]
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def export_and_replay(
    cases: Mapping[str, Callable[[], Case]], directory: Path
) -> dict[str, tuple[Case, Path, list[Any]]]:
    """Returns each case with its version and what `replay.py` says of it."""
    made = {name: make() for name, make in cases.items()}
    paths = {
        name: serving.export(
            case.servable,
            directory / name,
            case.sample_inputs,
            batch_sizes=BATCH_SIZES,
            **case.arguments,
        )
        for name, case in made.items()
    }
    (tampered,), *replayed = replay(
        _with_another_answer(paths, directory), *paths.values()
    )
    assert tampered[-1] is False, "the replay accepts an answer that is another"
    return {
        name: (made[name], paths[name], answers)
        for name, answers in zip(made, replayed, strict=True)
    }


def replay(*paths: Path) -> list[list[Any]]:
    """Returns what `replay.py` says of versions."""
    done = subprocess.run(
        [sys.executable, REPLAY, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _with_another_answer(paths: Mapping[str, Path], directory: Path) -> Path:
    """Returns a copy of a version with a sample that is not what it answers."""
    path = next(iter(paths.values()))
    copy = directory / "tampered" / "1"
    shutil.copytree(path, copy)
    sample = _samples.read_samples(path)[-1]
    outputs = {name: np.roll(x, 1) for name, x in sample.outputs.items()}
    _samples.write_samples(copy, [dataclasses.replace(sample, outputs=outputs)])
    return copy


def assert_served(case: Case, path: Path, replayed: list[Any]) -> None:
    """Fails unless the export answers all its signatures as the model does."""
    expected = [[name, n, True] for n in BATCH_SIZES for name in case.answers]
    assert replayed == expected
    samples = _samples.read_samples(path)
    assert len(samples) == len(expected)
    for sample in samples:
        inputs = {name: _tensor(x) for name, x in sample.inputs.items()}
        # Traced for any number of rows: what TensorFlow fuses, and so the last digit,
        # depends on what it knows of the shapes.
        specs = {
            name: tf.TensorSpec([None, *x.shape[1:]], x.dtype, name)
            for name, x in inputs.items()
        }
        answer_of = tf.function(case.answers[sample.signature])
        answers = answer_of.get_concrete_function(**specs)(**inputs)
        assert set(answers) == set(sample.outputs)
        for name, answer in answers.items():
            np.testing.assert_array_equal(sample.outputs[name], answer.numpy())


def assert_stock(path: Path) -> None:
    """Fails if a graph has an op of Python or a part that XLA must compile."""
    saved = saved_model_pb2.SavedModel.FromString(
        (path / "saved_model.pb").read_bytes()
    )
    graph = saved.meta_graphs[0].graph_def
    functions = list(graph.library.function)
    nodes = [*graph.node, *(node for f in functions for node in f.node_def)]
    assert not [n.op for n in nodes if "PyFunc" in n.op or "Dataset" in n.op]
    assert not [p.name for p in nodes if p.attr["_XlaMustCompile"].b]
    assert not [f for f in functions if f.attr["_XlaMustCompile"].b]


def found(answer: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns what an index found by the names of the outputs."""
    return dict(zip(("scores", "ids"), answer, strict=True))


def _tensor(array: np.ndarray) -> tf.Tensor:
    if array.dtype == object:
        return tf.constant(array.tolist(), tf.string, array.shape)
    return tf.constant(array)
