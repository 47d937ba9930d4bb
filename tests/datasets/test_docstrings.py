import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    ["interactions", "loading", "movie_table", "synthetic", "time_split", "user_table"],
)
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"tfrs_dhe.datasets.{module}"))
    assert result.attempted
    assert not result.failed
