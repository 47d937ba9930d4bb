"""Properties of encodings whose figures follow from formulas."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.pictures import assert_picture
from tfrs_dhe.analysis import compare_encodings, encoding_properties
from tfrs_dhe.layers import DeepHashEmbedding, DenseHashEncoding

# U, E-S, H-D, H-S, by the definitions of Kang et al., KDD 2021, section 3.1.
TABLE = {
    "identity": (True, False, False, True),
    "binary": (True, False, False, True),
    "one-hot": (True, True, True, False),
    "one-hot hash": (False, True, True, False),
    "double one-hot hash": (False, False, True, False),
    "dense hash": (True, True, True, True),
}


@pytest.fixture(scope="module")
def table() -> Any:
    return compare_encodings(np.arange(1024))


def test_table_of_the_paper(table: Any) -> None:
    marks = {row.name: row.marks for row in table.rows}
    assert marks == TABLE


def test_one_hot_by_formula(table: Any) -> None:
    row = table["one-hot"]
    assert (row.width, row.num_shared) == (1024, 0)
    # All pairs are equally far apart: a regular simplex.
    assert row.similarity_range == pytest.approx((-1 / 1023, -1 / 1023), abs=1e-6)
    assert row.similarity_deviation < 1e-6
    p = 1 / 1024
    entropy = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    assert row.entropy == pytest.approx(entropy)
    assert row.entropy_range == pytest.approx((entropy, entropy))
    assert row.max_entropy == 1


def test_binary_by_formula(table: Any) -> None:
    row = table["binary"]
    # Over all 2^10 words, b digits that differ make a cosine of 1 - 2 b / 10.
    assert row.width == 10
    assert row.entropy_range == pytest.approx((1, 1))
    assert row.similarity_range == pytest.approx((-1, 0.8))
    few = compare_encodings(np.arange(16), num_compared=16)["binary"]
    cosines = [1 - 2 * bin(i ^ j).count("1") / 4 for i in range(16) for j in range(i)]
    assert few.similarity_mean == pytest.approx(np.mean(cosines))
    assert few.similarity_deviation == pytest.approx(np.std(cosines))
    assert few.effective_width == pytest.approx(4)


def test_identity_by_formula(table: Any) -> None:
    row = table["identity"]
    assert row.width == 1
    assert row.entropy == pytest.approx(10)
    assert row.similarity_range == pytest.approx((-1, 1))
    assert row.effective_width == pytest.approx(1)


def test_hashed_one_hot_shares_as_balls_in_bins(table: Any) -> None:
    # 1024 balls in 256 bins: an id is alone with a probability of (1 - 1/256)^1023.
    alone = 1024 * (1 - 1 / 256) ** 1023
    row = table["one-hot hash"]
    assert abs(row.num_shared - (1024 - alone)) < 4 * math.sqrt(2 * alone)
    assert row.width == 256
    # Of 1024 * 1023 / 2 pairs, one in 256^2 shares both: 8 pairs.
    double = table["double one-hot hash"]
    assert double.width == 512
    assert abs(double.num_shared - 16) <= 2 * 4 * math.sqrt(8)
    assert double.similarity_range[1] == pytest.approx(0.5, abs=0.02)


def test_dense_hash_is_as_similar_as_independent_vectors(table: Any) -> None:
    row = table["dense hash"]
    pairs = 1000 * 999 / 2
    # Cosines of independent centred vectors of k numbers have the mean 0, but for the
    # centring, and the variance 1 / k.
    assert abs(row.similarity_mean + 1 / 1023) < 4 / math.sqrt(1024 * pairs)
    assert row.similarity_deviation**2 == pytest.approx(
        1 / 1024, rel=1 / 1024 * 2 + 4 * math.sqrt(2 / pairs)
    )
    assert row.width == 1024
    # 1024 of a million values collide in about one pair of two: -0.001 bits.
    assert 10 - row.entropy < 0.002


def test_a_wrong_encoding_is_found_out() -> None:
    # The public code that the paper's readers copied: x and x + p are one id.
    def modulo(keys: tf.Tensor) -> tf.Tensor:
        return tf.cast(keys % 1_000_003, tf.float32)[:, tf.newaxis] * tf.ones([1, 64])

    ids = np.array([5, 5 + 1_000_003, 7])
    row = encoding_properties(modulo, ids)
    assert (row.num_shared, row.name) == (2, "modulo")
    constant = encoding_properties(lambda keys: tf.ones([len(keys), 3]), ids)
    assert constant.num_shared == 3
    assert math.isnan(constant.similarity_mean)
    assert constant.marks == (False, False, False, False)


@pytest.mark.parametrize("distribution", ["uniform", "gaussian"])
def test_layers_and_strings(distribution: str) -> None:
    ids = [f"user_{i}" for i in range(300)]
    layer = DeepHashEmbedding(4, 8, num_hashes=512, distribution=distribution)
    of_layer = encoding_properties(layer, ids)
    encoding = DenseHashEncoding(512, distribution=distribution)
    assert of_layer.marks == (True, True, True, True)
    assert (
        of_layer.similarity_range == encoding_properties(encoding, ids).similarity_range
    )


@pytest.mark.parametrize(
    ("encoding", "ids", "message"),
    [
        (DenseHashEncoding(8), [1, 2, 1], "all distinct. Received: 3 ids, 2 of them"),
        (DenseHashEncoding(8), [1], "`ids` must be at least two"),
        (DenseHashEncoding(8), [0.5, 1.5], "`ids` must be strings or integers"),
        (DenseHashEncoding(8), [[1, 2]], "`ids` must be a list"),
        ("hash", [1, 2], "`encoding` must be a layer or function"),
        (lambda keys: keys, [1, 2], r"shape \[2, width\].*Received: shape \(2,\)"),
        (lambda keys: tf.fill([2, 3], np.nan), [1, 2], "must give finite floats"),
    ],
)
def test_errors_name_the_argument(encoding: Any, ids: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoding_properties(encoding, ids)


def test_table_and_picture(table: Any, tmp_path: Path) -> None:
    assert "dense hash" in str(table)
    assert table.markdown().count("\n") == 7
    assert str(table["binary"]).startswith("1,024 ids")
    with pytest.raises(KeyError, match="'other' is none of"):
        table["other"]
    assert_picture(
        table.plot(tmp_path / "a.b"),
        "Shannon entropy of a dimension, bits",
        "dense hash",
    )
    assert (tmp_path / "a.b.png").exists()
    assert_picture(table["binary"].plot(tmp_path / "c"), "binary", "measured")
