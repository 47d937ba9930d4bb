"""Requests and answers as the C program reads and writes them: see `serve.c`."""

import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf


class RequestError(ValueError):
    """A request that the program refused, or in which the model failed.

    Attributes:
      code: The number of TensorFlow's error, as in `tf.errors`.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answer:
    """The bytes of an answer, read from the front.

    Args:
      frame: The answer without its size.

    Raises:
      RequestError: If the answer is an error.
    """

    def __init__(self, frame: bytes) -> None:
        self._frame = memoryview(frame)
        code, size = self.take("II")
        message = self._take_bytes(size)
        if code != 0:
            raise RequestError(code, message.decode(errors="replace"))

    def take(self, layout: str) -> tuple[int, ...]:
        """Returns the next numbers, by a layout of `struct`."""
        return struct.unpack(
            f"={layout}", self._take_bytes(struct.calcsize("=" + layout))
        )

    def tensors(self) -> list[np.ndarray]:
        """Returns the outputs that follow."""
        (count,) = self.take("I")
        return [self._tensor() for _ in range(count)]

    def _tensor(self) -> np.ndarray:
        dtype, rank = self.take("II")
        shape = self.take(f"{rank}q")
        (size,) = self.take("Q")
        if dtype == tf.string.as_datatype_enum:
            # Filled one by one: numpy would cut the zeros off the end of bytes.
            strings = np.empty(math.prod(shape), object)
            for i in range(len(strings)):
                strings[i] = self._take_bytes(*self.take("Q"))
            return strings.reshape(shape)
        numbers = np.frombuffer(
            self._take_bytes(size), tf.as_dtype(dtype).as_numpy_dtype
        )
        return numbers.reshape(shape)

    def _take_bytes(self, size: int) -> bytes:
        taken, self._frame = self._frame[:size], self._frame[size:]
        return bytes(taken)


def request(
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    repeats: int = 0,
    warm_up: int = 0,
) -> bytes:
    """Returns a request without its size.

    Args:
      inputs: Arrays by the names of the graph's tensors.
      outputs: Names of the graph's tensors to return.
      repeats: How many runs to measure in place of an answer; 0 is an answer.
      warm_up: How many runs go before those that are measured.
    """
    parts = [struct.pack("=3I", repeats, warm_up, len(inputs))]
    for name, array in inputs.items():
        parts += [_text(name), _tensor(array)]
    parts.append(struct.pack("=I", len(outputs)))
    parts += map(_text, outputs)
    return b"".join(parts)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("=I", len(encoded)) + encoded


def _tensor(array: np.ndarray) -> bytes:
    if array.dtype.kind in "OSU":
        dtype, data = tf.string, b"".join(map(_string, array.ravel()))
    else:
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        dtype, data = tf.as_dtype(array.dtype), array.tobytes()
    head = struct.pack("=2I", dtype.as_datatype_enum, array.ndim)
    shape = struct.pack(f"={array.ndim}qQ", *array.shape, len(data))
    return head + shape + data


def _string(value: bytes | str) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return struct.pack("=Q", len(encoded)) + encoded
