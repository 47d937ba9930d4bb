"""The index of a MACHHead's classes, against all scores written in NumPy."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import layers, mach
from tfrs_dhe._keras import is_legacy, keras, tfrs
from tfrs_dhe.layers.factorized_top_k import MACH, _tables
from tfrs_dhe.layers.factorized_top_k._indistinguishable import equal_columns

NUM_CLASSES = 60
DIM = 8
STRINGS = np.array([f"item {i}" for i in range(NUM_CLASSES - 2)] + ["", "ü"])
INTEGERS = np.arange(NUM_CLASSES) * 2**55 - 2**60
CATALOGUES = {
    "string": STRINGS,
    "int64": INTEGERS,
    "int32": np.arange(NUM_CLASSES, dtype=np.int32) - 7,
    "uint64": INTEGERS.astype(np.uint64),
    "uint8": np.arange(NUM_CLASSES, dtype=np.uint8),
}

every_catalogue = pytest.mark.parametrize("dtype", CATALOGUES)
either_catalogue = pytest.mark.parametrize("dtype", ["string", "int64"])


def make_head(**options: Any) -> Any:
    """A head whose softmax is far from flat."""
    arguments = {"num_buckets": 30, "num_repetitions": 3, "embedding_dim": DIM}
    initializer = keras.initializers.RandomNormal(stddev=0.7, seed=1)
    head = layers.MACHHead(**{**arguments, **options}, kernel_initializer=initializer)
    if head.bias is not None:
        head.bias.assign(np.linspace(-1, 1, head.bias.shape[0]))
    return head


def empty_index(head: Any = None, query_model: Any = None, **options: Any) -> MACH:
    # The other methods have graphs that take a while to make.
    arguments = {"k": 7, "method": "score_all", **options}
    return MACH(make_head() if head is None else head, query_model, **arguments)


def make_index(dtype: str = "string", **options: Any) -> MACH:
    return empty_index(**options).index(CATALOGUES[dtype])


def queries(num_queries: int = 5) -> tf.Tensor:
    numbers = np.random.default_rng(3).normal(size=(num_queries, DIM))
    return tf.constant(numbers, tf.float32)


def as_array(ids: Any) -> np.ndarray:
    return tf.convert_to_tensor(ids).numpy()


def all_scores(
    head: Any,
    vectors: Any,
    identifiers: Any,
    aggregation: str = "mean_log_probability",
    activation: str = "softmax",
) -> np.ndarray:
    """Scores of all classes by the definitions, in float64: [num_queries, K]."""
    kernel, bias = (np.asarray(w, np.float64) for w in (head.kernel, head.bias))
    logits = np.asarray(vectors, np.float64) @ kernel.T + bias
    logits = logits.reshape(len(logits), len(head.repetitions), head.num_buckets)
    if activation == "softmax":
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    else:
        probabilities = 1 / (1 + np.exp(-logits))
    buckets = as_array(head.bucket_ids(tf.constant(identifiers)))  # [K, R]
    repetitions = np.arange(len(head.repetitions))

    def of_classes(values: np.ndarray) -> np.ndarray:
        return values[:, repetitions, buckets]  # [num_queries, K, R]

    if aggregation == "mean_log_probability":
        return of_classes(np.log(probabilities)).mean(axis=-1)
    if aggregation == "mean_logit":
        return of_classes(logits).mean(axis=-1)
    if aggregation == "unbiased_mean":
        b = head.num_buckets
        return b / (b - 1) * (of_classes(probabilities).mean(axis=-1) - 1 / b)
    combine = {"min": np.min, "median": np.median}[aggregation]
    return combine(of_classes(probabilities), axis=-1)


def expected_top_k(scores: np.ndarray, identifiers: Any, k: int) -> Any:
    """The highest scores, of equal ones the first, and their identifiers."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), as_array(identifiers)[order]


def assert_results(actual: Any, expected: Any) -> None:
    scores, identifiers = actual
    expected_scores, expected_identifiers = expected
    assert scores.dtype == tf.float32
    np.testing.assert_array_equal(as_array(identifiers), expected_identifiers)
    # Sums of a few float32 numbers below 10, with one exponential.
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-6)


def assert_same(actual: Any, expected: Any) -> None:
    """Asserts that both ways find the same; graphs round as they like."""
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype
        if a.dtype == np.float32:
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(as_array(a), as_array(b))


# Queries


@every_catalogue
def test_finds_the_classes_of_the_highest_scores(dtype: str) -> None:
    index = make_index(dtype)
    scores = all_scores(index.head, queries(), CATALOGUES[dtype])
    results = index(queries())
    assert_results(results, expected_top_k(scores, CATALOGUES[dtype], 7))
    assert results[1].dtype.name == dtype


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("aggregation", mach.AGGREGATIONS)
def test_aggregations(aggregation: str, activation: str) -> None:
    index = make_index(aggregation=aggregation, activation=activation)
    scores = all_scores(index.head, queries(), STRINGS, aggregation, activation)
    assert_results(index(queries()), expected_top_k(scores, STRINGS, 7))


