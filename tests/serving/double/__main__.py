"""Serves a model until it is told to stop."""

import argparse
import json
import os
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tests.serving.double.rest import rest_server
from tests.serving.double.services import Model, ModelService, PredictionService
from tests.serving.double.versions import State, Versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_base_path", required=True, type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rest_api_port", type=int, default=0)
    parser.add_argument("--serve_all", action="store_true", help="policy `all`")
    parser.add_argument("--poll_seconds", type=float, default=0.1)
    parser.add_argument("--port_file", required=True, type=Path)
    args = parser.parse_args()

    versions = Versions(args.model_name, args.model_base_path, args.serve_all)
    load_first(versions, args.poll_seconds)
    model = Model(versions)
    # Held here: a gRPC server stops when nobody holds it.
    server, grpc_port = start_grpc(model, args.port)
    ports = {"grpc": grpc_port, "rest": start_rest(model, args.rest_api_port)}
    extra = {"tfrs_dhe", "tensorflow_recommenders"} & set(sys.modules)
    assert not extra, f"{extra} should not be needed to serve"
    # The file is there whole or not at all.
    draft = args.port_file.with_suffix(".draft")
    draft.write_text(json.dumps(ports))
    os.rename(draft, args.port_file)
    try:
        while True:
            time.sleep(args.poll_seconds)
            versions.poll()
    finally:
        server.stop(grace=None)


def load_first(versions: Versions, poll_seconds: float) -> None:
    """Loads a version; like the server, opens no port before, and fails with it."""
    while True:
        versions.poll()
        states = versions.states()
        if any(state.state == State.AVAILABLE for state in states.values()):
            return
        if states:
            sys.exit(f"model(s) did not become available: {states}")
        time.sleep(poll_seconds)


def start_grpc(model: Model, port: int) -> tuple[grpc.Server, int]:
    """Starts the gRPC server and returns it and its port."""
    # The server takes messages of up to 2 GiB.
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16),
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(model), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(model), server
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def start_rest(model: Model, port: int) -> int:
    """Starts the REST server and returns its port."""
    server = rest_server(model, port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


if __name__ == "__main__":
    main()
