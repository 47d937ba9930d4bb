"""The probe says ready when a request is answered, and not before."""

import socket
import subprocess

import numpy as np
import tensorflow as tf

from tests.processes import ROOT
from tests.serving.running_double import running_double, wait_until
from tests.serving.small_index import USER_ID, publish


class PythonInside(tf.Module):
    """Loads anywhere and runs in the process alone that it was made in."""

    @tf.function(input_signature=[USER_ID])
    def __call__(self, user_id):
        return {"ids": tf.numpy_function(np.copy, [user_id], tf.string)}


def is_ready(port, request='{"inputs": {"user_id": ["ü"]}}'):
    script = ROOT / "examples" / "serving" / "ready.sh"
    words = ["bash", str(script), "localhost", str(port), "movies", request]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def test_not_ready_without_a_server():
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        assert not is_ready(unused.getsockname()[1])


def test_available_is_no_proof_but_an_answer_is(saved, tmp_path, load_client):
    rest = load_client("rest_client")
    session = rest.connect()
    base_path = tmp_path / "movies"
    base_path.mkdir()
    broken = PythonInside()
    tf.saved_model.save(broken, str(tmp_path / "broken"), signatures=broken.__call__)
    publish(tmp_path / "broken", base_path, 1)
    with running_double(base_path) as server:
        assert rest.status(session, server.url, "movies") == {1: "AVAILABLE"}
        assert not is_ready(server.rest_port)
        publish(saved[1], base_path, 2)
        wait_until(lambda: is_ready(server.rest_port))
        states = rest.status(session, server.url, "movies")
        assert states[2] == "AVAILABLE"
        assert not is_ready(server.rest_port, '{"inputs": {"user_id": [1]}}')