@pytest.mark.parametrize("method", ["auto", "score_all", "certified"])
def test_methods_find_the_same(method: str) -> None:
    index = make_index(method=method)
    scores = all_scores(index.head, queries(), STRINGS)
    *results, num_scored = index.query_with_statistics(queries(), k=5)
    assert_results(results, expected_top_k(scores, STRINGS, 5))
    assert 5 <= np.max(num_scored) <= NUM_CLASSES
    if method == "score_all":
        assert np.min(num_scored) == NUM_CLASSES


@pytest.mark.parametrize("aggregation", mach.AGGREGATIONS)
def test_a_compact_index_finds_the_same_with_a_table_less(aggregation: str) -> None:
    options = {"method": "certified", "aggregation": aggregation}
    compact, index = (make_index(compact=x, **options) for x in (True, False))
    assert_same(compact(queries()), index(queries()))
    for each in (compact, index):
        each.remove(STRINGS[:2]).add(STRINGS[1:2])
    assert_same(compact(queries()), index(queries()))
    assert compact._tables.partner_buckets is None
    # Sums of anything else than logarithms are not searched by pairs.
    kept = index._tables.partner_buckets
    assert (kept is not None) == (aggregation in ("mean_log_probability", "mean_logit"))
    if kept is not None:
        assert kept.dtype == index._tables.buckets.dtype
        assert kept.value().shape == (len(index.head.repetitions), NUM_CLASSES - 1)


def test_head_of_some_repetitions() -> None:
    head = make_head(num_repetitions=5, repetitions=(3, 0, 4))
    index = empty_index(head, k=7).index(STRINGS)
    scores = all_scores(head, queries(), STRINGS)
    assert_results(index(queries()), expected_top_k(scores, STRINGS, 7))


def test_balanced_head() -> None:
    head = make_head(balanced=True)
    head.balance(STRINGS)
    index = empty_index(head, k=7).index(STRINGS)
    scores = all_scores(head, queries(), STRINGS)
    assert_results(index(queries()), expected_top_k(scores, STRINGS, 7))


def test_an_index_from_before_its_head_was_balanced_is_refused() -> None:
    head = make_head(balanced=True)
    index = empty_index(head).index(STRINGS)
    query = tf.function(lambda x: index(x))
    head.balance(STRINGS)
    for use in (
        lambda: index(queries()),
        lambda: query(queries()),
        lambda: index.query_with_exclusions(queries(1), tf.constant([["a"]])),
        lambda: index.add(["new"]),
        lambda: index.remove(STRINGS[:1]),
    ):
        with pytest.raises(ValueError, match=r"the head was balanced.* Call `index`"):
            use()
    scores = all_scores(head, queries(), STRINGS)
    assert_results(index.index(STRINGS)(queries()), expected_top_k(scores, STRINGS, 7))


def test_an_index_from_before_its_head_was_loaded_is_refused(tmp_path: Path) -> None:
    trained, head = make_head(balanced=True), make_head(balanced=True)
    trained.balance(STRINGS)
    path = tf.train.Checkpoint(head=trained).save(tmp_path / "head")
    index = empty_index(head).index(STRINGS)
    index(queries())
    tf.train.Checkpoint(head=head).restore(path).assert_consumed()
    with pytest.raises(ValueError, match="its weights were loaded"):
        index(queries())
    # Where both are loaded, they fit.
    both = tf.train.Checkpoint(index=empty_index(trained).index(STRINGS))
    path = both.save(tmp_path / "index")
    tf.train.Checkpoint(index=index).restore(path).assert_consumed()
    scores = all_scores(trained, queries(), STRINGS)
    assert_results(index(queries()), expected_top_k(scores, STRINGS, 7))


def test_mixed_precision_head() -> None:
    """Scores are float32 numbers made of the head's bfloat16 logits."""
    head = make_head(dtype="mixed_bfloat16")
    index = empty_index(head, k=NUM_CLASSES, aggregation="mean_logit").index(STRINGS)
    scores, identifiers = index(queries())
    assert scores.dtype == tf.float32
    logits = np.asarray(tf.cast(head(queries()), tf.float32), np.float64)
    buckets = as_array(head.bucket_ids(STRINGS))
    expected = logits[:, np.arange(3), buckets].mean(axis=-1)
    assert_results((scores, identifiers), expected_top_k(expected, STRINGS, 60))


def test_queries_go_to_the_query_model() -> None:
    class Tower(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(DIM)
            self.embedding = keras.layers.Embedding(4, DIM)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs["x"]) + self.embedding(inputs["user"])

    tower = Tower()
    features = {"x": queries(2)[:, :3], "user": tf.constant([3, 1])}
    index = empty_index(None, tower, k=4).index(STRINGS)
    scores = all_scores(index.head, tower(features), STRINGS)
    assert_results(index(features), expected_top_k(scores, STRINGS, 4))
    _, identifiers = index(features)
    _, others = index.query_with_exclusions(features, identifiers[:, :1])
    np.testing.assert_array_equal(others[:, :3], identifiers[:, 1:])


def test_scores_with_the_head_as_it_is_at_the_time() -> None:
    index = make_index()
    query = tf.function(lambda x: index(x))
    query(queries())
    index.head.kernel.assign(-index.head.kernel)
    scores = all_scores(index.head, queries(), STRINGS)
    assert_results(query(queries()), expected_top_k(scores, STRINGS, 7))


