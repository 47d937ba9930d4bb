"""Whether stock TF Serving will load a version and answer from it."""

import dataclasses
import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path

from tfrs_dhe.serving._verification.answers import TOLERANCE
from tfrs_dhe.serving._verification.files import (
    asset_problems,
    variable_file_problems,
)
from tfrs_dhe.serving._verification.graph import Graph
from tfrs_dhe.serving._verification.ops import needed_ops, op_problems
from tfrs_dhe.serving._verification.recorded_requests import (
    WARMUP_PATH,
    sample_requests,
    warmup_requests,
)
from tfrs_dhe.serving._verification.registry import registry
from tfrs_dhe.serving._verification.replay import Replay, replay
from tfrs_dhe.serving._verification.resources import read_resources, resource_problems
from tfrs_dhe.serving._verification.saved_model import SavedModel, read_saved_model
from tfrs_dhe.serving._verification.signatures import signature_problems


class VerificationError(ValueError):
    """A version that would fail in TF Serving.

    Attributes:
      version_path: The version's directory.
      problems: A sentence for each thing that is wrong.
    """

    def __init__(self, version_path: Path, problems: Sequence[str]):
        self.version_path = version_path
        self.problems = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{version_path} has {count}:\n{listed}")


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was found sound in a version.

    Attributes:
      version_path: The version's directory.
      signatures: The names of the signatures.
      num_ops: How many kinds of ops the signatures need.
      num_resources: How many variables and tables they read.
      num_samples: How many recorded samples were answered as recorded; None if
        nothing was run.
      num_warmup_records: How many warmup records were answered; None if nothing was
        run or they could not be read.
      load_seconds: How long loading took, None if nothing was run.
      first_seconds: How long the first request took, None if there was none.
      median_seconds: The median of the requests after it, None if there were none.
      seconds: How long the verification took.
      notes: What could not be checked, and why.
    """

    version_path: Path
    signatures: tuple[str, ...]
    num_ops: int
    num_resources: int
    num_samples: int | None
    num_warmup_records: int | None
    load_seconds: float | None
    first_seconds: float | None
    median_seconds: float | None
    seconds: float
    notes: tuple[str, ...]

    def __str__(self) -> str:
        rows = [
            ("signatures", ", ".join(self.signatures)),
            ("ops", f"{self.num_ops} kinds, all with CPU kernels"),
            ("resources", f"{self.num_resources} read, all filled"),
            ("samples", _count(self.num_samples, "answered as recorded")),
            ("warmup records", _count(self.num_warmup_records, "answered")),
            ("loading", _time(self.load_seconds)),
            ("first request", _time(self.first_seconds)),
            ("other requests", _time(self.median_seconds, " (median)")),
            *(("note", note) for note in self.notes),
        ]
        table = "\n".join(f"  {name:<16}{value}" for name, value in rows)
        return f"{self.version_path} is sound ({self.seconds:.1f} s).\n{table}"


def verify(
    version_path: Path | str,
    *,
    dynamic: bool = True,
    timeout: float = 600.0,
    tolerance: float = TOLERANCE,
) -> Verification:
    """Checks that stock TF Serving will load a version and answer from it.

    That `tf.saved_model.load` works in Python proves little: it puts Python's
    objects together again, in a process that has kernels which a server lacks. So
    this reads the graph as a server does, and then, in a fresh process that cannot
    import Keras, TFRS or this package, loads it by the v1 Session loader, answers the
    warmup records and the recorded samples, and compares the answers.

    The graph is checked for: ops that are not registered or have no CPU kernel
    without Python, XLA's `jit_compile`, variables and tables that are read and never
    filled, missing or damaged files of variables and assets, files outside of the
    directory, and signatures that are not for batches of any size. Ops of libraries
    that a server may have besides TensorFlow, such as TensorFlow Text, count as not
    registered.

    Everything runs on the CPU. Where the samples were recorded on a GPU (the manifest
    of an export says so), answers differ by more than a millionth of the largest, and
    the `tolerance` has to be the GPU's, 1e-3 with TensorFloat-32.

    ```
    >>> import tempfile
    >>> class Double(tf.Module):
    ...     @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    ...     def serve(self, x):
    ...         return {"scores": 2 * x}
    >>> module = Double()
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = f"{folder.name}/1"
    >>> tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
    >>> verify(path, dynamic=False).signatures
    ('serving_default',)
    >>> folder.cleanup()

    ```

    Args:
      version_path: The version's directory, which has `saved_model.pb` in it.
      dynamic: Whether to load and run it as well. Without samples and warmup records
        beside the model it is only loaded.
      timeout: After so many seconds the process that runs it is killed, which counts
        as a problem.
      tolerance: How far floats may be from the recorded ones, relative to the
        largest of their output. Integers and strings have to be equal.

    Returns:
      What was checked, which prints as a table.

    Raises:
      VerificationError: If a server would fail; it lists everything found.
    """
    start = time.perf_counter()
    path = Path(version_path)
    try:
        model = read_saved_model(path)
    except ValueError as error:
        raise VerificationError(path, [str(error)]) from None
    kernels = registry()
    graph = Graph(model.meta_graph.graph_def, kernels.handle_ops)
    problems = [
        *signature_problems(model),
        *op_problems(model, graph, kernels),
        *resource_problems(model, graph),
        *variable_file_problems(model, graph),
        *asset_problems(model, graph, kernels),
    ]
    samples, wrong_samples = sample_requests(model)
    warmup, wrong_records, notes = _warmup(model)
    problems += [*wrong_samples, *wrong_records]
    notes += [
        f"the variables of function {name} could not be traced; only running tells "
        "whether they are filled"
        for name in graph.untraced
    ]
    run = Replay((), None, None, None)
    if dynamic:
        run = replay(path, [*(warmup or ()), *samples], timeout, tolerance)
        problems += run.problems
        if not samples and not warmup:
            notes.append("no samples and no warmup records: nothing was asked")
    if problems:
        raise VerificationError(path, problems)
    return Verification(
        path,
        tuple(model.signatures),
        len(needed_ops(model, graph)),
        len(read_resources(model, graph)),
        len(samples) if dynamic else None,
        len(warmup) if dynamic and warmup is not None else None,
        run.load_seconds,
        run.first_seconds,
        run.median_seconds,
        time.perf_counter() - start,
        tuple(notes),
    )


def _warmup(model: SavedModel) -> tuple[list | None, list[str], list[str]]:
    """Returns the warmup requests, what is wrong with them and what to note."""
    if not (model.path / WARMUP_PATH).exists():
        return [], [], []
    if importlib.util.find_spec("tensorflow_serving") is None:
        note = (
            f"{WARMUP_PATH} was not replayed: TF Serving's protos are not installed "
            "(`pip install 'tfrs-dhe[serving]'`)"
        )
        return None, [], [note]
    requests, problems = warmup_requests(model)
    return requests, problems, []


def _count(count: int | None, what: str) -> str:
    return "not run" if count is None else f"{count} {what}" if count else "none"


def _time(seconds: float | None, suffix: str = "") -> str:
    return "not run" if seconds is None else f"{seconds * 1e3:.2f} ms{suffix}"
