"""Every example runs, on small data, and beats its baseline."""

import numpy as np
import pytest

from tfrs_dhe import datasets


@pytest.fixture
def run(load_example):
    """Returns a function that runs an example's `main` and returns its figures."""

    def run_main(name, *arguments):
        small = ["--num-ratings=40000", "--batch-size=512"]
        return load_example(name).main([*small, *arguments])

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


def test_ranking_beats_the_mean_of_the_movie_and_serves(run):
    figures = run("ranking", "--epochs=3")
    # One rating, from 1 to 5 stars give or take what a regression may.
    ((stars,),) = figures["answer"]["scores"]
    assert 0 < stars < 6
    assert figures["ranking model, all"]["rmse"] < figures["movie's mean, all"]["rmse"]


def test_distilled_networks_rate_as_the_tables_that_taught_them_and_serve(run):
    figures = run("distillation", "--epochs=3", "--passes=100")
    ((stars,),) = figures["answer"]["scores"]
    assert 0 < stars < 6
    tables, networks = figures["tables, seen"], figures["networks, seen"]
    assert networks["parameters"] < tables["parameters"] / 4
    assert networks["rmse"] < tables["rmse"] + 0.05
    assert np.isfinite(figures["networks, unseen movies"]["rmse"])


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


def test_histories_are_what_the_user_liked_before_by_time(load_example):
    names = np.array(["a", "b", "c", "d"])
    ratings = datasets.Interactions(
        user_table=datasets.UserTable(names[:2]),
        movie_table=datasets.MovieTable(names, names, [[]] * 4, ("Drama",)),
        # User 0 rates movies 3, 0, 1 and 2, the last two at once; user 1 movie 3.
        user_index=np.array([0, 1, 0, 0, 0], np.int32),
        movie_index=np.array([0, 3, 1, 3, 2], np.int32),
        user_rating=np.full(5, 5, np.float32),
        timestamp=np.array([20, 25, 30, 10, 30]),
        rating_scale=(1, 5),
    )
    sequence = load_example("sequence")
    rows = sequence.histories(ratings, ratings, length=2)
    padding = 4
    assert rows.tolist() == [
        [3, padding],
        [padding, padding],
        [3, 0],
        [padding, padding],
        [3, 0],
    ]
    assert sequence.histories(ratings, ratings, length=1)[2].tolist() == [0]
    examples, kept = sequence.with_history(ratings, ratings, length=2)
    assert examples.movie_index.tolist() == [0, 1, 2]
    assert sequence.last_movies(kept, padding).tolist() == [3, 0, 0]


def test_demo_compares_exports_and_serves(run, tmp_path):
    figures = run("demo", "--epochs=4", f"--export-dir={tmp_path}")
    tables, deep_hash = figures["tables"], figures["deep hash"]
    # A quarter of the tables' parameters, and at least 95 % of that quarter.
    rows = tables["parameters"] - 2 * 32  # without those for unknown ids
    assert 0.95 * rows / 4 <= deep_hash["parameters"] <= rows / 4
    for name in ("all @10", "all @100"):
        assert figures["popularity"][name] < deep_hash[name] <= 1
    # The server answered for a known and for an unknown user.
    answer = figures["answer"]
    assert np.shape(answer["scores"]) == np.shape(answer["ids"]) == (2, 5)
    assert all(movie.startswith("item_") for movie in np.ravel(answer["ids"]))
    assert answer["ids"][0] != answer["ids"][1]
    assert (tmp_path / "1" / "saved_model.pb").is_file()


SMALL_SESSIONS = ("--num-sessions=2500", "--num-items=300", "--epochs=4")


def assert_next_item(figures, model):
    full, mach = figures["full softmax"], figures[model]
    assert mach["head"] <= full["head"] / 4
    for metric in ("recall@20", "MRR@20"):
        for name in (model, "full softmax"):
            assert figures["most frequent items"][metric] < figures[name][metric] <= 1
    # The SavedModel answers, without this package, as the model does.
    scores, ids = figures["expected"]
    assert figures["answer"]["ids"] == ids.numpy().tolist()
    np.testing.assert_allclose(figures["answer"]["scores"], scores, rtol=1e-5)


def test_next_item_beats_popularity_and_is_served(load_example, capsys):
    figures = load_example("next_item").main(SMALL_SESSIONS)
    assert_next_item(figures, "MACH, in_batch")
    mach, full = figures["MACH, in_batch"], figures["full softmax"]
    # The rest of the models is the same; Adam has two numbers for each weight.
    saved = full["head"] - mach["head"]
    assert full["parameters"] - mach["parameters"] == saved
    assert abs(full["kB"] - mach["kB"] - 3 * 4 * saved / 1000) <= 1
    assert "recall@20" in capsys.readouterr().out


def test_next_item_on_files_with_one_table(load_example, tmp_path):
    sessions = datasets.make_synthetic_sessions(num_sessions=2500, num_items=300)
    sessions, test = sessions.split_last(500)
    (tmp_path / "train_sessions.txt").write_text(
        "".join(" ".join(map(str, items)) + "\n" for items in sessions)
    )
    (tmp_path / "test.tsv").write_text(
        "".join(
            " ".join(map(str, items[:-1])) + f"\t{items[-1]}\n"
            for items in test
            if len(items) > 1
        )
    )
    figures = load_example("next_item").main(
        [
            f"--data-dir={tmp_path}",
            "--objective=softmax",
            "--tied",
            "--epochs=4",
            "--num-test=1000",
        ]
    )
    assert_next_item(figures, "MACH, softmax")


def test_repetitions_are_better_together(run, capsys):
    figures = run("repetitions", "--epochs=2", "--num-repetitions=2")
    assert "2 of 2 models are finished" in capsys.readouterr().out
    for repetition in (0, 1):
        assert_recalls(figures, "merged", f"repetition {repetition}")