def test_k_is_clipped_to_the_number_of_classes() -> None:
    index = make_index(k=100)
    scores, identifiers = index(queries())
    assert scores.shape == identifiers.shape == (5, NUM_CLASSES)
    assert (np.sort(identifiers, axis=1) == np.sort(as_array(STRINGS))).all()


def test_no_queries() -> None:
    scores, identifiers = make_index()(queries(0))
    assert scores.shape == identifiers.shape == (0, 7)


def test_classes_of_equal_score_come_in_the_order_of_the_index() -> None:
    # Every third class has the bucket of 0 of the others' three.
    head = make_head(num_buckets=2, num_repetitions=1)
    with pytest.warns(UserWarning, match="tells them apart"):
        index = empty_index(head, k=NUM_CLASSES).index(STRINGS[::-1])
    scores = all_scores(head, queries(), STRINGS[::-1])
    assert len(np.unique(scores[0])) == 2
    assert_results(index(queries()), expected_top_k(scores, STRINGS[::-1], 60))


def test_index_says_that_scores_are_no_products() -> None:
    assert make_index().is_exact() is False


def test_query_before_index() -> None:
    index = empty_index()
    for ask in (
        lambda: index(queries()),
        lambda: index.query_with_exclusions(queries(1), tf.constant([["a"]])),
        lambda: index.add(["a"]),
        lambda: index.remove(["a"]),
        index.identifiers,
        index.indistinguishable,
    ):
        with pytest.raises(ValueError, match=r"call `index` or\s+`index_from_dataset`"):
            ask()


@pytest.mark.parametrize(
    "k", [np.int64(3), np.int32(3), tf.constant(3), tf.constant(3, tf.int64)]
)
def test_k_of_every_integer_type(k: Any) -> None:
    index, exclusions = make_index(), tf.constant([["item 1"]] * 5)
    assert_same(index(queries(), k=k), index(queries(), k=3))
    assert_same(
        index.query_with_exclusions(queries(), exclusions, k=k),
        index.query_with_exclusions(queries(), exclusions, k=3),
    )


@pytest.mark.parametrize("k", [0, -1, 1.5, "3"])
def test_k_that_is_none(k: Any) -> None:
    with pytest.raises(ValueError, match="`k` must be a positive integer"):
        empty_index(k=k)
    with pytest.raises(ValueError, match="`k` must be a positive integer"):
        make_index()(queries(), k=k)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aggregation": "mean"}, "`aggregation` must be one of"),
        ({"activation": "tanh"}, "`activation` must be one of"),
        ({"method": "fast"}, "`method` must be one of"),
        ({"head": keras.layers.Dense(3)}, "`head` must be a MACHHead"),
        ({"identifier_dtype": "float32"}, "`identifier_dtype` must be strings"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MACH(**{"head": make_head(), **options})


def test_queries_of_another_rank() -> None:
    with pytest.raises(ValueError, match=r"must be of shape\s+\[num_queries, d\]"):
        make_index()(queries()[:, tf.newaxis])


# What is indexed


def data_set_of(form: str) -> tf.data.Dataset:
    ids = tf.data.Dataset.from_tensor_slices(STRINGS)
    return {
        "batches": ids.batch(7),
        "single ids": ids,
        "pairs": ids.batch(7).map(lambda t: (t, tf.zeros([tf.size(t), DIM]))),
        "single pairs": ids.map(lambda t: (t, tf.zeros([DIM]))),
    }[form]


@pytest.mark.parametrize("form", ["batches", "single ids", "pairs", "single pairs"])
def test_index_from_dataset(form: str) -> None:
    index = empty_index(k=7)
    assert index.index_from_dataset(data_set_of(form)) is index
    np.testing.assert_array_equal(index.identifiers(), as_array(STRINGS))
    assert_same(index(queries()), make_index()(queries()))


def test_index_from_dataset_of_something_else() -> None:
    ids = tf.data.Dataset.from_tensor_slices(STRINGS)
    index = empty_index()
    for candidates in (
        ids.map(lambda t: {"title": t}),
        ids.map(lambda t: (t, t, t)),
        ids.batch(2).map(lambda t: tf.zeros([2, DIM])),
    ):
        with pytest.raises(ValueError, match="`candidates` must yield identifiers"):
            index.index_from_dataset(candidates)
    with pytest.raises(ValueError, match="no identifiers"):
        index.index_from_dataset(ids.map(lambda t: tf.zeros([])))
    with pytest.raises(ValueError, match="at least one id"):
        index.index_from_dataset(ids.take(0))


def test_index_as_tfrs_calls_it() -> None:
    embeddings = tf.zeros([NUM_CLASSES, DIM])
    index = empty_index(k=7)
    assert index.index(embeddings, tf.constant(STRINGS)) is index
    assert_same(index(queries()), make_index()(queries()))
    index.index(identifiers=STRINGS.tolist())
    assert_same(index(queries()), make_index()(queries()))


def test_index_of_a_list_of_integers_is_int64() -> None:
    index = empty_index().index([3, 2**40, -1])
    assert index.identifiers().dtype == tf.int64
    assert index.identifiers().numpy().tolist() == [3, 2**40, -1]
    index.add([5])
    assert index.identifiers().numpy().tolist() == [3, 2**40, -1, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros([3, 2], np.float32),), r"shape \(3, 2\) and no identifiers"),
        ((), "needs the identifiers"),
        (([],), "`identifiers` must be at least one id"),
        (({"a", "b"},), "a tensor, an array or a list"),
        ((tf.data.Dataset.range(3),), "has to be collected"),
        (([0.5, 1.5],), "strings or integers. Received dtype float32"),
        (([[1, 2]],), r"shape \[num_classes\]. Received shape \(1, 2\)"),
        ((np.array([], np.int64),), r"at least one id.*\(0,\)"),
        ((np.zeros([2, 2]), [True, False]), "strings or integers. Received dtype bool"),
    ],
)
def test_index_of_something_else(arguments: Any, message: str) -> None:
    index = make_index()
    with pytest.raises(ValueError, match=message):
        index.index(*arguments)
    # What was there is still there.
    assert_same(index(queries()), make_index()(queries()))


