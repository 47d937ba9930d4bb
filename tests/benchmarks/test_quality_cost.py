"""What each method costs, as the study of quality measures it."""

import json
from pathlib import Path

import cost
import cost_table
import methods
import pytest
from data import load
from grid import Run
from trainer import Trainer

from tests.benchmarks.test_quality_study import execute


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cost") / "cost.json"
    small = ("--batch-size", "64", "--steps", "2", "--seconds", "0.01")
    chosen = ("--method", "table", "unified", "deep_hash", "dedicated")
    execute("cost.py", "--data", "synthetic", "--results", str(path), *small, *chosen)
    return path


def test_each_form_is_measured(figures: Path) -> None:
    result = json.loads(figures.read_text())["synthetic"]
    rows = {row["method"]: row for row in result["rows"]}
    assert list(rows) == [
        "table",
        "unified",
        "deep_hash",
        "deep_hash, inference form",
        "dedicated",
        "dedicated, 4 bits, sorted keys",
    ]
    # A row for each user and item, and one for those that are unknown.
    known = result["users"] + result["items"]
    assert rows["table"]["parameters"] == (known + 2) * methods.OUTPUT_DIM
    assert rows["unified"]["parameters"] <= known * methods.OUTPUT_DIM / 4
    for name, row in rows.items():
        assert (row["step_cpu_seconds"] is None) == ("," in name)
        assert list(row["latency_seconds"]) == ["1", "256", "4096"]
        assert all(seconds > 0 for seconds in row["latency_seconds"].values())


def test_other_sets_are_kept(figures: Path, tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    kept = json.loads(figures.read_text())["synthetic"]
    path.write_text(json.dumps({"earlier": kept}))
    small = ("--batch-size", "64", "--steps", "1", "--seconds", "0.01")
    arguments = ("--data", "synthetic", "--method", "table", "--results", str(path))
    execute("cost.py", *arguments, *small)
    results = json.loads(path.read_text())
    assert results["earlier"] == kept
    assert len(results["synthetic"]["rows"]) == 1


def test_a_step_is_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(None, "synthetic")
    run = Run("synthetic", "gmf", "table", 1, batch_size=1000)
    trainer = Trainer(run, data)
    seen = []
    monkeypatch.setattr(trainer, "epoch", lambda pairs: seen.append(len(pairs)))
    # The clock moves by one at every look.
    monkeypatch.setattr(cost.time, "process_time", iter(range(1000)).__next__)
    pairs = data.train.take(slice(0, 2500))
    assert cost.seconds_of_step(trainer, pairs, 1000, steps=4) == 1
    assert seen == [1000] * (cost.WARM_UP + 4)


def test_table_of_figures(tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    row = {"method": "m", "share": 0.25, "parameters": 12345}
    served = row | {"method": "m, served", "step_cpu_seconds": None}
    rows = [
        row | {"step_cpu_seconds": 0.0123, "latency_seconds": {"1": 2e-5, "32": 0.004}},
        served | {"latency_seconds": {"1": 1e-5, "32": 0.003}},
    ]
    result = {"users": 7, "items": 1000, "batch_size": 4096, "steps": 20, "rows": rows}
    path.write_text(json.dumps({"s": result}))
    note, title, table = cost_table.tables(path)
    assert "4,096 pairs" in note
    assert title == "s, 7 users and 1,000 items:"
    assert table.splitlines() == [
        "| method | share | parameters | step | 1 served | 32 served |",
        "|---|--:|--:|--:|--:|--:|",
        "| m | 0.25 | 12,345 | 12.3 | 0.02 | 4 |",
        "| m, served | 0.25 | 12,345 |  | 0.01 | 3 |",
    ]
