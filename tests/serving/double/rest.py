"""TF Serving's REST API."""

import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import grpc
from google import protobuf
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from tests.serving.double import json_tensors
from tests.serving.double.errors import HTTP_STATUS, ServingError, invalid
from tests.serving.double.services import Model

PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", re.I)
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?", re.I)
# Protobuf 4, which TensorFlow has before 2.18, calls it otherwise.
FIELDS_WITHOUT_VALUES = (
    "always_print_fields_with_no_presence"
    if int(protobuf.__version__.split(".")[0]) > 4
    else "including_default_value_fields"
)


def rest_server(model: Model, port: int) -> ThreadingHTTPServer:
    """Returns a server that answers for a model once it is started."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(lambda path: predict(model, path, body))

        def do_GET(self) -> None:
            self._answer(lambda path: describe(model, path))

        def _answer(self, answer: Callable[[str], bytes]) -> None:
            path = urlsplit(self.path).path
            status = 200
            try:
                body = answer(path)
            except ServingError as error:
                body = json_tensors.error_body(error.message)
                status = HTTP_STATUS.get(error.code, 500)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def predict(model: Model, path: str, body: bytes) -> bytes:
    """Answers `POST /v1/models/NAME[/versions/VERSION]:predict`."""
    spec, _ = _model_spec(PREDICT, "POST", path)
    request = json_tensors.parse(body)
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    spec.signature_name = name
    _, servable = model.servable(spec)
    signature = servable.signatures.get(name or "serving_default")
    if signature is None:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    try:
        inputs, rows = json_tensors.request_tensors(request, signature.inputs)
    except (RecursionError, ValueError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    response = model.predict(predict_pb2.PredictRequest(model_spec=spec, inputs=inputs))
    return json_tensors.response_body(response.outputs, rows)


def describe(model: Model, path: str) -> bytes:
    """Answers `GET /v1/models/NAME[/versions/VERSION][/metadata]`."""
    spec, metadata = _model_spec(STATUS, "GET", path)
    if not metadata:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return _json(model.status(request)).encode()
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    response = model.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    words = f'"model_spec": {_json(response.model_spec)}'
    return f'{{{words}, "metadata": {{"signature_def": {_json(signatures)}}}}}'.encode()


def _model_spec(
    pattern: re.Pattern[str], method: str, path: str
) -> tuple[model_pb2.ModelSpec, str | None]:
    match = pattern.fullmatch(path)
    if match is None:
        if re.match(r"/v1/", path, re.I):
            raise invalid(f"Malformed request: {method} {path}")
        raise ServingError(grpc.StatusCode.NOT_FOUND, "Not Found")
    name, version, *rest = match.groups()
    spec = model_pb2.ModelSpec(name=unquote(name))
    if version is not None:
        if int(version) >= 2**63:
            raise invalid(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    return spec, rest[0] if rest else None


def _json(message: Message) -> str:
    return MessageToJson(
        message, preserving_proto_field_name=True, **{FIELDS_WITHOUT_VALUES: True}
    )
