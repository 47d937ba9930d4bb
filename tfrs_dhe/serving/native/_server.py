"""A process of the C program that serves an export."""

import contextlib
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow as tf

from tfrs_dhe.serving.native import _protocol
from tfrs_dhe.serving.native._build import build
from tfrs_dhe.serving.native._signatures import Signature, read_signatures

#: How much of what a process wrote before it ended an error shows.
_NUM_LOG_CHARACTERS = 2000


class Latency(NamedTuple):
    """Seconds that a model needs for a request, without Python and network.

    Attributes:
      p50: The median: half of the runs took no longer.
      min: The fastest run, which a busy machine disturbs least.
    """

    p50: float
    min: float


class Server:
    """Serves an export by the C program, in a process of its own.

    Use it in a `with` statement, or `close` it. It answers one request at a time,
    and is not for use by several threads at once. A request that fails raises an
    error, and the next one is answered. One that is interrupted, as by Ctrl-C, ends
    the process.

    Example:
    >>> import tempfile
    >>> class Length(tf.Module):
    ...     @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "id")])
    ...     def serve(self, id):
    ...         return {"length": tf.strings.length(id)}
    >>> version_path = tempfile.mkdtemp()
    >>> tf.saved_model.save(Length(), version_path)
    >>> with Server(version_path) as server:
    ...     server.predict("serving_default", {"id": ["user_17", ""]})["length"]
    array([7, 0], dtype=int32)

    Args:
      version_path: The version's directory.
      program: The program, where it has been built before; by default, `build()`.

    Attributes:
      signatures: The export's signatures by their names.
      process: The process that serves.

    Raises:
      ValueError: If the directory has no SavedModel to be served.
      RequestError: If TensorFlow cannot load it; the message is TensorFlow's.
      RuntimeError: If the program cannot be built, or ends.
    """

    def __init__(
        self, version_path: Path | str, program: Path | str | None = None
    ) -> None:
        self.signatures = read_signatures(version_path)
        command = [str(program or build()), str(version_path)]
        # A file: a pipe that nobody reads would in the end block the process.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self._answers = self.process.stdin, self.process.stdout
        try:
            self._answer(self._frame())  # Whether the export was loaded.
        except BaseException:
            self.close()
            raise

    def predict(
        self, signature: str, inputs: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature by their names.

        Args:
          signature: The signature's name.
          inputs: Arrays or lists by the names of the inputs. A list becomes an array
            of the input's dtype; an array is sent as it is. Strings are bytes or
            text. An input that is left out is the program's to miss.

        Returns:
          Arrays; strings are arrays of bytes.

        Raises:
          ValueError: If the signature has not this name or input, or a list does
            not fit the dtype.
          RequestError: If the program refuses the request or the model fails.
          RuntimeError: If the process ended.
        """
        names = self._signature(signature).outputs
        answer = self._request(signature, inputs)
        return dict(zip(names, answer.tensors(), strict=True))

    def time(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        repeats: int,
        warm_up: int = 3,
    ) -> Latency:
        """Measures how long the model needs for a request.

        Args:
          signature: The signature's name.
          inputs: As in `predict`.
          repeats: How many runs are measured, at least 1.
          warm_up: How many runs go before them.

        Returns:
          The median and the minimum, in seconds.

        Raises:
          ValueError: As `predict`, and if `repeats` or `warm_up` is out of range.
          RequestError: As `predict`.
          RuntimeError: As `predict`.
        """
        if repeats < 1 or warm_up < 0:
            raise ValueError(
                "`repeats` must be at least 1, and `warm_up` at least 0. Received: "
                f"repeats={repeats}, warm_up={warm_up}."
            )
        answer = self._request(signature, inputs, repeats, warm_up)
        p50, fastest = answer.take("2q")
        return Latency(p50 / 1e9, fastest / 1e9)

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        # A request that the process has not read is lost with it.
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()
        self.process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _signature(self, name: str) -> Signature:
        if name not in self.signatures:
            raise ValueError(
                f"`signature` must be one of {sorted(self.signatures)}. Received: "
                f"{name!r}."
            )
        return self.signatures[name]

    def _request(
        self, name: str, inputs: Mapping[str, Any], repeats: int = 0, warm_up: int = 0
    ) -> _protocol.Answer:
        """Sends a request and returns the answer."""
        signature = self._signature(name)
        unknown = sorted(set(inputs) - set(signature.inputs))
        if unknown:
            raise ValueError(
                f"`inputs` of {name!r} may be {sorted(signature.inputs)}. Received: "
                f"{unknown}."
            )
        arrays = {
            signature.inputs[key]: _array(key, value, signature.dtypes[key])
            for key, value in inputs.items()
        }
        outputs = list(signature.outputs.values())
        return self._exchange(_protocol.request(arrays, outputs, repeats, warm_up))

    def _exchange(self, request: bytes) -> _protocol.Answer:
        if self._requests.closed:
            raise RuntimeError(
                "The server is closed, by `close` or by an interrupted request. Make "
                "another one."
            )
        try:
            self._requests.write(struct.pack("=Q", len(request)))
            self._requests.write(request)
            self._requests.flush()
            frame = self._frame()
        except BrokenPipeError as error:
            raise self._ended() from error
        except BaseException:
            # Such as KeyboardInterrupt: the answer is still to come, and would be taken
            # for that to the next request.
            self.close()
            raise
        return self._answer(frame)

    def _frame(self) -> bytes:
        """Returns the bytes of the next answer, none if the process ended before."""
        head = self._answers.read(8)
        if len(head) < 8:
            return b""
        (size,) = struct.unpack("=Q", head)
        frame = self._answers.read(size)
        return frame if len(frame) == size else b""

    def _answer(self, frame: bytes) -> _protocol.Answer:
        if not frame:
            raise self._ended()
        return _protocol.Answer(frame)

    def _ended(self) -> RuntimeError:
        """Returns the error that says how the process ended."""
        code = self.process.wait()
        self._log.seek(0)
        log = self._log.read().decode(errors="replace")[-_NUM_LOG_CHARACTERS:]
        return RuntimeError(f"The server ended with code {code}. It wrote:\n{log}")


def _array(name: str, value: Any, dtype: tf.DType) -> np.ndarray:
    """Returns an array as it is, and something else with the dtype."""
    # An array of objects has no dtype of its own.
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value
    if tf.is_tensor(value):
        return np.asarray(value)
    try:
        return tf.make_ndarray(tf.make_tensor_proto(value, dtype))
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"`inputs[{name!r}]` must be of dtype {dtype.name}. Received: "
            f"{value!r:.80}."
        ) from error
