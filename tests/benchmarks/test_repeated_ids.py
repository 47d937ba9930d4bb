"""The benchmark of repeated ids, at a size that takes no time."""

import numpy as np
import pytest

from tests.processes import ROOT


def test_rows_are_of_the_batches_that_they_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "speed"))
    import repeated_ids

    ids = np.repeat(np.arange(100), 20)  # As where a user's interactions are together.
    sizes = {"hidden_dim": 4, "num_hidden_layers": 1, "num_hashes": 8}
    result = repeated_ids.measure({"set": ids}, 40, repeats=1, seed=0, **sizes)
    drawn, in_order = result["rows"]
    assert 2 <= in_order["distinct_ids"] <= 3
    assert 20 < drawn["distinct_ids"] <= 40
    assert all(row["ratio"] > 0 for row in result["rows"])
