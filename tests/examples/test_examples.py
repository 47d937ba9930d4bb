"""Every example runs, on small data, and beats its baseline."""

import importlib.util
import pathlib

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch):
    """Returns a function that runs an example's `main` and returns its figures."""
    # As when a script is started: its folder is the first on the path.
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run_main(name, *arguments):
        spec = importlib.util.spec_from_file_location(
            f"example_{name}", EXAMPLES / f"{name}.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main(["--num-ratings=40000", "--batch-size=512", *arguments])

    return run_main


def assert_recalls(figures, model, baseline):
    for metric in ("recall@10", "recall@100"):
        assert 0 <= figures[baseline][metric] < figures[model][metric] <= 1


def test_retrieval_beats_popularity_and_serves_an_unknown_user(run, capsys):
    figures = run("retrieval", "--epochs=3")
    assert_recalls(figures, "two-tower, all", "popularity, all")
    for part in ("unseen users", "unseen movies"):
        assert np.isfinite(list(figures[f"two-tower, {part}"].values())).all()
    assert len(set(figures["recommended"])) == 5
    assert all(movie.startswith(b"item_") for movie in figures["recommended"])
    printed = capsys.readouterr().out
    assert "recall@100" in printed
    assert "popularity, unseen movies" in printed


def test_ranking_beats_the_mean_of_the_movie(run):
    figures = run("ranking", "--epochs=3")
    assert figures["ranking model, all"]["rmse"] < figures["movie's mean, all"]["rmse"]


def test_multitask_beats_popularity_and_the_mean(run):
    figures = run("multitask", "--epochs=3")
    model, baseline = figures["multitask model"], figures["popularity and mean"]
    assert_recalls(figures, "multitask model", "popularity and mean")
    assert model["rmse"] < baseline["rmse"]


def test_multitask_weight_of_zero_turns_a_task_off(run):
    figures = run("multitask", "--epochs=1", "--retrieval-weight=0")
    # Nothing drew users and movies together: no better than the popular ones.
    recall = {name: row["recall@100"] for name, row in figures.items()}
    assert recall["multitask model"] < recall["popularity and mean"]


@pytest.mark.parametrize("history", ["mean", "gru"])
def test_sequence_beats_popularity_and_the_last_movie(run, history):
    figures = run("sequence", "--epochs=4", f"--history={history}")
    for baseline in ("popularity", "follows the last movie"):
        assert_recalls(figures, f"sequence model, {history}", baseline)


@pytest.mark.parametrize("interaction", ["dot", "dcn"])
def test_dlrm_beats_the_share_who_like_a_movie(run, interaction):
    figures = run("dlrm", "--epochs=4", f"--interaction={interaction}")
    for part in ("all", "unseen movies"):
        model = figures[f"{interaction}, {part}"]["auc"]
        assert figures[f"share who like it, {part}"]["auc"] < model <= 1
