"""Training from files, on data small enough to look at."""

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def example(load_example):
    return load_example("out_of_core")


def read_ids(paths):
    """Returns the users and items of files [n, 2]."""
    return np.array(
        [
            [
                feature[name].bytes_list.value[0].decode()
                for name in ("user_id", "item_id")
            ]
            for record in tf.data.TFRecordDataset([str(path) for path in paths])
            for feature in [
                tf.train.Example.FromString(record.numpy()).features.feature
            ]
        ]
    )


def test_model_beats_chance_and_every_id_has_a_row_in_its_place(example, tmp_path):
    items, shards = 1030, 4
    args = example.parse(
        [
            f"--directory={tmp_path}",
            "--num-interactions=30000",
            f"--num-items={items}",
            f"--num-shards={shards}",
            "--embedding-batch-size=100",  # No divisor of the rows of a file.
        ]
    )
    model, figures = example.run(args)
    assert figures["test"]["by chance"] < figures["test"]["in-batch top 10"] <= 1
    assert figures["training, interactions"]["peak MB"] > 0

    files = [
        np.load(tmp_path / f"embeddings-{shard:05d}-of-{shards:05d}.npy")
        for shard in range(shards)
    ]
    texts = [
        (tmp_path / f"ids-{shard:05d}-of-{shards:05d}.txt").read_text()
        for shard in range(shards)
    ]
    assert [len(rows) for rows in files] == [text.count("\n") for text in texts]
    ids = "".join(texts).splitlines()
    assert ids == [f"item-{i}" for i in range(items)]
    # Of the strings themselves, by the model as it was trained.
    expected = model.item_model(tf.constant(ids), training=False).numpy()
    # Three layers' sums of at most 256 float32, folded and in another order.
    rounding = 3 * 256 * 2.0**-24 * np.abs(expected).max()
    np.testing.assert_allclose(np.concatenate(files), expected, rtol=0, atol=rounding)


def test_every_interaction_is_in_one_file_and_every_id_occurs(example, tmp_path):
    arguments = ["--num-interactions=1001", "--num-items=300", "--num-shards=3"]
    args = example.parse([f"--directory={tmp_path}", *arguments])
    paths = example.write_interactions(args)
    ids = read_ids(paths)
    assert len(ids) == 1001
    assert set(ids[:, 1]) == {f"item-{i}" for i in range(300)}
    numbers = np.array([[int(x.partition("-")[2]) for x in row] for row in ids])
    assert (np.ptp(numbers % example.NUM_TOPICS, axis=1) == 0).all()


def test_files_of_a_killed_run_are_completed(example, tmp_path):
    arguments = ["--num-interactions=200", "--num-items=50", "--num-shards=4"]
    args = example.parse([f"--directory={tmp_path}", *arguments])
    paths = example.write_interactions(args)
    contents = [path.read_bytes() for path in paths]
    paths[1].unlink()
    paths[2].write_bytes(b"kept as it is")
    example.write_interactions(args)
    assert [path.read_bytes() for path in paths] == [
        *contents[:2],
        b"kept as it is",
        contents[3],
    ]


def test_batches_hold_each_interaction_once(example, tmp_path):
    arguments = ["--num-interactions=120", "--num-items=50", "--num-shards=4"]
    sizes = ["--batch-size=8", "--shuffle-buffer=10"]
    args = example.parse([f"--directory={tmp_path}", *arguments, *sizes])
    paths = example.write_interactions(args)
    batches = list(example.read_interactions(paths, args))
    read = [np.stack([b["user_id"], b["item_id"]], axis=1) for b in batches]
    assert {len(rows) for rows in read} == {8}
    keys = example.tfrs_dhe.hashing.int64_keys(tf.constant(read_ids(paths))).numpy()
    assert sorted(map(tuple, np.concatenate(read))) == sorted(map(tuple, keys))
    assert not np.array_equal(np.concatenate(read), keys)
