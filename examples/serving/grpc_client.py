r"""Asks a model in TF Serving over gRPC, and prints the answer as JSON.

    python examples/serving/grpc_client.py localhost:8500 movies --metadata
    python examples/serving/grpc_client.py localhost:8500 movies \
        '{"user_id": ["user_1", "never seen", {"b64": "/wA="}]}'

Needs `pip install tensorflow-serving-api`. In a program, open one channel with
`connect` and keep it: it is safe to share between threads.
"""

import argparse
import base64
import json
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

# A server that is short of threads, or about to be replaced, is asked again, within
# the deadline of the call. Bad requests are not: they fail every time.
RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.02s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}


def connect(target: str, max_answer_bytes: int = 64 * 2**20) -> grpc.Channel:
    """Returns a channel to a server.

    Args:
      target: Host and port, such as `localhost:8500`.
      max_answer_bytes: A larger answer is a RESOURCE_EXHAUSTED error. The default
        of gRPC is 4 MiB, which a large batch of long lists exceeds. Requests have
        no limit here, and one of 2 GiB at the server.
    """
    services = [{"service": "tensorflow.serving.PredictionService"}]
    config = {"methodConfig": [{"name": services, "retryPolicy": RETRY_POLICY}]}
    return grpc.insecure_channel(
        target,
        options=[
            ("grpc.service_config", json.dumps(config)),
            ("grpc.max_receive_message_length", max_answer_bytes),
        ],
    )


def predict(
    channel: grpc.Channel,
    model: str,
    inputs: Mapping[str, Any],
    signature: str = "serving_default",
    version: int | None = None,
    timeout: float = 1.0,
) -> dict[str, np.ndarray]:
    """Returns the outputs of a model by their names; strings are bytes.

    Args:
      channel: From `connect`.
      model: The name of the model.
      inputs: Arrays or nested lists, by the names of the inputs. The server does
        not convert dtypes: give int64 and float32 as NumPy arrays of that dtype.
        Strings may be any bytes.
      signature: The name of the signature.
      version: The version to ask; the latest one if None.
      timeout: Seconds until the call fails, retries included.

    Raises:
      grpc.RpcError: With `code()` INVALID_ARGUMENT if the inputs do not fit,
        NOT_FOUND for an unknown model or version, FAILED_PRECONDITION for an
        unknown signature, DEADLINE_EXCEEDED, or UNAVAILABLE.
    """
    request = predict_pb2.PredictRequest(
        model_spec=_model_spec(model, version, signature),
        inputs={name: tf.make_tensor_proto(x) for name, x in inputs.items()},
    )
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=timeout)
    return {name: tf.make_ndarray(x) for name, x in response.outputs.items()}


def signatures(
    channel: grpc.Channel, model: str, version: int | None = None, timeout: float = 1.0
) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Returns what a model can be asked, by the names of the signatures."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=_model_spec(model, version), metadata_field=["signature_def"]
    )
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.GetModelMetadata(request, timeout=timeout)
    found = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(found)
    # The loader's own; it takes no requests.
    return {
        name: x for name, x in found.signature_def.items() if not name.startswith("__")
    }


def arrays(
    inputs: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef
) -> dict[str, np.ndarray]:
    """Returns inputs as arrays of the dtypes that a signature asks for.

    Args:
      inputs: Nested lists as read from JSON, where bytes are `{"b64": "..."}`.
      signature: From `signatures`. Inputs that it does not have are kept, so that
        the server can say so.

    Raises:
      ValueError: If values are of the wrong kind, or lists of different lengths.
    """
    infos = dict(signature.inputs)
    return {
        name: _array(value, infos[name]) if name in infos else np.array(value)
        for name, value in inputs.items()
    }


def _array(value: Any, info: meta_graph_pb2.TensorInfo) -> np.ndarray:
    dtype = tf.as_dtype(info.dtype)
    if dtype == tf.string:
        array = np.vectorize(_bytes, otypes=[object])(np.array(value, object))
    else:
        array = np.array(value, dtype.as_numpy_dtype)
    if array.size == 0:
        # `[]` does not say how wide its rows would be.
        width = [max(dim.size, 0) for dim in info.tensor_shape.dim]
        array = array.reshape(array.shape + tuple(width[array.ndim :]))
    return array


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    raise ValueError(
        "Strings are text or {'b64': ...}, and lists beside each other are of one "
        f"length. Received: {value!r}"
    )


def _model_spec(
    model: str, version: int | None, signature: str = ""
) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    return spec


def _json(value: Any) -> Any:
    """Makes JSON of what JSON has no form for."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _describe(signature: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    def tensors(infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, str]:
        return {
            name: f"{tf.as_dtype(info.dtype).name} {tf.TensorShape(info.tensor_shape)}"
            for name, info in sorted(infos.items())
        }

    return {
        "inputs": tensors(signature.inputs),
        "outputs": tensors(signature.outputs),
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", help="host and port, such as localhost:8500")
    parser.add_argument("model", help="name of the model")
    parser.add_argument("inputs", nargs="?", type=json.loads, help="inputs as JSON")
    parser.add_argument("--metadata", action="store_true", help="print the signatures")
    parser.add_argument("--signature", default="serving_default")
    parser.add_argument("--version", type=int, help="the latest by default")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds")
    args = parser.parse_args(words)
    if (args.inputs is None) != args.metadata:
        parser.error("give either inputs or --metadata")

    with connect(args.target) as channel:
        known = signatures(channel, args.model, args.version, args.timeout)
        if args.metadata:
            answer = {name: _describe(known[name]) for name in sorted(known)}
        else:
            if args.signature not in known:
                parser.error(f"--signature is one of {sorted(known)}")
            answer = predict(
                channel,
                args.model,
                arrays(args.inputs, known[args.signature]),
                args.signature,
                args.version,
                args.timeout,
            )
    print(json.dumps(answer, default=_json))


if __name__ == "__main__":
    main()
