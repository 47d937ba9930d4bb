"""The one-hot family against its formulas, with hashes taken from `hashing`."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import (
    BloomEmbedding,
    CompositionalEmbedding,
    DoubleHashEmbedding,
    HashEmbedding,
    HashingTrickEmbedding,
    VocabularyEmbedding,
)

IDS = np.array([f"id-{i}" for i in range(200)], dtype=object)
KEYS = hashing.int64_keys(tf.constant(IDS))
NORMAL = "random_normal"

#: All, with a way to make each of a budget.
BY_BUDGET = {
    "vocabulary": lambda **kw: VocabularyEmbedding(8, IDS, **kw),
    "hashing_trick": lambda **kw: HashingTrickEmbedding(8, **kw),
    "bloom": lambda **kw: BloomEmbedding(8, **kw),
    "double_hash": lambda **kw: DoubleHashEmbedding(8, **kw),
    "double_hash-concat": lambda **kw: DoubleHashEmbedding(8, combiner="concat", **kw),
    "hash_embedding": lambda **kw: HashEmbedding(8, **kw),
    "hash_embedding-rows": lambda **kw: HashEmbedding(8, num_importance_rows=20, **kw),
    "compositional": lambda **kw: CompositionalEmbedding(8, IDS, **kw),
}


def buckets(num_hashes: int, num_buckets: int, seed: int) -> np.ndarray:
    hashes = hashing.universal_hash(KEYS, num_hashes, num_buckets, seed=seed)
    return hashes.numpy() - 1


def tables(layer: Any) -> list[np.ndarray]:
    layer(IDS[:1])
    return [np.asarray(weight) for weight in layer.get_weights()]


def test_vocabulary() -> None:
    layer = VocabularyEmbedding(4, IDS[:9], embeddings_initializer=NORMAL)
    (table,) = tables(layer)
    assert table.shape == (10, 4)
    np.testing.assert_array_equal(layer(IDS[:9]), table[1:])
    np.testing.assert_array_equal(layer(IDS[9:]), np.tile(table[:1], (191, 1)))


def test_vocabulary_of_integers() -> None:
    ids = np.array([2**62, -5, 0, 7])
    layer = VocabularyEmbedding(4, ids)
    (table,) = tables_of_integers(layer)
    np.testing.assert_array_equal(layer(ids), table[1:])
    np.testing.assert_array_equal(layer(np.array([7, 8], np.int32)), table[[4, 0]])


@pytest.mark.parametrize(
    "vocabulary",
    [
        ["ü", "a"],
        np.array(["ü", "a"]),
        np.array(["ü".encode(), b"a"], dtype=object),
        ("ü".encode(), b"a"),
        tf.constant(["ü", "a"]),
    ],
)
def test_vocabularies_of_strings_of_any_kind(vocabulary: Any) -> None:
    layer = VocabularyEmbedding(4, vocabulary)
    assert layer.vocabulary == ["ü", "a"]
    (table,) = tables(layer)
    np.testing.assert_array_equal(layer(tf.constant(["a", "ü", "b"])), table[[2, 1, 0]])


def tables_of_integers(layer: Any) -> list[np.ndarray]:
    layer(tf.constant([0]))
    return [np.asarray(weight) for weight in layer.get_weights()]


def test_integers_of_64_bits_without_a_sign() -> None:
    ids = np.array([2**64 - 1, 2**63, 5], np.uint64)
    layer = VocabularyEmbedding(4, ids)
    (table,) = tables_of_integers(layer)
    np.testing.assert_array_equal(layer(tf.constant(ids)), table[1:])
    np.testing.assert_array_equal(layer(tf.constant([-1, 6])), table[[1, 0]])


@pytest.mark.parametrize(
    "vocabulary", [["[UNK]", "a"], ["a", "[UNK]", "[UNK]]"], [-1, -2], [7, -1]]
)
def test_the_ids_that_keras_reserves_are_ids(vocabulary: list[Any]) -> None:
    layer = VocabularyEmbedding(4, vocabulary)
    outputs = layer(tf.constant(vocabulary))
    (table,) = layer.get_weights()
    np.testing.assert_array_equal(outputs, table[1:])


def test_floats_are_no_ids_of_a_vocabulary_of_integers() -> None:
    for layer in (
        VocabularyEmbedding(4, [1, 2]),
        CompositionalEmbedding(4, [1, 2], 2),
    ):
        with pytest.raises(ValueError, match="`ids` must be integers"):
            layer(tf.constant([1.0]))


def test_a_budget_keeps_the_first_ids_of_a_vocabulary() -> None:
    layer = VocabularyEmbedding(4, IDS, parameter_budget=0.1, table_shape=(200, 4))
    assert layer.vocabulary == IDS[:19].tolist()
    assert VocabularyEmbedding.from_config(layer.get_config()).vocabulary == (
        layer.vocabulary
    )


def test_hashing_trick() -> None:
    layer = HashingTrickEmbedding(4, 11, seed=5, embeddings_initializer=NORMAL)
    (table,) = tables(layer)
    np.testing.assert_array_equal(layer(IDS), table[buckets(1, 11, 5)[:, 0]])


def test_signs_of_the_hashing_trick() -> None:
    layer = HashingTrickEmbedding(
        4, 11, signed=True, seed=5, embeddings_initializer=NORMAL
    )
    (table,) = tables(layer)
    unsigned = table[buckets(1, 11, 5)[:, 0]]
    ratios = np.unique(layer(IDS) / unsigned, axis=1)
    assert ratios.shape == (200, 1)
    assert set(ratios.ravel().tolist()) == {-1.0, 1.0}
    # 200 fair coins: six standard deviations are 42.
    assert abs(ratios.sum()) < 85
    # Signs do not follow from buckets: a bucket has both.
    together = {*zip(buckets(1, 11, 5)[:, 0], ratios[:, 0], strict=True)}
    assert len(together) == 22


def test_bloom_without_signs() -> None:
    layer = BloomEmbedding(
        4, 11, num_hashes=3, signed=False, seed=5, embeddings_initializer=NORMAL
    )
    (table,) = tables(layer)
    expected = table[buckets(3, 11, 5)].sum(axis=1)
    np.testing.assert_allclose(layer(IDS), expected, atol=1e-6)


def test_signs_of_bloom() -> None:
    """Each of the k rows has a fair sign of its own, in all 2^k combinations."""
    layer = BloomEmbedding(11, 11, num_hashes=3, seed=5)
    layer(IDS[:1])
    # Row i is the i-th unit vector, so that the sum tells who went into it.
    layer.set_weights([np.eye(11, dtype=np.float32)])
    sums = layer(IDS).numpy()
    chosen = buckets(3, 11, 5)
    distinct = np.array([len(set(row)) == 3 for row in chosen.tolist()])
    signs = np.take_along_axis(sums, chosen, axis=1)[distinct]
    assert set(signs.ravel().tolist()) == {-1.0, 1.0}
    assert np.all(np.count_nonzero(sums[distinct], axis=1) == 3)
    assert len(np.unique(signs, axis=0)) == 8
    # At most 600 fair coins: six standard deviations are 147.
    assert abs(signs.sum()) < 147


@pytest.mark.parametrize("combiner", ["sum", "multiply", "concat"])
def test_double_hash(combiner: str) -> None:
    layer = DoubleHashEmbedding(
        4, 11, combiner=combiner, seed=5, embeddings_initializer=NORMAL
    )
    first, second = tables(layer)
    assert not np.array_equal(first, second)
    rows = buckets(2, 11, 5)
    np.testing.assert_array_equal(
        layer(IDS), combined(first[rows[:, 0]], second[rows[:, 1]], combiner)
    )


def combined(first: np.ndarray, second: np.ndarray, combiner: str) -> np.ndarray:
    if combiner == "concat":
        return np.concatenate([first, second], axis=1)
    return first + second if combiner == "sum" else first * second


def test_hash_embedding() -> None:
    layer = HashEmbedding(
        4,
        11,
        num_hashes=3,
        num_importance_rows=17,
        seed=5,
        embeddings_initializer=NORMAL,
        importance_initializer=NORMAL,
    )
    components, importance = tables(layer)
    assert components.shape == (11, 4)
    assert importance.shape == (17, 3)
    rows = buckets(3, 11, 5)
    weights = importance[buckets(1, 17, hashing.derive_seed(5, "importance"))[:, 0]]
    expected = np.einsum("nk,nkd->nd", weights, components[rows])
    np.testing.assert_allclose(layer(IDS), expected, rtol=1e-5, atol=1e-8)


def test_importance_is_there_ten_times() -> None:
    components, importance = tables(HashEmbedding(4, 11))
    assert (len(components), importance.shape) == (11, (110, 2))
    np.testing.assert_array_equal(importance, 1)


@pytest.mark.parametrize("combiner", ["sum", "multiply", "concat"])
def test_compositional(combiner: str) -> None:
    layer = CompositionalEmbedding(
        4, IDS[:100], 13, combiner=combiner, embeddings_initializer=NORMAL
    )
    remainders, quotients = tables(layer)
    assert len(remainders) == 13
    assert len(quotients) == 8  # 101 numbers
    numbers = np.concatenate([np.arange(1, 101), np.zeros(100, int)])
    expected = combined(remainders[numbers % 13], quotients[numbers // 13], combiner)
    np.testing.assert_array_equal(layer(IDS), expected)
    assert len(np.unique(layer(IDS[:101]), axis=0)) == 101


@pytest.mark.parametrize("num_rows", [29, 30, 50, 101, 102, 200, 500])
def test_compositional_uses_its_budget(num_rows: int) -> None:
    layer = CompositionalEmbedding(4, IDS, parameter_budget=4 * num_rows)
    fitting = [m for m in range(2, 202) if m + -(-201 // m) <= num_rows]
    assert layer.num_remainders == max(fitting)
    assert layer.num_quotients == -(-201 // layer.num_remainders)


@pytest.mark.parametrize("name", BY_BUDGET)
@pytest.mark.parametrize("share", [0.35, 0.5, 1.0])
def test_budget_is_used_and_kept(name: str, share: float) -> None:
    layer = BY_BUDGET[name](parameter_budget=share, table_shape=(200, 8))
    count = sum(table.size for table in tables(layer))
    # Less than what one more row of the widest kind would cost.
    assert share * 1600 - 28 - 8 < count <= share * 1600
    again = type(layer).from_config(layer.get_config())
    assert [t.shape for t in tables(again)] == [t.shape for t in tables(layer)]


@pytest.mark.parametrize("name", BY_BUDGET)
def test_gradients_are_those_of_the_rows_that_were_read(name: str) -> None:
    layer = BY_BUDGET[name](parameter_budget=0.5, table_shape=(200, 8))
    layer(IDS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(IDS[:3]) ** 2)
    for gradient in tape.gradient(loss, layer.trainable_weights):
        assert isinstance(gradient, tf.IndexedSlices)


@pytest.mark.parametrize("name", BY_BUDGET)
def test_errors(name: str) -> None:
    make = BY_BUDGET[name]
    with pytest.raises(ValueError, match="`parameter_budget` is 7, but the smallest"):
        make(parameter_budget=7)
    with pytest.raises(ValueError, match="`table_shape` says what"):
        make(table_shape=(3, 3))
    with pytest.raises(ValueError, match="`seed`"):
        make(parameter_budget=800, seed=-1)
    with pytest.raises(ValueError, match="`mask_value` must be the string or integer"):
        make(parameter_budget=800, mask_value=1.5)
    layer = make(parameter_budget=800)
    with pytest.raises(ValueError, match="`side_features` have no place"):
        layer(IDS, side_features=np.ones([200, 1]))
    with pytest.raises(ValueError, match="`ids` must be"):
        layer(tf.constant([1.0]))


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: HashingTrickEmbedding(8, **kw),
        lambda **kw: BloomEmbedding(8, **kw),
        lambda **kw: DoubleHashEmbedding(8, **kw),
        lambda **kw: HashEmbedding(8, **kw),
    ],
)
def test_errors_of_numbers_of_buckets(make: Any) -> None:
    with pytest.raises(ValueError, match="either by `num_buckets` or by"):
        make()
    with pytest.raises(ValueError, match="either by `num_buckets` or by"):
        make(num_buckets=10, parameter_budget=800)
    with pytest.raises(ValueError, match="`num_buckets` must be from 2"):
        make(num_buckets=1)


def test_errors_of_vocabularies() -> None:
    with pytest.raises(ValueError, match="2 ids, of which 1 are distinct"):
        VocabularyEmbedding(4, ["a", "a"])
    with pytest.raises(ValueError, match="`vocabulary` must have at least one id"):
        VocabularyEmbedding(4, np.array([], np.int64))
    with pytest.raises(ValueError, match="list of strings or integers"):
        CompositionalEmbedding(4, [1.5], 2)
    with pytest.raises(ValueError, match="list of strings or integers"):
        VocabularyEmbedding(4, np.array(["a", 1], dtype=object))
    with pytest.raises(ValueError, match="list of strings or integers"):
        VocabularyEmbedding(4, [["a"]])
    with pytest.raises(ValueError, match="must be a list of strings or integers"):
        VocabularyEmbedding(4, ["a", 1])
    for zero in (["a", "b\0"], [b"b\0"], np.array(["a", "b\0"], object)):
        with pytest.raises(ValueError, match=r"zero at their end.*'b\\x00'"):
            VocabularyEmbedding(4, zero)
    assert VocabularyEmbedding(4, ["a\0b", "\0a"]).vocabulary == ["a\0b", "\0a"]
    with pytest.raises(ValueError, match="utf-8"):
        VocabularyEmbedding(4, [b"\xff"])
    with pytest.raises(ValueError, match="`ids` must be strings, as the `vocabulary`"):
        VocabularyEmbedding(4, ["a"])(tf.constant([1]))
    with pytest.raises(ValueError, match="`num_remainders` must be at most 3"):
        CompositionalEmbedding(4, ["a", "b"], 4)
    with pytest.raises(ValueError, match="`output_dim` must be even"):
        CompositionalEmbedding(5, ["a", "b"], 2, combiner="concat")
    with pytest.raises(ValueError, match="`combiner` must be one of"):
        DoubleHashEmbedding(4, 3, combiner="mean")
