"""What the tests of serving share."""

import importlib.util
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.processes import ROOT


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
