"""What the tests of serving share."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from tests.processes import ROOT
from tests.serving.running_double import TIMEOUT, RunningDouble, running_double
from tests.serving.small_index import SmallIndex, publish, request, save


@pytest.fixture(scope="session")
def load_client() -> Callable[[str], ModuleType]:
    """Returns a function that imports one of the example clients."""

    def load(name: str) -> ModuleType:
        path = ROOT / "examples" / "serving" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"example_{name}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def index() -> SmallIndex:
    """Returns a small index of which version 1 is saved."""
    return SmallIndex()


@pytest.fixture(scope="session")
def saved(
    index: SmallIndex, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Path]:
    """Returns the directories of two versions, the second the first turned around."""
    folder = tmp_path_factory.mktemp("saved")
    directories = {1: save(index, folder / "1")}
    index.turn_around()
    directories[2] = save(index, folder / "2")
    index.turn_around()
    return directories


@pytest.fixture(scope="session")
def server(
    saved: dict[int, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDouble]:
    """Runs a server of version 1."""
    base_path = tmp_path_factory.mktemp("served") / "movies"
    base_path.mkdir()
    publish(saved[1], base_path, 1, warmup=[request(["user_1"])])
    with running_double(base_path) as server:
        yield server


@pytest.fixture(scope="session")
def client(load_client: Callable[[str], ModuleType]) -> ModuleType:
    """Returns the gRPC client."""
    return load_client("grpc_client")


@pytest.fixture(scope="session")
def rest(load_client: Callable[[str], ModuleType]) -> ModuleType:
    """Returns the REST client."""
    return load_client("rest_client")


@pytest.fixture(scope="session")
def channel(client: ModuleType, server: RunningDouble) -> Iterator[grpc.Channel]:
    """Returns a channel to the server."""
    with client.connect(server.target) as channel:
        yield channel


@pytest.fixture(scope="session")
def ask_grpc(client: ModuleType, channel: grpc.Channel) -> Callable[..., Any]:
    """Returns a function that asks the model over gRPC."""

    def predict(inputs: Mapping[str, Any], signature: str = "serving_default") -> Any:
        return client.predict(channel, "movies", inputs, signature, timeout=TIMEOUT)

    return predict


@pytest.fixture(scope="session")
def ask_rest(rest: ModuleType, server: RunningDouble) -> Callable[..., Any]:
    """Returns a function that asks the model over REST."""
    session = rest.connect()

    def predict(inputs: Mapping[str, Any], signature: str = "serving_default") -> Any:
        return rest.predict(
            session, server.url, "movies", inputs, signature, timeout=TIMEOUT
        )

    return predict
