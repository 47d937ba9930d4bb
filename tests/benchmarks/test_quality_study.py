"""The study of quality as it is run: settings, resumption and the report."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grid
import methods
import numpy as np
import pytest
import report
import run as runner
import training

from tests.benchmarks.conftest import QUALITY


def execute(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(QUALITY / script), *arguments],
        cwd=QUALITY.parents[1],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_quick_study_runs_and_is_reported(tmp_path: Path) -> None:
    results = tmp_path / "runs.jsonl"
    arguments = ("--quick", "--results", str(results))
    execute("run.py", *arguments)
    lines = read(results)
    assert [(line["method"], line["share"]) for line in lines] == [
        ("means", 1),
        ("table", 1),
        ("hashing_trick", 1),
        ("hashing_trick", 0.25),
        ("deep_hash+features", 1),
        ("deep_hash+features", 0.25),
        ("dedicated", 1),
        ("dedicated+features", 1),
    ]
    for line in lines:
        assert 0.5 < line["test"]["known"]["auc"] < 1
        assert line["test"]["unseen"]["pairs"] > 1000
    quarter = lines[5]
    full = quarter["parameters"]["full_table"]
    sizes = quarter["parameters"]["users"] + quarter["parameters"]["items"]
    assert 0.2 * full < sizes <= 0.25 * full
    # It is taken up where it stopped.
    results.write_text("\n".join(map(json.dumps, lines[:-1])) + "\n")
    printed = execute("run.py", *arguments)
    assert "dedicated+features 1 #0 3/3" in printed
    assert "means 1 #0 1/3" not in printed
    assert len(read(results)) == len(lines)

    execute("report.py", "--results", str(results))
    text = (tmp_path / "tables.md").read_text()
    tried = (tmp_path / "tried.md").read_text()
    for line in lines:
        assert f"{line['test']['all']['auc']:.4f}" in text
        assert f"{line['test']['all']['auc']:.4f}" in tried
    of_int4 = lines[-1]["rounded"]["int4"]["test"]["unseen"]["auc"]
    (row,) = [
        row
        for row in text.splitlines()
        if row.startswith("| dedicated+features | 1 | int4")
    ]
    assert f"{lines[-1]['bytes']['int4'] / 1e6:.2f} |" in row
    assert f"{of_int4:.4f}" in row
    for name in ("synthetic+new-gmf", "synthetic+new-gmf-bytes"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert (tmp_path / f"{name}.svg").exists()


class Stopped(Exception):
    """What ends a training in a test."""


def test_a_run_that_was_stopped_goes_on_at_its_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = grid.Run("synthetic", "mlp", "deep_hash", 0.25, epochs=3, schedule="cosine")
    told: list[int] = []
    stopped = tmp_path / "stopped" / "runs.jsonl"

    def result(path: Path, last: int) -> dict[str, Any]:
        def report(_: grid.Run, epoch: int, *of_epoch: float) -> None:
            if epoch > last:
                raise Stopped
            told.append(epoch)

        study = runner.Study(None, path, None)
        monkeypatch.setattr(study, "_report", report)
        return study.result(run)

    def seconds() -> list[float]:
        assert not stopped.exists()
        (state,) = stopped.parent.glob("checkpoints/*/state.json")
        return json.loads(state.read_text())["seconds"]

    whole = result(tmp_path / "whole" / "runs.jsonl", 3)
    # In its second epoch, then in the measurements after the last one.
    with pytest.raises(Stopped):
        result(stopped, 1)
    first = seconds()
    with monkeypatch.context() as patched:

        def measure(*_: Any) -> None:
            raise Stopped

        patched.setattr(training, "segments", measure)
        with pytest.raises(Stopped):
            result(stopped, 3)
    trained = seconds()
    resumed = result(stopped, 3)
    assert told == [1, 2, 3, 1, 2, 3]
    for name, one, all_epochs in zip(
        ("seconds", "cpu_seconds"), first, trained, strict=True
    ):
        assert 0 < one < all_epochs <= resumed.pop(name) + 0.05
        whole.pop(name)
    assert resumed == whole
    assert not list(stopped.parent.glob("checkpoints/*"))


def test_a_training_that_ended_early_is_not_gone_on_with() -> None:
    constant = grid.Run("synthetic", "gmf", "table", 1, epochs=9)
    cosine = dataclasses.replace(constant, schedule="cosine")
    falling = [0.6, 0.9, 0.8, 0.8, 0.8]
    assert not training.is_over(constant, falling[:-1])
    assert training.is_over(constant, falling)
    assert not training.is_over(cosine, falling)
    # Not told apart at all yet.
    assert not training.is_over(constant, [0.5, 0.4, 0.4, 0.4, 0.4])
    assert not training.is_over(constant, [])


def test_sets_from_files_need_a_folder() -> None:
    with pytest.raises(AssertionError, match="--data-dir is needed"):
        execute("run.py", "--data", "ml-1m")


def test_settings_are_chosen_on_validation_pairs(tmp_path: Path) -> None:
    base = grid.Run("synthetic", "gmf", "table", 1)
    study = runner.Study(None, tmp_path / "runs.jsonl", None)
    *others, best = grid.tries(base)
    with_cosine = dataclasses.replace(best, schedule="cosine")
    longer = dataclasses.replace(with_cosine, epochs=30)
    until_no_better = dataclasses.replace(best, epochs=45)
    # The last try is the best one, at its first epoch, and the cosine no better.
    of_run = {run: [0.5, 0.8] for run in others} | {best: [0.9, *[0.1] * 14]}
    of_run |= {with_cosine: [0.9, 0.8], longer: [0.2, 0.9], until_no_better: [0.9]}
    asked = []

    def result(run: grid.Run) -> dict[str, Any]:
        asked.append(run)
        return {"validation": of_run[run]}

    study.result = result
    assert study.tuned(base) == best
    assert set(asked) == {*others, best, until_no_better, with_cosine, longer}
    assert len(others) == len(grid.TRIES) - 1
    # What the cosine is tried with is the best of the others.
    of_run[with_cosine] = [0.1, 0.91]
    assert study.tuned(base) == with_cosine
    of_run[longer] = [0.92]
    assert study.tuned(base) == longer
    # What ended by itself at one rate is not run for longer.
    of_run[best] = [0.9, 0.1, 0.1, 0.1]
    asked.clear()
    assert study.tuned(base) == longer
    assert set(asked) == {*others, best, with_cosine, longer}


def test_grid_has_each_combination_once() -> None:
    choices = {**grid.FULL, "data": ["a"], "model": ["gmf"], "seed": [0]}
    found = grid.runs(choices, {"epochs": 2})
    assert len(set(found)) == len(found)
    several = [name for name in choices["method"] if name not in grid.ONE_SIZE]
    assert len(found) == len(several) * len(grid.SHARES) + len(grid.ONE_SIZE)
    assert all(run.epochs == 2 for run in found)
    # One with something changed has the size of what it is of.
    changed = {**choices, "method": ["dedicated, row_dropout=0.1+features"]}
    assert [run.share for run in grid.runs(changed, {})] == [1]


def line(seed: int, weight_decay: float, validation: float, test: float) -> str:
    settings = {"epochs": 1, "batch_size": 1, "learning_rate": 0.1}
    return json.dumps(
        {
            **settings,
            **{"data": "d", "model": "gmf", "method": "m", "share": 0.25},
            **{"seed": seed, "weight_decay": weight_decay, "validation": [validation]},
            "test": {"all": {"auc": test, "pairs": 9}},
        }
    )


def test_report_takes_the_settings_that_are_best_with_the_first_seed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.jsonl"
    # The best try has seeds whose validation is lower.
    rows = [line(0, 0.1, 0.8, 0.7), line(0, 0.2, 0.9, 0.5), line(1, 0.2, 0.3, 0.7)]
    path.write_text("\n".join(rows))
    best = report.best_lines(report.all_lines(path))
    assert [
        row["weight_decay"] for row in best["d", "gmf", "m", 0.25, report.USUAL]
    ] == [0.2, 0.2]
    text = report.by_share({("m", 0.25): best["d", "gmf", "m", 0.25, report.USUAL]})
    assert f"0.6000 ± {np.std([0.5, 0.7], ddof=1):.4f}" in text


def test_settings_that_are_not_chosen_have_a_table_too(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    rounded = {"int4": {"test": {"all": {"auc": 0.4}}}}
    lines = [
        json.loads(row)
        for row in (
            line(0, 0.1, 0.8, 0.7),
            line(0, 0.2, 0.9, 0.5),
            line(1, 0.1, 0.6, 0.5),
        )
    ]
    lines.append(
        json.loads(line(0, 0.1, 0.6, 0.5))
        | {"schedule": "cosine", "batch_size": 4096, "rounded": rounded}
    )
    path.write_text("\n".join(map(json.dumps, lines)))
    rows = report.of_settings(report.all_lines(path)).splitlines()[2:]
    start = f"| d, GMF | m | 0.25 | {report.USUAL} | rate 0.1, decay"
    spread = np.std([0.5, 0.7], ddof=1)
    assert rows == [
        f"{start} 0.1, batches of 1 | 0.7000 | 0.6000 ± {spread:.4f} |  | 2 |",
        f"{start} 0.1, cosine | 0.6000 | 0.5000 | 0.4000 | 1 |",
        f"{start} 0.2, batches of 1 | 0.9000 | 0.5000 |  | 1 |",
    ]


def test_another_training_has_a_table_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    # Better on the validation pairs, and yet not taken for the usual training.
    taught = json.loads(line(0, 0.1, 0.9, 0.75)) | {"teacher": 0.5, "cpu_seconds": 7.0}
    usual = json.loads(line(0, 0.1, 0.8, 0.7)) | {"cpu_seconds": 3.0}
    path.write_text("\n".join(map(json.dumps, (usual, taught))))
    best = report.best_lines(report.all_lines(path))
    key = ("d", "gmf", "m", 0.25)
    assert [row["test"]["all"]["auc"] for row in best[*key, report.USUAL]] == [0.7]
    text = report.of_training({name[2:]: lines for name, lines in best.items()})
    assert "| labels 50% of the full table | 0.7500 |  |  |  | 1 | 1 | 7 |" in text
    assert "| as usual | 0.7000 |  |  |  | 1 | 1 | 3 |" in text


def test_the_schedule_is_a_setting_and_has_a_table_of_all(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    lines = [
        json.loads(line(0, 0.1, 0.8, 0.7)),
        json.loads(line(0, 0.3, 0.82, 0.71)),
        json.loads(line(0, 0.1, 0.9, 0.75)) | {"schedule": "cosine"},
        json.loads(line(0, 0.1, 0.95, 0.74)) | {"schedule": "cosine", "epochs": 30},
        # Of other methods, one of which has no cosine.
        json.loads(line(0, 0.1, 0.9, 0.79)) | {"method": "other"},
        json.loads(line(0, 0.1, 0.6, 0.61)) | {"method": "third"},
        json.loads(line(0, 0.1, 0.5, 0.51)) | {"method": "third", "schedule": "cosine"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    every = report.all_lines(path)
    key = ("d", "gmf", "m", 0.25, report.USUAL)
    assert report.best_lines(every)[key] == [lines[3]]
    ways = {
        name: {
            way[2:4]: found
            for way, found in report.best_lines(
                report.of_schedule(every, *schedule)
            ).items()
        }
        for name, schedule in report.SCHEDULES.items()
    }
    assert ways["one rate"]["m", 0.25] == [lines[1]]
    rows = report.of_schedules(ways).splitlines()[2:]
    of_m = [
        "0.8200 | 0.7100 | 1",
        " |  | ",
        "0.9000 | 0.7500 | 1",
        "0.9500 | 0.7400 | 1",
    ]
    of_third = ["0.6000 | 0.6100 | 1", " |  | ", "0.5000 | 0.5100 | 1", " |  | "]
    assert rows == [
        f"| m | 0.25 | {' | '.join(of_m)} |",
        f"| third | 0.25 | {' | '.join(of_third)} |",
    ]


def test_the_best_of_what_a_table_has_taught_is_a_method_of_its_own() -> None:
    usual = json.loads(line(0, 0.1, 0.99, 0.7))
    few, more = (
        json.loads(line(0, 0.1, validation, 0.75)) | {"distilled": passes}
        for validation, passes in ((0.8, 150), (0.9, 300))
    )
    results = {
        ("m", 0.25, report.training_of(runner.run_of(row))): [row]
        for row in (usual, more, few)
    }
    assert report.distilled(results) == {("m, taught by the table", 0.25): [more]}


def test_a_study_has_the_layer_with_the_settings_of_its_variants(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.jsonl"
    more = {"cpu_seconds": 3.0, "parameters": {"users": 4, "items": 5}}
    runs = [
        ("deep_hash", 0.1, 0.8, 0.71),
        ("deep_hash", 0.03, 0.9, 0.73),
        ("deep_hash, num_hidden_layers=1", 0.1, 0.8, 0.72),
    ]
    rows = [
        json.loads(line(0, *figures)) | more | {"method": method}
        for method, *figures in runs
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    every = report.all_lines(path)
    best = {key[2:4]: lines for key, lines in report.best_lines(every).items()}
    assert best["deep_hash", 0.25][0]["weight_decay"] == 0.03
    unchanged = {0.25: every["d", "gmf", "deep_hash", 0.25, report.USUAL]}
    text = report.of_study("decoder", best, unchanged)
    assert "| deep_hash | 0.25 | 9 | 0.7100 | 1 |" in text
    assert "| num_hidden_layers=1 | 0.25 | 9 | 0.7200 | 1 |" in text
    assert "0.73" not in text


def test_lines_without_a_setting_are_of_its_default(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(line(0, 0.1, 0.8, 0.7))
    (run,) = runner.done(path)
    assert (run.schedule, run.teacher, run.weight_decay) == ("constant", 0.0, 0.1)


def test_study_of_training_changes_the_training_alone() -> None:
    base = grid.Run("synthetic", "gmf", "deep_hash", 0.25)
    found = runner.trained_otherwise([base])
    assert len(set(found)) == len(grid.TRAININGS)
    assert base not in found
    names = {report.training_of(run) for run in [base, *found]}
    assert len(names) == len(found) + 1
    assert {(run.method, run.learning_rate) for run in found} == {("deep_hash", 0.005)}


def test_method_names() -> None:
    assert methods.parse("table") == (methods.METHODS["table"], False)
    assert methods.parse("table+features") == (methods.METHODS["table"], True)
    method, has_features = methods.parse("dedicated, row_dropout=0.1+features")
    assert has_features
    assert method.takes_features
    assert method.make(np.arange(3), 1, seed=0).row_dropout == 0.1
    with pytest.raises(ValueError, match="`name` must be one of"):
        methods.parse("tables")
