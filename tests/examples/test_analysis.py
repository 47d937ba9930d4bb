"""The examples of analyses run on small data, and find what is in it."""

import math
import sys

import pytest

from tests.examples.conftest import EXAMPLES


@pytest.fixture
def run(load_example, monkeypatch, tmp_path):
    """Returns a function that runs an example's `main` and returns its results."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "analysis"))
    monkeypatch.delitem(sys.modules, "movies", raising=False)

    def run_main(name, *arguments):
        small = ["--num-ratings=24000", f"--output={tmp_path}"]
        return load_example(f"analysis/{name}").main([*small, *arguments])

    return run_main


def pictures(folder):
    return {path.name for path in folder.rglob("*") if path.suffix in (".png", ".svg")}


def test_encodings(run, tmp_path):
    table = run("encodings", "--num-ids=600")
    assert [row.name for row in table.rows if all(row.marks)] == ["dense hash"]
    assert pictures(tmp_path) == {"encodings.png", "encodings.svg"}


def test_distributions(run, tmp_path):
    found, sizes = run("distributions")
    assert found["user_id"].num_ids == 600
    assert found["movie_id"].num_occurrences == 24_000
    assert sizes.plan is not None
    assert len(pictures(tmp_path)) == 6


def test_explanations(run, tmp_path):
    answers, embedding, agreement = run("explanations", "--epochs=2")
    assert {type(one).__name__ for one in answers} == {
        "Explanation",
        "ErrorExplanation",
    }
    assert {effect.name for effect in embedding.effects} == {"id", "side features"}
    (pair,) = agreement.pairs
    assert 0 < pair.neighbors < 1
    assert {"embedding.png", "seeds.png"} <= pictures(tmp_path)


def test_new_items(run, tmp_path):
    stages, ages = run("new_items", "--epochs=6")
    own, borrowed, _, anew, _ = stages.stages.values()
    assert own.new.num_examples == anew.new.num_examples > 50
    # By their own buckets new movies are where chance puts them, or behind; by those of
    # similar ones, or by training on them, they are ahead of that.
    assert borrowed.new.percentile < own.new.percentile
    assert anew.new.percentile < own.new.percentile
    for age in ages.values():
        assert age.unseen[0] < age.unseen[-1]
    age = ages["own buckets"]
    assert age.quality[0] > age.quality[-1]
    assert "new_items.svg" in pictures(tmp_path)


def test_drift(run, tmp_path):
    reports = run("drift", "--epochs=2")
    assert reports["training"].ids.psi == 0
    assert reports["later"].ids.unseen_share > 0.05
    assert any("unseen" in alert for alert in reports["later"].alerts)
    assert (tmp_path / "drift" / "drift.md").exists()
    assert list((tmp_path / "logs").glob("events.out.tfevents.*"))


def test_sensitivity(run, tmp_path):
    results = run("sensitivity", "--small", "--seeds=1", "--data-share=1")
    for name, setting in (("mach", "num_buckets"), ("dhe", "num_hashes")):
        points = results[name].points
        assert len({point.settings[setting] for point in points}) == len(points) == 2
        assert all(0 < point.quality < 1 for point in points)
        assert math.isfinite(results[name].recommended().num_bytes)
        assert f"sweep_{name}.png" in pictures(tmp_path)