def test_duplicates_are_refused() -> None:
    repeated = [*STRINGS, "item 4", "item 9", "item 4", *[f"item {i}" for i in (1, 2)]]
    with pytest.raises(ValueError, match=r"4 that occur more.*'item 1', 'item 2', "):
        empty_index().index(repeated)
    with pytest.raises(ValueError, match=r"Received 1 that occur more.*: -1\."):
        empty_index().index([-1, 3, -1])
    many = np.repeat(INTEGERS[:20], 2)
    with pytest.raises(ValueError, match=r"Received 20 .*(-?\d+, ){5}\.\.\."):
        empty_index().index(many)


def test_index_again() -> None:
    index = make_index("string")
    index(queries())
    index.query_with_exclusions(queries(), tf.constant([["a"]] * 5))
    index.index(INTEGERS[:20])
    fresh = empty_index(index.head, k=7).index(INTEGERS[:20])
    assert_same(index(queries()), fresh(queries()))
    exclusions = tf.constant([INTEGERS[:3]] * 5)
    assert_same(
        index.query_with_exclusions(queries(), exclusions),
        fresh.query_with_exclusions(queries(), exclusions),
    )


# Classes that no query tells apart


def test_indistinguishable_identifiers_are_reported() -> None:
    head = make_head(num_buckets=5, num_repetitions=2)
    buckets = [tuple(row) for row in as_array(head.bucket_ids(STRINGS))]
    expected = [
        tuple(id_ for id_, b in zip(as_array(STRINGS), buckets, strict=True) if b == c)
        for c in dict.fromkeys(buckets)
    ]
    expected = [group for group in expected if len(group) > 1]
    # A group's place is that of its first identifier.
    expected.sort(key=lambda group: as_array(STRINGS).tolist().index(group[0]))
    num_ids = sum(len(group) for group in expected)
    with pytest.warns(UserWarning, match="tells them apart") as caught:
        index = empty_index(head).index(STRINGS)
    message = str(caught[0].message)
    assert f"{num_ids} of {NUM_CLASSES} identifiers" in message
    assert f"form {len(expected)} groups" in message
    assert repr(expected[0][0].decode()) in message
    assert index.indistinguishable() == expected


def test_no_warning_without_indistinguishable_identifiers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = make_index("int64")
    assert index.indistinguishable() == []


def test_added_classes_are_compared_with_those_there() -> None:
    head = make_head(num_buckets=4, num_repetitions=1)
    buckets = as_array(head.bucket_ids(STRINGS))[:, 0]
    apart = STRINGS[[np.flatnonzero(buckets == b)[0] for b in range(3)]]
    another, last = STRINGS[buckets == 0][1], STRINGS[buckets == 3][0]
    index = empty_index(head).index(apart)
    with pytest.warns(UserWarning, match="2 of 4 identifiers"):
        index.add([another])
    assert index.indistinguishable() == [(apart[0].encode(), another.encode())]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Of the pair there was a warning already.
        index.add([last]).remove([another])
    assert index.indistinguishable() == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 200), (5, 50)])
def test_equal_columns(dtype: Any, shape: tuple[int, int]) -> None:
    table = np.random.default_rng(0).integers(0, 4, shape).astype(dtype)
    positions: dict[bytes, list[int]] = {}
    for i, column in enumerate(table.T):
        positions.setdefault(column.tobytes(), []).append(i)
    expected = [group for group in positions.values() if len(group) > 1]
    assert [group.tolist() for group in equal_columns(table)] == expected


# Classes that come and go


@either_catalogue
def test_add_and_remove(dtype: str) -> None:
    ids = CATALOGUES[dtype]
    index = empty_index(k=NUM_CLASSES).index(ids[:40])
    query = tf.function(lambda x: index(x))

    def check(expected_ids: Any) -> None:
        np.testing.assert_array_equal(index.identifiers(), as_array(expected_ids))
        scores = all_scores(index.head, queries(), expected_ids)
        expected = expected_top_k(scores, expected_ids, NUM_CLASSES)
        assert_results(index(queries()), expected)
        # Traced when there were other classes.
        assert_results(query(queries()), expected)

    check(ids[:40])
    assert index.add(ids[50:]) is index
    check(np.concatenate([ids[:40], ids[50:]]))
    assert index.remove(ids[[3, 55, 0]]) is index
    check(np.concatenate([ids[1:3], ids[4:40], ids[50:55], ids[56:]]))
    index.add(ids[:1])
    check(np.concatenate([ids[1:3], ids[4:40], ids[50:55], ids[56:], ids[:1]]))


