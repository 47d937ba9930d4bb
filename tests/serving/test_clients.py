"""The example clients get what the model answers in Python, and every error."""

import json
import re
import shutil
import subprocess

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tests.processes import ROOT
from tests.serving.running_double import running_double
from tests.serving.small_index import BINARY_ITEM, publish, request

# Long enough for a busy machine; nothing here is about time.
TIMEOUT = 60
PATIENT = f"--timeout={TIMEOUT}"
USERS = [b"user_1", b"never seen", b"\xff\x00\xfe", "ü".encode(), b""]


@pytest.fixture(scope="module")
def server(saved, tmp_path_factory):
    base_path = tmp_path_factory.mktemp("served") / "movies"
    base_path.mkdir()
    publish(saved[1], base_path, 1, warmup=[request(["user_1"])])
    with running_double(base_path) as server:
        yield server


@pytest.fixture(scope="module")
def client(load_client):
    return load_client("grpc_client")


@pytest.fixture(scope="module")
def rest(load_client):
    return load_client("rest_client")


@pytest.fixture(scope="module")
def channel(client, server):
    with client.connect(server.target) as channel:
        yield channel


@pytest.fixture(scope="module")
def ask_grpc(client, channel):
    """Returns a function that asks the model over gRPC."""

    def predict(inputs, signature="serving_default"):
        return client.predict(channel, "movies", inputs, signature, timeout=TIMEOUT)

    return predict


@pytest.fixture(scope="module")
def ask_rest(rest, server):
    """Returns a function that asks the model over REST."""
    session = rest.connect()

    def predict(inputs, signature="serving_default"):
        return rest.predict(
            session, server.url, "movies", inputs, signature, timeout=TIMEOUT
        )

    return predict


def post(server, body, path="/v1/models/movies:predict"):
    data = body if isinstance(body, bytes) else json.dumps(body)
    return requests.post(server.url + path, data=data, timeout=TIMEOUT)


def assert_equal(answer, expected):
    assert set(answer) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(answer[name], tensor.numpy(), strict=True)


def as_text(tensors):
    """Returns what JSON makes of outputs."""
    return {
        name: np.vectorize(bytes.decode)(x) if x.dtype == tf.string else x.numpy()
        for name, x in tensors.items()
    }


class TestPredict:
    @pytest.mark.parametrize("size", [1, 5, 0])
    def test_over_grpc(self, ask_grpc, index, size):
        users = np.array(USERS[:size], object)
        answer = ask_grpc({"user_id": users})
        assert_equal(answer, index.top_k(tf.constant(users, tf.string)))

    def test_over_rest(self, ask_rest, index):
        answer = ask_rest({"user_id": USERS})
        expected = as_text(index.top_k(tf.constant(USERS)))
        assert answer["ids"] == expected["ids"].tolist()
        np.testing.assert_array_equal(
            np.array(answer["scores"], np.float32), expected["scores"]
        )

    def test_rows_are_the_columns(self, server, ask_rest):
        body = {"instances": [{"user_id": "user_1"}, {"user_id": {"b64": "/wD+"}}]}
        plain = {"instances": ["user_1", {"b64": "/wD+"}]}
        columns = ask_rest({"user_id": [b"user_1", b"\xff\x00\xfe"]})
        rows = [
            {"ids": ids, "scores": scores}
            for ids, scores in zip(columns["ids"], columns["scores"], strict=True)
        ]
        assert post(server, body).json() == {"predictions": rows}
        assert post(server, plain).json() == {"predictions": rows}
        assert post(server, {"inputs": plain["instances"]}).json()["outputs"] == columns

    def test_exclusions_are_not_shown(self, ask_grpc, ask_rest, index):
        users = USERS[:2]
        first = index.top_k(tf.constant(users))["ids"].numpy()
        inputs = {"user_id": users, "exclusions": first[:, :2]}
        expected = index.top_k_with_exclusions(**inputs)
        answer = ask_grpc(inputs, "with_exclusions")
        assert_equal(answer, expected)
        assert answer["ids"][:, 0].tolist() == first[:, 2].tolist()
        for row, excluded in zip(answer["ids"], first, strict=True):
            assert not {*row} & {*excluded[:2]}
        over_rest = ask_rest(inputs, "with_exclusions")
        assert over_rest["ids"] == as_text(expected)["ids"].tolist()

    def test_side_features(self, ask_grpc, ask_rest, index):
        profile = np.array([[1.5, -2], [0, 1e-3]], np.float32)
        inputs = {"user_id": USERS[:2], "profile": profile}
        expected = index.embed(tf.constant(USERS[:2]), profile)
        assert_equal(ask_grpc(inputs, "embeddings"), expected)
        # The one output of a signature comes without its name.
        answer = np.array(ask_rest(inputs, "embeddings"), np.float32)
        np.testing.assert_array_equal(answer, expected["embeddings"])

    def test_outputs_that_are_not_utf8(self, ask_grpc, server, ask_rest):
        inputs = {"user_id": ["user_1"]}
        answer = ask_grpc(inputs, "binary_item")
        assert answer["item"].tolist() == answer["item_bytes"].tolist() == [BINARY_ITEM]
        with pytest.raises(ValueError, match=r"no UTF-8.*_bytes"):
            ask_rest(inputs, "binary_item")
        body = {"signature_name": "binary_item", "inputs": inputs}
        assert b'"item_bytes": [{"b64": "/wBpdGVt"}]' in post(server, body).content

    def test_enormous_strings(self, ask_grpc, ask_rest, index):
        # 5 MB together: more than what gRPC in Python takes by default.
        users = [bytes([i]) * 100_000 for i in range(200, 250)]
        expected = index.top_k(tf.constant(users))
        inputs = {"user_id": users}
        answer = ask_grpc(inputs)
        assert_equal(answer, expected)
        over_rest = ask_rest(inputs)
        assert over_rest["ids"] == as_text(expected)["ids"].tolist()

    def test_answer_longer_than_the_limit_is_an_error(self, client, server):
        with (
            client.connect(server.target, max_answer_bytes=100) as channel,
            pytest.raises(grpc.RpcError) as error,
        ):
            client.predict(channel, "movies", {"user_id": USERS}, timeout=TIMEOUT)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


