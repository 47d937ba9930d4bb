"""What the tests of the examples share."""

import importlib.util
import pathlib

import pytest

from tests.serving.native_checks import COMPILER, check_native
from tfrs_dhe import serving

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.fixture
def load_example(monkeypatch):
    """Returns a function that imports an example."""
    # As when a script is started: its folder is the first on the path.
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def load(name):
        spec = importlib.util.spec_from_file_location(
            f"example_{name}", EXAMPLES / f"{name}.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(autouse=True)
def prove_exports(monkeypatch):
    """Proves every export that an example makes, before the example goes on."""
    export = serving.export

    def export_and_prove(*args, **kwargs):
        path = export(*args, **kwargs)
        assert serving.verify(path).num_samples
        if COMPILER:
            check_native(path)
        return path

    monkeypatch.setattr(serving, "export", export_and_prove)
