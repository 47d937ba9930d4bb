"""Predict requests and responses as the JSON of TF Serving's REST API."""

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tests.serving.double.errors import ServingError, invalid

Inputs = Mapping[str, meta_graph_pb2.TensorInfo]


def parse(body: bytes) -> dict[str, Any]:
    """Returns the object at the start of a request's body."""
    # Bytes that are no UTF-8 go through, and so do words after the object.
    text = body.decode("utf-8", "surrogateescape").lstrip()
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {_words(value)} Is not object")
    return value


def request_tensors(
    request: Mapping[str, Any], inputs: Inputs
) -> tuple[dict[str, tensor_pb2.TensorProto], bool]:
    """Returns the tensors of a request, and whether it has a row for each example."""
    if "instances" in request and "inputs" in request:
        raise invalid("expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in request:
        return _from_rows(request["instances"], inputs), True
    if "inputs" in request:
        return _from_columns(request["inputs"], inputs), False
    raise invalid("Missing 'inputs' or 'instances' key")


def response_body(outputs: Mapping[str, tensor_pb2.TensorProto], rows: bool) -> bytes:
    """Returns the body of a response in the format of its request."""
    lists = {
        name: _values(tf.make_ndarray(proto), as_bytes=name.endswith("_bytes"))
        for name, proto in sorted(outputs.items())
    }
    if not rows:
        return _dump({"outputs": lists if len(lists) > 1 else _only(lists)})
    if not all(isinstance(values, list) for values in lists.values()):
        raise invalid("a tensor has no shape information")
    if len({len(values) for values in lists.values()}) > 1:
        raise invalid("a tensor has inconsistent batch size")
    if len(lists) == 1:
        return _dump({"predictions": _only(lists)})
    examples = zip(*lists.values(), strict=True)
    return _dump({"predictions": [dict(zip(lists, x, strict=True)) for x in examples]})


def error_body(message: str) -> bytes:
    """Returns the body of an error."""
    return _dump({"error": message})


def _from_rows(rows: Any, inputs: Inputs) -> dict[str, tensor_pb2.TensorProto]:
    if not isinstance(rows, list):
        raise invalid("Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid("No values in 'instances' array")
    if not _is_named(rows[0]):
        if len(inputs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple "
                "input tensors required as per tensorinfo_map"
            )
        if any(map(_is_named, rows)):
            raise invalid("Expecting value/list but got object")
        name = _only({name: name for name in inputs})
        return {name: _tensor(name, rows, inputs)}
    for position, row in enumerate(rows):
        if not _is_named(row):
            raise invalid(f"Expecting object but got list at item {position}")
        if set(row) != set(inputs):
            raise invalid(
                f"Failed to process element: {position} of 'instances' list. JSON "
                f"object: {_words(row)} keys must be equal to: {','.join(inputs)}"
            )
    return {name: _tensor(name, [row[name] for row in rows], inputs) for name in inputs}


def _from_columns(columns: Any, inputs: Inputs) -> dict[str, tensor_pb2.TensorProto]:
    if not _is_named(columns):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        columns = {name: columns for name in inputs}
    # Names that the signature does not have are passed over, as the server does.
    for name in inputs:
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(name, columns[name], inputs) for name in inputs}


def _tensor(name: str, value: Any, inputs: Inputs) -> tensor_pb2.TensorProto:
    dtype = tf.as_dtype(inputs[name].dtype)
    shape = _shape(value)
    leaves = list(_leaves(value, shape, dtype))
    array = np.array(leaves, dtype.as_numpy_dtype).reshape(shape)
    return tf.make_tensor_proto(array, dtype)


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    return (len(value), *(_shape(value[0]) if value else ()))


def _leaves(value: Any, shape: tuple[int, ...], dtype: tf.DType) -> Iterator[Any]:
    if not isinstance(value, list):
        if shape:
            raise invalid(f"JSON Value: {_words(value)} found at incorrect level")
        yield _leaf(value, dtype)
        return
    if not shape:
        raise invalid("Encountered list at unexpected level")
    if len(value) != shape[0]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} "
            f"expected size: {shape[0]}"
        )
    for item in value:
        yield from _leaves(item, shape[1:], dtype)


def _leaf(value: Any, dtype: tf.DType) -> Any:
    if dtype == tf.string and _is_base64(value):
        return _decode(value["b64"])
    if dtype == tf.string and isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype.is_floating and is_number:
        return value
    is_int = is_number and isinstance(value, int)
    if dtype in (tf.int32, tf.int64) and is_int and dtype.min <= value <= dtype.max:
        return value
    if dtype == tf.bool and isinstance(value, bool):
        return value
    if dtype not in (tf.string, tf.float32, tf.float64, tf.int32, tf.int64, tf.bool):
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED, f"Conversion of JSON Value to {dtype.name}"
        )
    raise invalid(f"JSON Value: {_words(value)} is not of expected type: {dtype.name}")


def _is_base64(value: Any) -> bool:
    return (
        isinstance(value, dict) and set(value) == {"b64"} and type(value["b64"]) is str
    )


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _values(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, np.ndarray) and value.ndim:
        return [_values(x, as_bytes) for x in value]
    if isinstance(value, np.ndarray):
        value = value[()]
    if isinstance(value, bytes):
        if as_bytes:
            return {"b64": base64.b64encode(value).decode()}
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, np.floating):
        # The shortest number that is this one in its own precision.
        return float(str(value)) if math.isfinite(value) else float(value)
    return value.item()


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _only(values: Mapping[str, Any]) -> Any:
    (value,) = values.values()
    return value


def _words(value: Any) -> str:
    return json.dumps(value)[:256]
