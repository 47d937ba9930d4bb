"""Bad requests are refused with the codes of TF Serving, and the server goes on."""

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.running_double import TIMEOUT
from tests.serving.small_index import request

PATIENT = f"--timeout={TIMEOUT}"


def bad_requests():
    """Returns requests that TF Serving refuses, and the code it gives."""
    invalid = grpc.StatusCode.INVALID_ARGUMENT

    def changed(**inputs):
        result = request(["user_1", "user_2"])
        for name, value in inputs.items():
            result.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return result

    def with_profile(value):
        result = changed(profile=value)
        result.model_spec.signature_name = "embeddings"
        return result

    other_model = changed()
    other_model.model_spec.name = "songs"
    other_version = changed()
    other_version.model_spec.version.value = 7
    label = changed()
    label.model_spec.version_label = "stable"
    no_model = changed()
    no_model.model_spec.Clear()
    missing = changed()
    missing.inputs.clear()
    renamed = changed(user=["user_1"])
    del renamed.inputs["user_id"]
    broken = with_profile(np.ones([2, 2], np.float32))
    broken.inputs["profile"].tensor_content = b"123"
    unknown_output = changed()
    unknown_output.output_filter.append("titles")
    nan = np.array([[0, np.nan], [0, 1]], np.float32)
    return {
        "unknown model": (other_model, grpc.StatusCode.NOT_FOUND),
        "unknown version": (other_version, grpc.StatusCode.NOT_FOUND),
        "unknown signature": (
            request(["user_1"], "titles"),
            grpc.StatusCode.FAILED_PRECONDITION,
        ),
        "unknown label": (label, invalid),
        "unknown output": (unknown_output, invalid),
        "no model": (no_model, invalid),
        "missing input": (missing, invalid),
        "missing input of two": (request(["user_1"], "with_exclusions"), invalid),
        "extra input": (changed(profile=[[1.0, 2.0]]), invalid),
        "input of another name": (renamed, invalid),
        "wrong dtype": (changed(user_id=[1, 2]), invalid),
        "wrong precision": (with_profile(np.ones([2, 2], np.float64)), invalid),
        "wrong rank": (with_profile([1.0, 2.0]), invalid),
        "scalar": (changed(user_id="user_1"), invalid),
        "batches that differ": (with_profile([[1.0, 2.0]]), invalid),
        "NaN": (with_profile(nan), invalid),
        "broken tensor": (broken, invalid),
    }


BAD_BODIES = {
    "no JSON": b"{'inputs'",
    "no bytes": b"",
    "endless list": b'{"inputs": ' + b"[" * 100_000,
    "half a character": b'{"inputs": ["\\ud800"]}',
    "deep list": b'{"inputs": ' + b"[" * 500 + b"]" * 500 + b"}",
    "list": [1],
    "nothing asked": {},
    "both formats": {"inputs": ["a"], "instances": ["a"]},
    "no rows": {"instances": []},
    "rows of two kinds": {"instances": [{"user_id": "a"}, "b"]},
    "row of another name": {"instances": [{"user": "a"}]},
    "column of another name": {"inputs": {"user": ["a"]}},
    "wrong dtype": {"inputs": {"user_id": ["a", 1]}},
    "ragged": {"inputs": {"user_id": [["a"], ["a", "b"]]}},
    "list and value": {"inputs": {"user_id": ["a", ["b"]]}},
    "no base64": {"inputs": {"user_id": [{"b64": "?"}]}},
    "unknown signature": {"signature_name": "titles", "inputs": ["a"]},
    "list for two inputs": {"signature_name": "embeddings", "inputs": ["a"]},
    "NaN": {
        "signature_name": "embeddings",
        "inputs": {"user_id": ["a"], "profile": [[float("nan"), 1]]},
    },
    "wrong rank": {
        "signature_name": "embeddings",
        "inputs": {"user_id": ["a"], "profile": [1.0, 2.0]},
    },
}


@pytest.mark.parametrize("kind", bad_requests())
def test_over_grpc(channel, kind):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    bad, code = bad_requests()[kind]
    with pytest.raises(grpc.RpcError) as error:
        stub.Predict(bad, timeout=TIMEOUT)
    assert error.value.code() == code
    assert error.value.details()
    assert stub.Predict(request(["user_1"]), timeout=TIMEOUT).outputs["ids"].ByteSize()


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_over_rest(server, ask_rest, kind):
    response = server.post(BAD_BODIES[kind])
    assert response.status_code == 400
    assert response.json()["error"]
    assert ask_rest({"user_id": ["user_1"]})["ids"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/songs:predict", 404),
        ("/v1/models/movies/versions/7:predict", 404),
        ("/v1/models/movies/versions/one:predict", 400),
        ("/v1/models/movies", 400),
        ("/", 404),
    ],
)
def test_paths(server, path, status):
    assert server.post({"inputs": ["a"]}, path).status_code == status


def test_calls_that_are_not_about_predict(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as error:
        stub.Classify(classification_pb2.ClassificationRequest())
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_clients_say_what_is_wrong(client, rest, channel, server, capsys):
    with pytest.raises(requests.HTTPError, match=r"404.*Servable not found"):
        rest.predict(
            rest.connect(), server.url, "songs", {"user_id": ["a"]}, timeout=TIMEOUT
        )
    with pytest.raises(SystemExit):
        client.main([server.target, "movies", "{}", "--signature=titles", PATIENT])
    assert "'embeddings', 'serving_default'" in capsys.readouterr().err
    inputs = client.arrays(
        {"user": ["a"]},
        client.signatures(channel, "movies", timeout=TIMEOUT)["embeddings"],
    )
    inputs["user_id"] = np.array(["a"])
    with pytest.raises(grpc.RpcError, match=r"Sent extra: \['user'\]"):
        client.predict(channel, "movies", inputs, timeout=TIMEOUT)