def test_add_what_is_there() -> None:
    index = make_index()
    with pytest.raises(ValueError, match=r"Received 2 that are: 'item 7', 'ü'\."):
        index.add(["new", "item 7", "ü"])
    with pytest.raises(ValueError, match=r"`ids` must be distinct.*'new'"):
        index.add(["new", "new"])
    assert len(index.identifiers()) == NUM_CLASSES


def test_remove_what_is_not_there() -> None:
    index = make_index("int64")
    with pytest.raises(ValueError, match=r"Received 2 that are not: 1, -3\."):
        index.remove([1, int(INTEGERS[0]), -3])
    with pytest.raises(ValueError, match="`ids` must be distinct"):
        index.remove(INTEGERS[[0, 0]])
    with pytest.raises(ValueError, match="must leave a class in the index"):
        index.remove(INTEGERS)
    assert len(index.identifiers()) == NUM_CLASSES


@pytest.mark.parametrize("change", ["add", "remove"])
def test_ids_of_another_dtype(change: str) -> None:
    with pytest.raises(ValueError, match=r"index, string\. Received dtype int64"):
        getattr(make_index(), change)([1])
    with pytest.raises(ValueError, match=r"index, int64\. Received dtype int32"):
        getattr(make_index("int64"), change)(np.array([1], np.int32))


# Exclusions


@either_catalogue
def test_query_with_exclusions(dtype: str) -> None:
    ids = CATALOGUES[dtype]
    index = make_index(dtype)
    exclusions = index(queries(), k=20)[1][:, 1::3]
    scores = all_scores(index.head, queries(), ids)
    for row, excluded in zip(scores, as_array(exclusions), strict=True):
        row[np.isin(as_array(ids), excluded)] = -np.inf
    for k in (None, 3):
        results = index.query_with_exclusions(queries(), exclusions, k=k)
        assert_results(results, expected_top_k(scores, ids, k or 7))


def test_exclusions_that_leave_too_few() -> None:
    """TFRS would return excluded candidates here."""
    index = empty_index().index(STRINGS[:4])
    exclusions = tf.constant([["item 0", "item 2"], ["elsewhere", ""]])
    scores, identifiers = index.query_with_exclusions(queries(2), exclusions, k=9)
    assert scores.shape == identifiers.shape == (2, 4)
    assert np.isnan(scores[0]).tolist() == [False, False, True, True]
    assert identifiers[0, 2:].numpy().tolist() == [b"", b""]
    assert set(identifiers[0, :2].numpy()) == {b"item 1", b"item 3"}
    assert_same((scores[1:], identifiers[1:]), index(queries(2)[1:]))


def test_exclusions_of_any_number() -> None:
    """The number need not be known when the function is traced."""
    index = make_index()
    query = tf.function(
        lambda x, e: index.query_with_exclusions(x, e),
        input_signature=[
            tf.TensorSpec([None, DIM]),
            tf.TensorSpec([None, None], tf.string),
        ],
    )
    _, identifiers = index(queries(), k=12)
    for n in (0, 1, 5):
        results = query(queries(), identifiers[:, :n])
        np.testing.assert_array_equal(results[1], identifiers[:, n : n + 7])


def test_exclusions_that_do_not_fit() -> None:
    index = make_index("int64")
    for exclusions, message in (
        (tf.constant([["a"]] * 5), "index, int64. Received dtype string"),
        (tf.constant([[1]] * 5), "index, int64. Received dtype int32"),
        (tf.constant([1] * 5, tf.int64), r"\[num_queries, num_exclusions\]"),
        (tf.ragged.constant([[1]] * 5, tf.int64), "`exclusions` must be dense"),
    ):
        with pytest.raises(ValueError, match=message):
            index.query_with_exclusions(queries(), exclusions)
    with pytest.raises(tf.errors.InvalidArgumentError, match="one row for each query"):
        index.query_with_exclusions(queries(), tf.constant([[1]], tf.int64))


# Saving


@pytest.fixture(name="index")
def indexed(request: Any) -> MACH:
    """An index that has been queried, and is not the first of its size."""
    dtype = getattr(request, "param", "string")
    index = make_index(dtype, k=4, aggregation="min", name="top_k")
    index(queries())
    index.remove(index.identifiers()[:2])
    index.query_with_exclusions(queries(1), index.identifiers()[tf.newaxis, :1])
    return index


of_either_dtype = pytest.mark.parametrize("index", ["string", "int32"], indirect=True)


def fresh_index(**options: Any) -> MACH:
    index = empty_index(k=4, **{"aggregation": "min", **options})
    index.build((None, DIM))
    index.head.set_weights([w * 0 for w in index.head.get_weights()])
    return index


