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
    with client.connect(f"localhost:{port}") as channel:
        yield channel
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


@pytest.mark.parametrize(("status", "calls"), [(503, 3), (429, 3), (400, 1)])
def test_rest_asks_again(load_client, status, calls):
    rest = load_client("rest_client")
    statuses = [status, status, 200]
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"outputs": {"ids": []}}'
            self.send_response(statuses[len(asked)])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            asked.append(self.path)
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("localhost", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://localhost:{server.server_port}/"
        if status == 400:
            with pytest.raises(requests.HTTPError, match="400"):
                rest.predict(rest.connect(), url, "my movies", {}, timeout=60)
        else:
            answer = rest.predict(rest.connect(), url, "my movies", {}, timeout=60)
            assert answer == {"ids": []}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == ["/v1/models/my%20movies:predict"] * calls
