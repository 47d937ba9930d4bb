"""Training on as time goes by: the parts, growing tables and what is measured."""

import json
from pathlib import Path

import data
import grid
import numpy as np
import pytest
import stream
import stream_table
import tensorflow as tf
from growing_table import GrowingTable

NUM_ROWS = 2_000


def interactions() -> data.Interactions:
    """Ratings whose users and items all come in the order of their numbers."""
    generator = np.random.default_rng(0)
    times = np.arange(NUM_ROWS)
    users = (times // 10 + generator.integers(0, 10, NUM_ROWS)).astype(str)
    items = (times // 20 + generator.integers(0, 30, NUM_ROWS)).astype(str)
    return data.Interactions(users, items, np.ones(NUM_ROWS, np.float32))


def test_parts_follow_one_another_and_know_no_later_items() -> None:
    read = interactions()
    found = stream.moments(read)
    assert [len(part.train) for part in found] == [1000, 200, 200, 200, 200]
    start = 0
    for part in found:
        end = start + len(part.train)
        ids = part.item_ids[part.train.items]
        np.testing.assert_array_equal(ids, read.items[start:end])
        seen = set(read.items[:end])
        assert set(part.item_ids[part.candidates]) == seen
        tested = part.test
        is_positive = tested.labels == 1
        next_items = read.items[end : end + 200]
        np.testing.assert_array_equal(
            part.item_ids[tested.items[is_positive]], next_items
        )
        negatives = set(part.item_ids[tested.items[~is_positive]])
        assert negatives <= seen | set(next_items)
        start = end


def test_a_growing_table_gives_rows_to_those_that_arrive() -> None:
    table = GrowingTable(4, np.array([7, 9]), capacity=5)
    ids = tf.constant([7, 9, 11, 13], tf.int64)
    before = table(ids).numpy()
    assert table.num_rows == 3
    np.testing.assert_array_equal(before[2], before[3])
    assert len(np.unique(before, axis=0)) == 3
    table.rows.assign(tf.ones_like(table.rows))
    table.grow(np.array([11, 7, 11]))
    after = table(ids).numpy()
    assert table.num_rows == 4
    # What was known stays, and a new row is no trained one.
    np.testing.assert_array_equal(after[[0, 1, 3]], np.ones([3, 4]))
    assert np.all(np.abs(after[2]) <= 0.05)
    with pytest.raises(ValueError, match="`ids` has 2 new ones, and there is room"):
        table.grow(np.array([20, 21]))


def test_rare_ids_may_be_left_to_the_row_of_all() -> None:
    table = GrowingTable(4, np.array([7]), capacity=5, min_count=2)
    table.grow(np.array([9, 11, 11, 7]))
    rows = table(tf.constant([0, 7, 9, 11], tf.int64)).numpy()
    assert table.num_rows == 3
    np.testing.assert_array_equal(rows[0], rows[2])
    assert len(np.unique(rows, axis=0)) == 3


def test_training_on_helps_where_ids_are_new(tmp_path: Path) -> None:
    # User u takes items of its own parity alone, so that there is much to learn.
    generator = np.random.default_rng(0)
    users = np.arange(6_000) // 100 + generator.integers(0, 20, 6_000)
    items = 2 * generator.integers(0, 20, 6_000) + users % 2
    read = data.Interactions(users.astype(str), items.astype(str), np.ones(6_000))
    parts = stream.moments(read)
    run = grid.Run(
        "stream",
        "gmf",
        "growing_table",
        1,
        epochs=15,
        batch_size=64,
        learning_rate=0.02,
    )
    result = stream.measure(run, parts, lambda *_: None)
    found = [
        [part[way]["item"]["all"]["auc"] for way in ("stale", "trained on")]
        for part in result["parts"]
    ]
    assert len(found) == 4
    stale, trained = np.array(found)[-1]
    assert trained > stale + 0.1
    num_users = len(np.unique(users[: 9 * 600]))
    assert result["parameters"] == 32 * (num_users + 1 + 40 + 1)

    path = tmp_path / "stream.jsonl"
    line = {"method": "growing_table", "share": 1, **result}
    path.write_text(f"{json.dumps(line)}\n{json.dumps(line)}\n")
    row = stream_table.table(path).splitlines()[-1]
    assert f"| {np.mean(found, axis=0)[1]:.4f} ± 0.0000 |" in row


def test_settings_are_the_best_of_the_study_at_one_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.jsonl"
    base = {"data": "movietweetings", "model": "gmf", "method": "table", "share": 1}
    base |= {"seed": 0, "epochs": 15, "batch_size": 4096, "learning_rate": 0.005}
    lines = [
        base | {"weight_decay": 0.1, "validation": [0.7]},
        base | {"weight_decay": 0.3, "validation": [0.8]},
        base | {"weight_decay": 0.1, "validation": [0.9], "schedule": "cosine"},
        base | {"weight_decay": 1.0, "validation": [0.95], "epochs": 45},
        base | {"weight_decay": 1.0, "validation": [0.95], "data": "ciao"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(stream, "TUNED", path)
    for method in ("table", "growing_table"):
        found = stream.settings_of(method, 1)
        assert found["weight_decay"] == 0.3
        assert found["schedule"] == "constant"
        run = grid.Run("movietweetings", "gmf", method, 1, **found)
        assert (run.learning_rate, run.epochs) == (0.005, 15)
    assert stream.settings_of("dedicated", 1) == {}
