"""Errors with the code that a caller gets."""

import contextlib
from collections.abc import Iterator

import grpc
import tensorflow as tf

CODES = {code.value[0]: code for code in grpc.StatusCode}

HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class ServingError(Exception):
    """What a request or a load ended with."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


@contextlib.contextmanager
def tensorflow_errors() -> Iterator[None]:
    """Keeps the code of an error that TensorFlow raises."""
    try:
        yield
    except tf.errors.OpError as error:
        raise ServingError(CODES[error.error_code], error.message) from error