def assert_works_alike(loaded: MACH, index: MACH) -> None:
    """Asserts that queries and changes do the same to both."""
    assert_same(loaded(queries()), index(queries()))
    _, identifiers = index(queries())
    exclusions = identifiers[:, :2]
    for _ in range(2):
        assert_same(
            loaded.query_with_exclusions(queries(), exclusions),
            index.query_with_exclusions(queries(), exclusions),
        )
        new = tf.constant(CATALOGUES[identifiers.dtype.name][:2])
        for each in (loaded, index):
            each.add(new)
            each.remove(identifiers[0, :1])
        assert_same(loaded(queries(), k=99), index(queries(), k=99))
        for each in (loaded, index):
            each.remove(new)
            each.add(identifiers[0, :1])


def test_config(index: MACH) -> None:
    copy = MACH.from_config(index.get_config())
    copy.head.set_weights(index.head.get_weights())
    copy.index(index.identifiers())
    for name in (
        *("name", "k", "aggregation", "activation", "method", "query_model"),
        "compact",
    ):
        assert copy.get_config()[name] == index.get_config()[name]
    assert_same(copy(queries()), index(queries()))


@of_either_dtype
def test_keras_file(index: MACH, tmp_path: Path) -> None:
    index.save(tmp_path / "index.keras")
    loaded = keras.models.load_model(tmp_path / "index.keras")
    assert_works_alike(loaded, index)


def test_keras_file_with_a_query_model(tmp_path: Path) -> None:
    inputs = keras.Input(shape=(), dtype="string")
    embedding = layers.DeepHashEmbedding(DIM, hidden_dim=6, num_hashes=16)
    tower = keras.Model(inputs, embedding(inputs))
    users = tf.constant(["a", "b", "c"])
    index = empty_index(None, tower, k=4).index(STRINGS)
    expected = index(users)
    index.save(tmp_path / "index.keras")
    loaded = keras.models.load_model(tmp_path / "index.keras")
    assert_same(loaded(users), expected)


