"""The example of extreme classification, on small data."""

import json

import numpy as np
import pytest

from tfrs_dhe import datasets

NUM_EXAMPLES, NUM_LABELS, HIDDEN_DIM = 4_000, 300, 64
SMALL = (
    f"--num-examples={NUM_EXAMPLES}",
    f"--num-labels={NUM_LABELS}",
    f"--hidden-dim={HIDDEN_DIM}",
    "--batch-size=64",
    "--epochs=6",
)


def test_mach_is_about_as_good_as_one_vs_all_and_serves(load_example, tmp_path):
    output = tmp_path / "figures.json"
    figures = load_example("extreme").main(
        [*SMALL, f"--export-dir={tmp_path}", f"--output={output}"]
    )
    one_vs_all, mach = figures["one-vs-all"], figures["MACH"]
    # Of 1,000 texts each. The standard deviation of the difference of two precisions
    # is at most 2.2 points, if they are independent, which on the same texts is the
    # worst case; MACH may lose twice that.
    for k in (1, 3, 5):
        assert mach[f"P@{k}"] > 2 * figures["popularity"][f"P@{k}"]
        assert mach[f"P@{k}"] > one_vs_all[f"P@{k}"] - 2 * np.sqrt(2 * 0.25 / 1_000)
    # Four repetitions of 30 buckets, and a weight and a bias for each.
    assert one_vs_all["outputs"] == NUM_LABELS
    assert mach["outputs"] == 4 * 30
    assert mach["head's parameters"] == 4 * 30 * (HIDDEN_DIM + 1)
    trunk = 5_000 * HIDDEN_DIM + HIDDEN_DIM
    for model in (one_vs_all, mach):
        assert model["parameters"] == trunk + model["head's parameters"]
        # Adam has two numbers for each.
        assert abs(model["kB"] - 3 * 4 * model["parameters"] / 1000) <= 1

    scores, labels = figures["expected"]
    assert figures["answer"]["ids"] == labels.numpy().tolist()
    np.testing.assert_allclose(figures["answer"]["scores"], scores, rtol=1e-5)
    assert (tmp_path / "1" / "saved_model.pb").is_file()
    stored = json.loads(output.read_text())
    assert stored == {name: figures[name] for name in stored}
    assert set(stored) == {"one-vs-all", "MACH", "popularity"}


def test_files_of_a_folder_and_hashed_features(load_example, tmp_path, capsys):
    datasets.make_synthetic_xml(
        tmp_path, num_train=300, num_test=60, num_features=90, num_labels=40, seed=1
    )
    figures = load_example("extreme").main(
        [
            f"--data-dir={tmp_path}",
            "--feature-bins=50",
            "--hidden-dim=8",
            "--num-repetitions=5",
            "--num-buckets=6",
            "--epochs=1",
        ]
    )
    # The trunk has as many columns as bins, whatever the number of features.
    assert figures["MACH"]["parameters"] == 50 * 8 + 8 + 30 * 9
    assert figures["answer"]["ids"] == figures["expected"][1].numpy().tolist()
    printed = capsys.readouterr().out
    assert "300 texts to train and 60 to test on, 90 features, 40 labels" in printed
    assert "R = 5 repetitions of B = 6 buckets" in printed


def test_precisions_by_hand(load_example):
    test = datasets.SparseExamples(
        feature_splits=np.zeros(4, int),
        feature_ids=np.zeros(0, int),
        feature_values=np.zeros(0, np.float32),
        label_splits=np.array([0, 2, 2, 3]),
        labels=np.array([8, 3, 0]),
        num_features=1,
        num_labels=9,
    )
    extreme = load_example("extreme")
    found = np.array([[3, 1, 8, 2, 4], [0, 1, 2, 3, 4], [8, 7, 6, 5, 0]])
    assert extreme.precisions(found, test) == pytest.approx(
        {"P@1": 1 / 3, "P@3": 2 / 9, "P@5": 3 / 15}
    )
    # 8, 3 and 0 occur once each, and of equals the first comes first.
    assert extreme.popularity(test, test) == pytest.approx(
        {"P@1": 1 / 3, "P@3": 3 / 9, "P@5": 3 / 15}
    )


def test_refuses_files_that_do_not_fit(load_example, tmp_path):
    main = load_example("extreme").main
    with pytest.raises(SystemExit, match=r"one \*train\.txt in .*, found 0"):
        main([f"--data-dir={tmp_path}"])
    for name, header in (("train", "1 5 9"), ("test", "1 5 8")):
        (tmp_path / f"{name}.txt").write_text(f"{header}\n3 1:1\n")
    with pytest.raises(SystemExit, match="differ in features or labels"):
        main([f"--data-dir={tmp_path}"])
