"""The gRPC services, as functions of requests; REST answers through them too."""

import contextlib
from collections.abc import Iterator

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.double.errors import ServingError, invalid, not_found
from tests.serving.double.servable import Servable
from tests.serving.double.versions import Versions

# Errors travel in headers, which are short.
MAX_ERROR_LENGTH = 1024


class Model:
    """What can be asked of the model that is served."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def servable(self, spec: model_pb2.ModelSpec) -> tuple[int, Servable]:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        if spec.HasField("version_label"):
            raise invalid("Unrecognized servable version label: " + spec.version_label)
        version = spec.version.value if spec.HasField("version") else None
        return self._versions.get(spec.name, version)

    def predict(
        self, request: predict_pb2.PredictRequest
    ) -> predict_pb2.PredictResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        version, servable = self.servable(request.model_spec)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = (
            request.model_spec.signature_name or "serving_default"
        )
        for name, tensor in servable.predict(request).items():
            response.outputs[name].CopyFrom(tensor)
        return response

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        if not request.metadata_field:
            raise invalid(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        version, servable = self.servable(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        spec = request.model_spec
        states = self._versions.states() if spec.name == self._versions.name else {}
        if spec.HasField("version"):
            version = spec.version.value
            if version not in states:
                raise not_found(
                    f"Could not find version {version} of model {spec.name}"
                )
            states = {version: states[version]}
        if not states:
            raise not_found(f"Could not find any versions of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state in sorted(states.items(), reverse=True):
            item = response.model_version_status.add(version=version, state=state.state)
            item.status.error_code = state.code.value[0]
            item.status.error_message = state.message
        return response


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the others are unimplemented in the base."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        with _errors_of(context):
            return self._model.predict(request)

    def GetModelMetadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        with _errors_of(context):
            return self._model.metadata(request)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def GetModelStatus(
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.ServicerContext,
    ) -> get_model_status_pb2.GetModelStatusResponse:
        with _errors_of(context):
            return self._model.status(request)


@contextlib.contextmanager
def _errors_of(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except ServingError as error:
        message = error.message
        if len(message) > MAX_ERROR_LENGTH:
            message = message[:MAX_ERROR_LENGTH] + "...TRUNCATED"
        context.abort(error.code, message)
