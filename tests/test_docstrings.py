"""The examples in docstrings run and print what they say."""

import dataclasses
import doctest
import importlib
import pkgutil

import pytest

import tfrs_dhe
from tests.serving.native_checks import COMPILER

MODULES = [
    module.name for module in pkgutil.walk_packages(tfrs_dhe.__path__, "tfrs_dhe.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    if name.startswith("tfrs_dhe.serving.native") and not COMPILER:
        pytest.skip("the C program needs a C compiler: apt-get install gcc libc6-dev")
    module = importlib.import_module(name)
    names = {"tf": importlib.import_module("tensorflow"), **vars(module)}
    assert doctest.testmod(module, extraglobs=names).failed == 0


PUBLIC = [
    # Results are shown by the example of what makes them.
    *(
        f"analysis.{name}"
        for name in tfrs_dhe.analysis.__all__
        if not dataclasses.is_dataclass(getattr(tfrs_dhe.analysis, name))
    ),
    *(f"hashing.{name}" for name in tfrs_dhe.hashing.__all__),
    *(f"layers.{name}" for name in tfrs_dhe.layers.__all__),
    *(f"mach.{name}" for name in tfrs_dhe.mach.__all__ if name != "AGGREGATIONS"),
]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_an_example(name: str) -> None:
    package, _, attribute = name.partition(".")
    documented = getattr(getattr(tfrs_dhe, package), attribute)
    assert ">>>" in documented.__doc__
