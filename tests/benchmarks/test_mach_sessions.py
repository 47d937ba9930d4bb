"""The study of next items: its runs, which can be stopped, and the table of them."""

import json
from pathlib import Path

import numpy as np
import plot
import pytest
import sessions

from tfrs_dhe import datasets

NUM_ITEMS = 50
#: A head with a row each, and one of the paper's over buckets.
HEADS = ("full", "paper_4x_r2")
SETTINGS = ["epochs=3", "num_buckets=10", "batch_size=64", "num_negatives=16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sessions and next items, as the benchmark reads it."""
    path = tmp_path_factory.mktemp("sessions")
    made = datasets.make_synthetic_sessions(num_sessions=700, num_items=NUM_ITEMS)
    lines = [" ".join(map(str, items)) for items in made]
    (path / "train_sessions.txt").write_text("\n".join(lines[:600]) + "\n")
    tests = [f"{line.rpartition(' ')[0]}\t{line.split()[-1]}" for line in lines[600:]]
    (path / "test.tsv").write_text("\n".join(tests) + "\n")
    return path


def run(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    results: Path,
    *more: str,
    heads: tuple[str, ...] = HEADS,
) -> list[dict]:
    """Runs the command; returns all result lines."""
    monkeypatch.setattr(sessions, "VALIDATION_SESSIONS", 50)
    monkeypatch.setattr(sessions, "VALIDATION_EXAMPLES", 100)
    arguments = ["sessions.py", *heads, f"--data={folder}", f"--results={results}"]
    arguments += [f"--checkpoints={results.parent}", *more]
    monkeypatch.setattr("sys.argv", arguments)
    sessions.main()
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_every_seed_has_a_line_and_is_not_run_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "sessions.jsonl"
    more = ["--set", *SETTINGS, "--seeds"]
    first = run(monkeypatch, folder, results, *more, "1")
    assert [line["seed"] for line in first] == [0, 0]
    # Checkpoints of the other seed are not taken up.
    both = run(monkeypatch, folder, results, *more, "2")
    assert both[:2] == first
    assert [(line["name"].split()[0], line["seed"]) for line in both[2:]] == [
        (name, 1) for name in HEADS
    ]
    for line in both:
        assert len(line["validation"]) == 3
        assert line["test"]["recall"] > 20 / NUM_ITEMS
    losses = {tuple(x["loss"] for x in line["validation"]) for line in both}
    assert len(losses) == 4
    table = plot.sessions_table(both)
    recalls = [line["test"]["recall"] for line in both if line["head"] == "table"]
    mean, deviation = np.mean(recalls), np.std(recalls, ddof=1)
    assert f"| {mean:.4f} ± {deviation:.4f} |" in table
    # Two heads, of which one has two more forms and the other one.
    assert len(table.splitlines()) == 2 + 3 + 2


def test_a_training_that_was_stopped_goes_on_where_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without dropout, whose numbers are drawn anew.
    more = ["--seeds=1", "--set", *SETTINGS, "dropout=0"]
    make_step, rates = sessions.make_step, []

    def watched(settings, model, sampler, optimizer):
        step = make_step(settings, model, sampler, optimizer)

        def watched_step(*batch):
            loss = step(*batch)
            rates.append(float(optimizer.learning_rate))
            return loss

        return watched_step

    monkeypatch.setattr(sessions, "make_step", watched)

    def runs(results: Path) -> dict:
        return run(monkeypatch, folder, results, *more, heads=("full",))[0]

    whole = runs(tmp_path / "whole.jsonl")
    whole_rates = rates.copy()
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    evaluate, calls = sessions.evaluate, []

    def stop(*arguments, **keywords):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        return evaluate(*arguments, **keywords)

    monkeypatch.setattr(sessions, "evaluate", stop)
    with pytest.raises(KeyboardInterrupt):
        runs(stopped / "sessions.jsonl")
    monkeypatch.setattr(sessions, "evaluate", evaluate)
    trained = []
    batches = datasets.Sessions.batches

    def counted(self, *arguments, **keywords):
        trained.append(keywords["epoch"])
        return batches(self, *arguments, **keywords)

    monkeypatch.setattr(datasets.Sessions, "batches", counted)
    rates.clear()
    resumed = runs(stopped / "sessions.jsonl")
    assert trained == [1, 2]
    # After one epoch of three.
    assert rates == whole_rates[len(whole_rates) // 3 :]
    losses = [epoch["loss"] for epoch in whole["validation"]]
    # Rounded to four digits.
    assert [epoch["loss"] for epoch in resumed["validation"]] == pytest.approx(
        losses, abs=1.01e-4
    )


def test_a_seed_among_the_settings_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, folder, tmp_path / "sessions.jsonl", "--set", "seed=4")
    assert "--seeds" in capsys.readouterr().err
