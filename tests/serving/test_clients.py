"""The example clients get what the model answers in Python."""

import json
import re
import shutil
import subprocess

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
)

from tests.processes import ROOT
from tests.serving.running_double import TIMEOUT
from tests.serving.small_index import BINARY_ITEM, request

PATIENT = f"--timeout={TIMEOUT}"
USERS = [b"user_1", b"never seen", b"\xff\x00\xfe", "ü".encode(), b""]


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
        assert server.post(body).json() == {"predictions": rows}
        assert server.post(plain).json() == {"predictions": rows}
        assert server.post({"inputs": plain["instances"]}).json()["outputs"] == columns

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
        assert b'"item_bytes": [{"b64": "/wBpdGVt"}]' in server.post(body).content

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