class TestMain:
    """The scripts, as they are started."""

    def test_both_print_the_same(self, client, rest, server, capsys):
        inputs = (
            '{"user_id": ["user_1", {"b64": "/wD+"}], "exclusions": [["item_3"], [""]]}'
        )
        words = [
            "movies",
            inputs,
            "--signature=with_exclusions",
            "--version=1",
            PATIENT,
        ]
        client.main([server.target, *words])
        over_grpc = json.loads(capsys.readouterr().out)
        rest.main([server.url, *words])
        over_rest = json.loads(capsys.readouterr().out)
        assert over_grpc["ids"] == over_rest["ids"]
        assert np.shape(over_grpc["ids"]) == (2, 3)
        assert "item_3" not in over_grpc["ids"][0]

    def test_empty_batch_has_the_widths_of_the_signature(self, client, server, capsys):
        for signature, inputs in [
            ("with_exclusions", '{"user_id": [], "exclusions": []}'),
            ("embeddings", '{"user_id": [], "profile": []}'),
        ]:
            client.main(
                [server.target, "movies", inputs, f"--signature={signature}", PATIENT]
            )
            answer = json.loads(capsys.readouterr().out)
            assert all(value == [] for value in answer.values())

    def test_bytes_that_are_no_text(self, client, server, capsys):
        inputs = '{"user_id": ["user_1"]}'
        client.main(
            [server.target, "movies", inputs, "--signature=binary_item", PATIENT]
        )
        item = [{"b64": "/wBpdGVt"}]
        answer = json.loads(capsys.readouterr().out)
        assert answer == {"item": item, "item_bytes": item}

    def test_metadata(self, client, rest, server, capsys):
        client.main([server.target, "movies", "--metadata", PATIENT])
        signatures = json.loads(capsys.readouterr().out)
        assert signatures["with_exclusions"] == {
            "inputs": {
                "exclusions": "string (None, None)",
                "user_id": "string (None,)",
            },
            "outputs": {"ids": "string (None, 3)", "scores": "float32 (None, 3)"},
        }
        rest.main([server.url, "movies", "--metadata", PATIENT])
        described = json.loads(capsys.readouterr().out)
        inputs = described["embeddings"]["inputs"]
        assert inputs["profile"]["dtype"] == "DT_FLOAT"
        sizes = [dim["size"] for dim in inputs["profile"]["tensor_shape"]["dim"]]
        assert sizes == ["-1", "2"]
        assert set(signatures) <= set(described)

    def test_status(self, rest, server, channel, capsys):
        rest.main([server.url, "movies", "--status", PATIENT])
        assert json.loads(capsys.readouterr().out) == {"1": "AVAILABLE"}
        spec = request([]).model_spec
        status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
            get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        )
        (version,) = status.model_version_status
        assert (version.version, version.status.error_code) == (1, 0)


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


class TestBadRequests:
    """Each is refused, and the server goes on."""

    @pytest.mark.parametrize("kind", bad_requests())
    def test_over_grpc(self, channel, kind):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        bad, code = bad_requests()[kind]
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(bad, timeout=TIMEOUT)
        assert error.value.code() == code
        assert error.value.details()
        assert (
            stub.Predict(request(["user_1"]), timeout=TIMEOUT).outputs["ids"].ByteSize()
        )

    @pytest.mark.parametrize("kind", BAD_BODIES)
    def test_over_rest(self, server, ask_rest, kind):
        response = post(server, BAD_BODIES[kind])
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
    def test_of_paths(self, server, path, status):
        assert post(server, {"inputs": ["a"]}, path).status_code == status

    def test_calls_that_are_not_about_predict(self, channel):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            stub.Classify(classification_pb2.ClassificationRequest())
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED

    def test_clients_say_what_is_wrong(self, client, rest, channel, server, capsys):
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


@pytest.mark.parametrize("user_id", [[1], [["a"], ["b", "c"]], [{"b64": "?"}], [None]])
def test_json_that_fits_no_string_is_refused(client, channel, user_id):
    signature = client.signatures(channel, "movies", timeout=TIMEOUT)["serving_default"]
    with pytest.raises(ValueError, match=r"one length|base64"):
        client.arrays({"user_id": user_id}, signature)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_lines_of_the_readme_run(server):
    text = (ROOT / "examples" / "serving" / "README.md").read_text()
    blocks = re.findall(r"^```bash\n(curl .*?)^```", text, re.M | re.S)
    lines = [line for x in blocks for line in re.split(r"^(?=curl )", x, flags=re.M)]
    lines = [line for line in lines if line]
    assert len(lines) == text.count("\ncurl ")
    for line in lines:
        line = line.replace("http://localhost:8501", server.url)
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert "error" not in json.loads(done.stdout), done
