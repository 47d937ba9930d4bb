"""What the tests of serving share."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.processes import ROOT
from tests.serving.small_index import SmallIndex, save


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
