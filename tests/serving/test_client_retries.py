"""The clients ask again when that can help, and not when it cannot."""

import contextlib
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest
import requests
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Failing(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Fails as often as it is told, then answers with nothing."""

    def __init__(self, code, times, pause=0.0):
        self.calls = 0
        self._code, self._times, self._pause = code, times, pause

    def Predict(self, request, context):
        self.calls += 1
        time.sleep(self._pause)
        if self.calls <= self._times:
            context.abort(self._code, "not now")
        return predict_pb2.PredictResponse()


@contextlib.contextmanager
def served(servicer, client):
    server = grpc.server(futures.ThreadPoolExecutor())
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        servicer, server
    )
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        with client.connect(f"localhost:{port}") as channel:
            yield channel
    finally:
        server.stop(None).wait()


@pytest.fixture
def client(load_client):
    return load_client("grpc_client")


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
)
def test_grpc_asks_again(client, code):
    servicer = Failing(code, times=2)
    with served(servicer, client) as channel:
        assert client.predict(channel, "movies", {}, timeout=60) == {}
    assert servicer.calls == 3


def test_grpc_gives_up(client):
    servicer = Failing(grpc.StatusCode.UNAVAILABLE, times=100)
    with (
        served(servicer, client) as channel,
        pytest.raises(grpc.RpcError, match="not now"),
    ):
        client.predict(channel, "movies", {}, timeout=60)
    assert servicer.calls == client.RETRY_POLICY["maxAttempts"]


def test_grpc_does_not_repeat_a_bad_request(client):
    servicer = Failing(grpc.StatusCode.INVALID_ARGUMENT, times=1)
    with served(servicer, client) as channel, pytest.raises(grpc.RpcError):
        client.predict(channel, "movies", {}, timeout=60)
    assert servicer.calls == 1


def test_grpc_keeps_its_deadline(client):
    servicer = Failing(grpc.StatusCode.UNAVAILABLE, times=100, pause=0.3)
    with (
        served(servicer, client) as channel,
        pytest.raises(grpc.RpcError) as error,
    ):
        client.predict(channel, "movies", {}, timeout=0.1)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@contextlib.contextmanager
def rest_server(statuses, pause=0.0, retry_after=0):
    """Answers with one status after the other; yields the URL and the paths asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            time.sleep(pause)
            body = b'{"outputs": {"ids": []}}'
            self.send_response(statuses[len(asked) - 1])
            if retry_after:
                self.send_header("Retry-After", str(retry_after))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("localhost", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [429, 503])
def test_rest_asks_again(load_client, status):
    rest = load_client("rest_client")
    with rest_server([status, status, 200]) as (url, asked):
        answer = rest.predict(rest.connect(), url, "my movies", {}, timeout=60)
    assert answer == {"ids": []}
    assert asked == ["/v1/models/my%20movies:predict"] * 3


def test_rest_does_not_repeat_a_bad_request(load_client):
    rest = load_client("rest_client")
    with (
        rest_server([400, 200]) as (url, asked),
        pytest.raises(requests.HTTPError, match="400"),
    ):
        rest.predict(rest.connect(), url, "movies", {}, timeout=60)
    assert len(asked) == 1


def test_rest_does_not_repeat_what_was_too_slow(load_client):
    rest = load_client("rest_client")
    with (
        rest_server([200, 200], pause=0.5) as (url, asked),
        pytest.raises(requests.ReadTimeout),
    ):
        rest.predict(rest.connect(), url, "movies", {}, timeout=0.1)
    assert len(asked) == 1


def test_rest_does_not_sleep_for_as_long_as_a_proxy_says(load_client):
    rest = load_client("rest_client")
    with rest_server([503, 200], retry_after=50) as (url, asked):
        start = time.monotonic()
        rest.predict(rest.connect(), url, "movies", {}, timeout=60)
    assert time.monotonic() - start < 50
    assert len(asked) == 2