def test_keras_file_of_a_functional_model(index: MACH, tmp_path: Path) -> None:
    """Its layers are called before what they hold is read."""
    inputs = keras.Input(shape=(DIM,))
    model = keras.Model(inputs, index(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(loaded(queries()), index(queries()))


def test_index_of_nothing_whose_dtype_is_known() -> None:
    index = empty_index(identifier_dtype="string")
    with pytest.raises(ValueError, match="has no classes yet"):
        index(queries())
    assert_same(index.index(STRINGS)(queries(), k=7), make_index()(queries()))


def test_keras_file_of_an_index_of_nothing(tmp_path: Path) -> None:
    index = empty_index(k=4)
    index.build((None, DIM))
    index.save(tmp_path / "index.keras")
    loaded = keras.models.load_model(tmp_path / "index.keras")
    assert_same(loaded.index(STRINGS)(queries()), index.index(STRINGS)(queries()))


@pytest.mark.parametrize("identifier_dtype", [None, "string", "int64"])
@pytest.mark.parametrize("dtype", ["string", "int64"])
def test_weights_file_of_an_index_of_nothing(
    identifier_dtype: str | None, dtype: str, tmp_path: Path
) -> None:
    index = empty_index(identifier_dtype=identifier_dtype)
    index.build((None, DIM))
    index.save_weights(tmp_path / "index.weights.h5")
    loaded = make_index(dtype)
    loaded.build((None, DIM))
    loaded.load_weights(tmp_path / "index.weights.h5")
    with pytest.raises(ValueError, match="has no classes yet"):
        loaded(queries())
    assert_same(loaded.index(STRINGS)(queries()), index.index(STRINGS)(queries()))


def test_weights_file(index: MACH, tmp_path: Path) -> None:
    index.save_weights(tmp_path / "index.weights.h5")
    loaded = fresh_index()
    loaded.load_weights(tmp_path / "index.weights.h5")
    assert_works_alike(loaded, index)


def test_checkpoint(index: MACH, tmp_path: Path) -> None:
    path = tf.train.Checkpoint(index=index).save(tmp_path / "checkpoint")
    loaded = fresh_index()
    tf.train.Checkpoint(index=loaded).restore(path).assert_consumed()
    assert_works_alike(loaded, index)


@pytest.mark.parametrize("compact", [False, True])
def test_certified_queries_of_loaded_indexes(compact: bool, tmp_path: Path) -> None:
    options = {"method": "certified", "aggregation": "mean_logit", "compact": compact}
    index = make_index(k=4, **options)
    expected = index(queries())
    index.save(tmp_path / "index.keras")
    loaded = keras.models.load_model(tmp_path / "index.keras")
    assert loaded.compact == compact
    assert_same(loaded(queries()), expected)
    path = tf.train.Checkpoint(index=index).save(tmp_path / "checkpoint")
    restored = fresh_index(**options)
    tf.train.Checkpoint(index=restored).restore(path).assert_consumed()
    assert_same(restored(queries()), expected)
    module = tf.Module()
    module.index = index
    module.query = tf.function(index, input_signature=[tf.TensorSpec([None, DIM])])
    tf.saved_model.save(module, str(tmp_path / "module"))
    served = tf.saved_model.load(str(tmp_path / "module"))
    assert_same(served.query(queries()), expected)


def test_checkpoint_of_other_classes(tmp_path: Path) -> None:
    """Restoring exchanges the classes, in functions traced before as well."""
    index = make_index("int64")
    path = tf.train.Checkpoint(index=index).save(tmp_path / "checkpoint")
    expected = index(queries())
    query = tf.function(lambda x: index(x))
    index.index(INTEGERS[:3])
    assert query(queries())[0].shape == (5, 3)
    tf.train.Checkpoint(index=index).restore(path).assert_consumed()
    assert_same(query(queries()), expected)


def test_index_is_no_weight(index: MACH) -> None:
    """Weights have one shape for ever: optimizers and callbacks rely on it."""
    assert [tuple(w.shape) for w in index.weights] == [(90, DIM), (90,)]


def run_in_session(path: str, signature: str, *inputs: Any) -> list[np.ndarray]:
    """Serves an export as TF Serving does; outputs in the order of their names."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
        serving = meta.signature_def[signature]
        names = sorted(serving.inputs)
        feed = {
            serving.inputs[name].name: as_numpy
            for name, as_numpy in zip(names, inputs, strict=True)
        }
        outputs = [serving.outputs[name].name for name in sorted(serving.outputs)]
        return session.run(outputs, feed)


def assert_serves(path: str, signature: str, inputs: list[Any], expected: Any) -> None:
    arrays = [np.asarray(x) for x in inputs]
    scores, identifiers = run_in_session(path, signature, *arrays)
    np.testing.assert_allclose(scores, expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(identifiers, as_array(expected[1]))


@of_either_dtype
def test_export(index: MACH, tmp_path: Path) -> None:
    expected = index(queries())
    index.export(str(tmp_path / "export"))
    assert_serves(str(tmp_path / "export"), "serving_default", [queries()], expected)


@pytest.mark.parametrize("method", ["score_all", "certified"])
def test_saved_model_of_a_module(method: str, tmp_path: Path) -> None:
    """An export with exclusions, for any number of queries and exclusions."""
    index = make_index("int64", method=method)
    index(queries())
    module = tf.Module()
    module.index = index
    # Restoring fills raw variables; a Keras 3 model's own would stay unfilled.
    module.raw = index.variables if is_legacy else [v.value for v in index.variables]
    spec = tf.TensorSpec([None, DIM], tf.float32, name="a")
    dtype = index.identifiers().dtype

    def named(results: Any) -> dict[str, tf.Tensor]:
        return {"a": results[0], "b": results[1]}

    signatures = {
        "top_k": tf.function(lambda a: named(index(a))).get_concrete_function(spec),
        "others": tf.function(
            lambda a, b: named(index.query_with_exclusions(a, b))
        ).get_concrete_function(spec, tf.TensorSpec([None, None], dtype, name="b")),
    }
    path = str(tmp_path / "export")
    tf.saved_model.save(module, path, signatures=signatures)
    expected = index(queries())
    assert_serves(path, "top_k", [queries()], expected)
    assert_serves(path, "top_k", [queries(0)], index(queries(0)))
    exclusions = expected[1][:, :2]
    assert_serves(
        path,
        "others",
        [queries(), exclusions],
        index.query_with_exclusions(queries(), exclusions),
    )


if is_legacy:  # Keras 3 has no such formats

    def test_saved_model(index: MACH, tmp_path: Path) -> None:
        path = str(tmp_path / "export")
        expected = index(queries())
        exclusions = expected[1][:, :1]
        index.query_with_exclusions(queries(), exclusions)
        tf.saved_model.save(index, path)
        loaded = tf.saved_model.load(path)
        assert_same(loaded(queries()), expected)
        assert_same(
            loaded.query_with_exclusions(queries(), exclusions),
            index.query_with_exclusions(queries(), exclusions),
        )
        assert_serves(path, "serving_default", [queries()], expected)

    def test_saved_model_of_legacy_keras(index: MACH, tmp_path: Path) -> None:
        index.save(str(tmp_path / "model"), save_format="tf")
        loaded = keras.models.load_model(str(tmp_path / "model"))
        assert_works_alike(loaded, index)

    def test_weights_as_a_checkpoint(index: MACH, tmp_path: Path) -> None:
        index.save_weights(str(tmp_path / "weights"))
        loaded = fresh_index()
        loaded.load_weights(str(tmp_path / "weights")).assert_consumed()
        assert_works_alike(loaded, index)


# TFRS

if tfrs is not None:

    def test_is_an_index_of_tfrs() -> None:
        assert isinstance(make_index(), tfrs.layers.factorized_top_k.TopK)

    def test_metric_of_tfrs() -> None:
        ids, index = STRINGS, make_index()
        vectors = queries(40)
        true_ids = np.random.default_rng(1).choice(ids, 40)
        ks = (1, 5, 200)
        metric = tfrs.metrics.FactorizedTopK(candidates=index, ks=ks)
        weights = np.arange(40.0) % 3

        @tf.function
        def update(vectors: tf.Tensor, true_ids: tf.Tensor) -> None:
            metric.update_state(vectors, vectors, true_ids, sample_weight=weights)

        update(vectors, tf.constant(true_ids))

        scores = all_scores(index.head, vectors, ids)
        _, ranking = expected_top_k(scores, ids, NUM_CLASSES)
        hits = ranking == as_array(true_ids)[:, np.newaxis]
        for k, result in zip(ks, metric.result(), strict=True):
            found = hits[:, :k].any(axis=1)
            assert float(result) == pytest.approx(np.average(found, weights=weights))
        assert 0 < metric.result()[1] < metric.result()[2] == 1

    class Recommender(tfrs.Model):
        """A model that asks an index in its metric."""

        def __init__(self) -> None:
            super().__init__()
            self.tower = keras.layers.Dense(DIM)
            self.candidates = keras.layers.Embedding(NUM_CLASSES, DIM)
            self.index = empty_index().index(np.arange(20))
            self.task = tfrs.tasks.Retrieval(
                metrics=tfrs.metrics.FactorizedTopK(candidates=self.index, ks=[3])
            )

        def compute_loss(self, inputs: Any, training: bool = False) -> tf.Tensor:
            vectors, ids = inputs
            return self.task(
                self.tower(vectors),
                self.candidates(ids),
                candidate_ids=ids,
                compute_metrics=not training,
            )

    @pytest.mark.parametrize("file", ["checkpoint", "model.weights.h5"])
    def test_model_of_tfrs(file: str, tmp_path: Path) -> None:
        """Trains, and saves what its index has come to hold."""
        ids = np.random.default_rng(1).integers(0, 20, 30)
        data = tf.data.Dataset.from_tensor_slices((queries(30), ids)).batch(8)
        model, other = Recommender(), Recommender()
        for each in (model, other):
            each.compile(optimizer="sgd")
            each.fit(data, verbose=0)
        model.index.remove([4]).add([21, 22])
        expected = model.evaluate(data, return_dict=True, verbose=0)
        found = model.index(model.tower(queries(30)), k=3)[1].numpy()
        name = "factorized_top_k/top_3_categorical_accuracy"
        # Counted in float32.
        assert expected[name] == pytest.approx((ids == found.T).any(axis=0).mean())

        model.save_weights(str(tmp_path / file))
        other.load_weights(str(tmp_path / file))
        assert other.evaluate(data, return_dict=True, verbose=0) == expected
        np.testing.assert_array_equal(
            other.index.identifiers(), model.index.identifiers()
        )

    def test_metric_of_tfrs_cannot_compare_scores() -> None:
        metric = tfrs.metrics.FactorizedTopK(candidates=make_index())
        with pytest.raises(ValueError, match="does not return exact results"):
            metric.update_state(queries(), queries())


def test_reading_the_lists_does_not_copy_them() -> None:
    """It would cost every query all R x K numbers: see `Tables`."""
    tables = empty_index().index(STRINGS)._tables
    variables = tables.members, tables.offsets, tables.buckets, tables.partner_buckets
    for variable in variables:
        first, second = tf.convert_to_tensor(variable), tf.convert_to_tensor(variable)
        places = [np.asarray(memoryview(x)).ctypes.data for x in (first, second)]
        assert places[0] == places[1]


@pytest.mark.parametrize("as_function", [False, True])
def test_other_threads_find_the_classes_before_or_after_a_change(
    as_function: bool,
) -> None:
    one, other = np.arange(5000), np.arange(5000) + 10**6
    index = empty_index(make_head(num_buckets=500))
    asked = queries(2)
    answers = {as_array(index.index(ids)(asked)[1]).tobytes() for ids in (one, other)}
    assert len(answers) == 2
    query = tf.function(index) if as_function else index
    query(asked)
    found: list[bytes] = []
    is_done = threading.Event()

    def ask() -> None:
        while not is_done.is_set():
            found.append(as_array(query(asked)[1]).tobytes())

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        while len(found) < 100 and not any(one.done() for one in asking):
            index.index(one).index(other)
        is_done.set()
        for one_that_asked in asking:
            one_that_asked.result()
    assert set(found) <= answers


def test_a_change_amid_a_reading_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = make_index()._tables
    changed = make_index(dtype="int64")._tables.read()
    members = tables.members
    read_value = members.read_value

    def change_once() -> tf.Tensor:
        monkeypatch.setattr(members, "read_value", read_value)
        tables._replace(changed)
        return read_value()

    monkeypatch.setattr(members, "read_value", change_once)
    for found, expected in zip(tables.read(), changed, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_change_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    index = make_index()
    query = tf.function(index)
    monkeypatch.setattr(_tables, "_MAX_READS", 3)
    with index._tables._change():
        for ask in (index, query):
            with pytest.raises(tf.errors.InvalidArgumentError, match="all the time"):
                ask(queries())
    assert_same(query(queries()), index(queries()))


@pytest.mark.parametrize("before", ["int32", "string"])
def test_functions_made_for_another_dtype_of_identifiers(before: str) -> None:
    """They cut the identifiers to 32 bits."""
    index = make_index(dtype=before)
    query = tf.function(index)
    query(queries())
    index.predict(queries().numpy(), verbose=0)
    index.index(INTEGERS)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"index were {before}"):
        query(queries())
    _, found = index.predict(queries().numpy(), verbose=0)
    np.testing.assert_array_equal(found, index(queries())[1])
