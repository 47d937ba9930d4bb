"""The report against what materializing does."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.layers import DeepHashEmbedding
from tfrs_dhe.layers._key_index import KEY_INDEXES

IDS = ["a"] * 5 + ["b"] * 3 + ["c", "d"]


@pytest.fixture(name="layer")
def make() -> DeepHashEmbedding:
    layer = DeepHashEmbedding(4, hidden_dim=8, num_hidden_layers=2, num_hashes=32)
    layer(tf.constant(["a"]), training=False)
    return layer


@pytest.mark.parametrize(
    "ids",
    [
        IDS,
        tf.reshape(tf.constant(IDS), [5, 2]),
        tf.data.Dataset.from_tensor_slices(IDS),
        tf.data.Dataset.from_tensor_slices(IDS).batch(4),
    ],
    ids=["list", "tensor", "data set", "batches"],
)
def test_counts_the_traffic(layer: DeepHashEmbedding, ids: object) -> None:
    report = layer.materialization_report(ids, num_rows=[4, 1, 2])
    assert report.num_ids == 4
    assert [row.num_rows for row in report.coverage] == [1, 2, 4]
    assert [row.share for row in report.coverage] == pytest.approx([0.5, 0.8, 1.0])


def test_counts_may_be_given(layer: DeepHashEmbedding) -> None:
    report = layer.materialization_report(counts=[1, 5, 0, 3, 1])
    assert [row.num_rows for row in report.coverage] == [5]
    report = layer.materialization_report(counts=np.ones(10_000))
    assert [row.num_rows for row in report.coverage] == [10, 100, 1000, 10_000]
    assert report.coverage[1].share == pytest.approx(0.01)
    assert report.errors is None


@pytest.mark.parametrize("key_index", ["hash_table", "sorted"])
def test_bytes_are_those_of_rows_and_index(
    layer: DeepHashEmbedding, key_index: str
) -> None:
    ids = np.arange(3000)
    row = layer.materialization_report(ids, key_index=key_index).coverage[-1]
    for dtype, num_bytes in row.num_bytes.items():
        stored: dict[str, np.ndarray] = {}
        served = layer.materialize(ids, dtype, key_index=key_index)
        served.save_own_variables(stored)
        keys = stored.pop("keys")
        rows = sum(array.nbytes for array in stored.values())
        bytes_per_key = KEY_INDEXES[key_index].BYTES_PER_KEY
        assert num_bytes == rows + bytes_per_key * len(keys)
        if key_index == "sorted":
            assert num_bytes == rows + keys.nbytes


def test_errors_are_those_of_materialized_rows(layer: DeepHashEmbedding) -> None:
    errors = layer.materialization_report(IDS).errors
    assert errors is not None
    for dtype, expected in errors.items():
        actual = layer.materialize(IDS, dtype).error(["a", "b", "c", "d"])
        assert actual.max_absolute == pytest.approx(expected.max_absolute, abs=1e-6)
        assert actual.mean_relative == pytest.approx(expected.mean_relative, abs=1e-6)
    assert errors["float32"].max_absolute == 0
    assert errors["int8"].max_absolute > errors["float32"].max_absolute


def test_prints_a_table(layer: DeepHashEmbedding) -> None:
    lines = str(layer.materialization_report(IDS, num_rows=[2])).splitlines()
    assert lines[0] == "4 ids"
    assert lines[2].split()[:2] == ["2", "80.0%"]
    assert [line.split()[0] for line in lines[4:]] == [
        "float32",
        "bfloat16",
        "int8",
        "int4",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Received: none"),
        ({"ids": ["a"], "counts": [1]}, "Received: both"),
        ({"ids": [1.5]}, "`ids` must be strings or integers"),
        ({"ids": tf.data.Dataset.from_tensors(("a", "b"))}, "choose the feature"),
        ({"ids": np.zeros([0], np.int64)}, "`ids` must be at least one"),
        ({"counts": [-1, 2]}, "`counts` must be how often"),
        ({"counts": [0, 0]}, "`counts` must be how often"),
        ({"counts": [np.nan]}, "`counts` must be how often"),
        ({"counts": ["a"]}, "`counts` must be how often"),
        ({"counts": [1, 2], "num_rows": [3]}, "`num_rows` must be numbers of rows"),
        ({"counts": [1, 2], "num_rows": []}, "`num_rows` must be numbers of rows"),
    ],
)
def test_wrong_arguments(
    layer: DeepHashEmbedding, arguments: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layer.materialization_report(**arguments)


def test_layer_with_side_features_needs_counts() -> None:
    layer = DeepHashEmbedding(4, hidden_dim=8, num_hidden_layers=1, num_hashes=8)
    layer(tf.constant([1]), side_features=tf.ones([1, 2]), training=False)
    with pytest.raises(ValueError, match="side features, of which the layer has 2 "):
        layer.materialization_report(ids=[1, 1, 2])
    assert layer.materialization_report(counts=[2, 1]).num_ids == 2
