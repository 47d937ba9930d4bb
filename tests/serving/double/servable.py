"""One version of a model, loaded and run as TF Serving does."""

from collections.abc import Mapping
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tests.serving.double.errors import ServingError, invalid, tensorflow_errors

WARMUP_PATH = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000


class Servable:
    """A SavedModel in a session of its own.

    Args:
      path: The version's directory.

    Raises:
      ServingError: If it cannot be loaded, or a warmup record fails.
    """

    def __init__(self, path: Path) -> None:
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph)
        try:
            with tensorflow_errors(), self._graph.as_default():
                meta_graph = tf.compat.v1.saved_model.loader.load(
                    self._session, [tf.saved_model.SERVING], str(path)
                )
        except OSError as error:
            raise ServingError(grpc.StatusCode.NOT_FOUND, str(error)) from error
        except ValueError as error:
            raise invalid(str(error)) from error
        self.signatures: Mapping[str, meta_graph_pb2.SignatureDef] = dict(
            meta_graph.signature_def
        )
        self._warm_up(path / WARMUP_PATH)

    def predict(
        self, request: predict_pb2.PredictRequest
    ) -> dict[str, tensor_pb2.TensorProto]:
        """Returns the outputs of a request by their names."""
        name = request.model_spec.signature_name or "serving_default"
        if name not in self.signatures:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.',
            )
        signature = self.signatures[name]
        feeds = _feeds(signature, request.inputs)
        outputs = _chosen_outputs(signature, list(request.output_filter))
        values = self._run(feeds, [signature.outputs[x].name for x in outputs])
        return {
            output: tf.make_tensor_proto(value)
            for output, value in zip(outputs, values, strict=True)
        }

    def _run(
        self, feeds: Mapping[str, np.ndarray], fetches: list[str]
    ) -> list[np.ndarray]:
        def endpoint(name: str) -> object:
            return self._graph.get_tensor_by_name(name)._as_tf_output()

        # `Session.run` checks shapes and converts dtypes before the runtime sees
        # them. The server does neither, so nor does this.
        with tensorflow_errors():
            return self._session._call_tf_sessionrun(
                None,
                {endpoint(name): value for name, value in feeds.items()},
                [endpoint(name) for name in fetches],
                [],
                None,
            )

    def _warm_up(self, path: Path) -> None:
        if not path.exists():
            return
        with tensorflow_errors():
            records = [x.numpy() for x in tf.data.TFRecordDataset(str(path))]
        if len(records) > MAX_WARMUP_RECORDS:
            raise invalid(
                f"Number of warmup records exceeds the maximum "
                f"({MAX_WARMUP_RECORDS}) at {path}"
            )
        for record in records:
            try:
                log = prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError as error:
                raise invalid(f"Failed to parse warmup record from {path}") from error
            if log.WhichOneof("log_type") != "predict_log":
                raise ServingError(
                    grpc.StatusCode.UNIMPLEMENTED,
                    f"Unsupported log_type for warmup: {log.WhichOneof('log_type')}",
                )
            self.predict(log.predict_log.request)


def _feeds(
    signature: meta_graph_pb2.SignatureDef,
    inputs: Mapping[str, tensor_pb2.TensorProto],
) -> dict[str, np.ndarray]:
    missing = sorted(set(signature.inputs) - set(inputs))
    extra = sorted(set(inputs) - set(signature.inputs))
    if len(inputs) != len(signature.inputs):
        raise invalid(
            f"input size does not match signature: {len(inputs)}!="
            f"{len(signature.inputs)}. Sent extra: {extra}. "
            f"Missing but required: {missing}."
        )
    if missing:
        raise invalid(f"Signature input alias: {missing[0]} not found in request")
    return {
        info.name: _array(alias, inputs[alias])
        for alias, info in signature.inputs.items()
    }


def _array(alias: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, KeyError) as error:
        raise invalid(f"tensor parsing error: {alias}") from error


def _chosen_outputs(
    signature: meta_graph_pb2.SignatureDef, chosen: list[str]
) -> list[str]:
    for name in chosen:
        if name not in signature.outputs:
            raise invalid(f"output tensor alias not found in signature: {name}")
        if chosen.count(name) > 1:
            raise invalid(f"duplicate output tensor alias: {name}")
    return chosen or sorted(signature.outputs)
