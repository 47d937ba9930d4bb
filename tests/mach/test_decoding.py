"""Both ways of decoding against a sort of all scores, bit by bit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.mach.decoding_cases import (
    DISTRIBUTIONS,
    TABLES,
    make_values,
    reference_top_k,
)
from tfrs_dhe import mach
from tfrs_dhe.mach.aggregation import AGGREGATIONS
from tfrs_dhe.mach.decoding import (
    BY_PAIRS,
    METHODS,
    InverseLists,
    TopK,
    build_inverse_lists,
    partner_buckets,
    top_k,
)

every_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS)
#: "auto" is one of them.
BOTH = ("score_all", "certified")
NO_LIMIT = 10**9


def make_decoder(
    aggregation: str,
    num_repetitions: int,
    num_buckets: int,
    dtype: tf.DType = tf.uint8,
    methods: tuple[str, ...] = BOTH,
    **options: int,
) -> Callable[..., dict[str, TopK]]:
    """Compiles the methods for unknown Q, K and k."""

    def decode(
        values: tf.Tensor, buckets: tf.Tensor, lists: InverseLists, k: tf.Tensor
    ) -> dict[str, TopK]:
        def run(method: str, partners: tf.Tensor | None = None) -> TopK:
            return top_k(
                values,
                buckets,
                k,
                aggregation,
                inverse_lists=lists,
                partner_buckets=partners,
                method=method,
                **options,
            )

        found = {method: run(method) for method in methods}
        if aggregation in BY_PAIRS and "certified" in methods:
            partners = partner_buckets(buckets, lists)
            found["certified, partners' buckets kept"] = run("certified", partners)
        return found

    # The code has no AutoGraph in it, and is traced faster without.
    return tf.function(decode, autograph=False).get_concrete_function(
        tf.TensorSpec([None, num_repetitions, num_buckets]),
        tf.TensorSpec([num_repetitions, None], dtype),
        InverseLists(
            tf.TensorSpec([num_repetitions, None], tf.int32),
            tf.TensorSpec([num_repetitions, num_buckets + 1], tf.int32),
        ),
        tf.TensorSpec([], tf.int32),
    )


def bits(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores, np.float32).view(np.int32)


def assert_same(result: TopK, scores: np.ndarray, classes: np.ndarray) -> None:
    np.testing.assert_array_equal(result.classes, classes)
    np.testing.assert_array_equal(bits(result.scores), bits(scores))


@every_aggregation
@pytest.mark.parametrize(
    ("num_repetitions", "num_buckets"), [(1, 2), (4, 15), (11, 40)]
)
def test_equals_a_sort_of_all_scores(
    aggregation: str, num_repetitions: int, num_buckets: int
) -> None:
    rng = np.random.default_rng(num_repetitions)
    decode = make_decoder(
        aggregation,
        num_repetitions,
        num_buckets,
        max_entries=NO_LIMIT,
        chunk_size=7,
    )
    num_spared = 0
    for i, distribution in enumerate(DISTRIBUTIONS):
        num_classes = int(rng.integers(1, 200 + 5 * num_buckets))
        make_table = TABLES[(i + num_repetitions) % len(TABLES)]
        table = make_table(rng, num_repetitions, num_classes, num_buckets)
        buckets = tf.constant(table, tf.uint8)
        lists = build_inverse_lists(buckets, num_buckets)
        shape = (i % 4, num_repetitions, num_buckets)
        values = make_values(rng, distribution, shape, aggregation)
        for k in {1, int(rng.integers(1, num_classes + 1)), num_classes}:
            with np.errstate(over="ignore"):
                expected = reference_top_k(values, table, k, aggregation)
            found = decode(tf.constant(values), buckets, *lists, tf.constant(k))
            for result in found.values():
                assert_same(result, *expected)
            np.testing.assert_array_equal(
                found["score_all"].num_scored, [num_classes] * shape[0]
            )
            num_scored = found["certified"].num_scored.numpy()
            assert ((num_scored >= k) & (num_scored <= num_classes)).all()
            num_spared += (num_scored < num_classes).sum()
    # The certificate has been put to the test, and not only its way out. With two
    # buckets in all, it has nothing to leave out.
    assert num_spared > 0 or num_buckets == 2


def peaky_logits(
    rng: np.random.Generator, table: np.ndarray, num_buckets: int, num_heavy: int
) -> np.ndarray:
    """What a trained head says of a few likely classes: [1, R, B]."""
    num_classes = table.shape[1]
    p = np.full(num_classes, 0.3 / num_classes)
    heavy = rng.choice(num_classes, num_heavy, replace=False)
    p[heavy] += 0.7 / num_heavy * np.sort(rng.uniform(0.5, 1.5, num_heavy))
    merged = np.stack([np.bincount(row, p, num_buckets) for row in table])
    return np.log(merged) + rng.normal(0, 0.3, merged.shape)


@every_aggregation
def test_scores_few_classes_of_a_peaky_query(aggregation: str) -> None:
    rng = np.random.default_rng(0)
    num_classes, num_buckets = 20_000, 1000
    table = rng.integers(0, num_buckets, (8, num_classes))
    logits = peaky_logits(rng, table, num_buckets, num_heavy=20)
    values = mach.bucket_values(
        tf.constant(logits[np.newaxis], tf.float32), aggregation
    )
    buckets = tf.constant(table, tf.uint16)
    lists = build_inverse_lists(buckets, num_buckets)
    decode = make_decoder(aggregation, 8, num_buckets, tf.uint16)
    found = decode(values, buckets, *lists, tf.constant(10))
    expected = reference_top_k(values.numpy(), table, 10, aggregation)
    for result in found.values():
        assert_same(result, *expected)
    assert found["score_all"].num_scored.numpy().tolist() == [num_classes]
    assert 10 <= found["certified"].num_scored.numpy()[0] < num_classes / 10


@pytest.mark.parametrize("aggregation", ["median", "mean_log_probability"])
def test_queries_do_not_depend_on_their_batch(aggregation: str) -> None:
    """Proven ones and those for which all is scored, next to each other."""
    rng = np.random.default_rng(1)
    table = rng.integers(0, 30, (5, 300))
    logits = np.concatenate(
        [
            peaky_logits(rng, table, 30, num_heavy=3)[np.newaxis],
            np.zeros([1, 5, 30]),
            peaky_logits(rng, table, 30, num_heavy=3)[np.newaxis],
            rng.normal(size=(2, 5, 30)),
        ]
    )
    values = mach.bucket_values(tf.constant(logits, tf.float32), aggregation)
    buckets = tf.constant(table, tf.uint8)
    lists = build_inverse_lists(buckets, 30)
    decode = make_decoder(aggregation, 5, 30, max_entries=3000)
    together = decode(values, buckets, *lists, tf.constant(4))
    expected = reference_top_k(values.numpy(), table, 4, aggregation)
    for method, result in together.items():
        assert_same(result, *expected)
        for i in range(5):
            alone = decode(values[i : i + 1], buckets, *lists, tf.constant(4))[method]
            assert_same(alone, result.scores[i : i + 1], result.classes[i : i + 1])
    num_scored = together["certified"].num_scored.numpy()
    assert num_scored[0] < 300
    assert num_scored[1] == 300


def small_case(
    aggregation: str = "mean_logit", dtype: tf.DType = tf.uint8
) -> tuple[np.ndarray, np.ndarray, tf.Tensor, tf.Tensor, InverseLists]:
    """Steep values of three queries, whose top 3 can be proven."""
    rng = np.random.default_rng(2)
    table = rng.integers(0, 20, (4, 200))
    values = make_values(rng, DISTRIBUTIONS[1], (3, 4, 20), aggregation)
    buckets = tf.constant(table, dtype)
    return values, table, tf.constant(values), buckets, build_inverse_lists(buckets, 20)


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("dtype", [tf.uint8, tf.uint16, tf.int32, tf.int64])
@pytest.mark.parametrize("held_in", ["tensors", "variables"])
def test_tables_of_every_type_in_eager_mode(
    method: str, dtype: tf.DType, held_in: str
) -> None:
    values, table, given, buckets, lists = small_case(dtype=dtype)
    if held_in == "variables":
        buckets, lists = tf.Variable(buckets), tuple(map(tf.Variable, lists))
    result = top_k(given, buckets, 3, "mean_logit", inverse_lists=lists, method=method)
    assert_same(result, *reference_top_k(values, table, 3, "mean_logit"))
    assert result.scores.dtype == tf.float32
    assert result.classes.dtype == result.num_scored.dtype == tf.int32


class Servable(tf.Module):
    """Tables in variables, as an index holds them."""

    def __init__(self, aggregation: str, buckets: tf.Tensor, lists: InverseLists):
        super().__init__()
        self.aggregation = aggregation
        self.buckets = tf.Variable(buckets, trainable=False)
        self.lists = [tf.Variable(part, trainable=False) for part in lists]

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 20], name="values")])
    def serve(self, values: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = {}
        for method in BOTH:
            result = top_k(
                values,
                self.buckets,
                3,
                self.aggregation,
                inverse_lists=self.lists,
                method=method,
                max_entries=NO_LIMIT,
            )
            for name, part in result._asdict().items():
                outputs[f"{method}_{name}"] = part
        return outputs


def test_saved_model_in_both_loaders(tmp_path: Path) -> None:
    aggregation = "mean_log_probability"
    values, table, given, buckets, lists = small_case(aggregation)
    servable, path = Servable(aggregation, buckets, lists), str(tmp_path / "1")
    tf.saved_model.save(servable, path, signatures=servable.serve)
    loaded = tf.saved_model.load(path).signatures["serving_default"]
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        signature = v1.saved_model.load(session, ["serve"], path).signature_def[
            "serving_default"
        ]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        name = signature.inputs["values"].name
        in_session = session.run(outputs, {name: values})
        empty = session.run(outputs, {name: values[:0]})
    in_eager = {
        method: top_k(
            given,
            buckets,
            3,
            aggregation,
            inverse_lists=lists,
            method=method,
            max_entries=NO_LIMIT,
        )
        for method in BOTH
    }
    expected = reference_top_k(values, table, 3, aggregation)
    for method, result in in_eager.items():
        assert_same(result, *expected)
        for outputs in (servable.serve(given), loaded(values=given), in_session):
            parts = [outputs[f"{method}_{name}"] for name in TopK._fields]
            assert_same(TopK(*parts), *expected)
            np.testing.assert_array_equal(parts[2], result.num_scored)
        assert empty[f"{method}_scores"].shape == (0, 3)
        assert empty[f"{method}_num_scored"].shape == (0,)


@pytest.mark.parametrize("aggregation", ["unbiased_mean", "median"])
def test_scoring_all_compiles(aggregation: str) -> None:
    values, table, given, buckets, _ = small_case(aggregation)
    compiled = tf.function(
        lambda values: top_k(values, buckets, 5, aggregation, chunk_size=64),
        jit_compile=True,
    )
    scores, classes = reference_top_k(values, table, 5, aggregation)
    result = compiled(given)
    # A compiler may round products and sums as one.
    np.testing.assert_array_max_ulp(result.scores.numpy(), scores, maxulp=4)
    np.testing.assert_array_equal(result.classes, classes)


def all_tensors(graph: tf.Graph) -> list[tf.Tensor]:
    """The tensors of a graph and of all functions it calls."""
    tensors = [x for operation in graph.get_operations() for x in operation.outputs]
    for name in graph._functions:
        inner = graph._get_function(name).graph
        if inner is not graph:
            tensors += all_tensors(inner)
    return tensors


@pytest.mark.parametrize(
    ("method", "aggregation"),
    [
        *(("score_all", aggregation) for aggregation in AGGREGATIONS),
        ("certified", "min"),
        ("certified", "mean_logit"),
    ],
)
@pytest.mark.parametrize("keeps_partners", [False, True])
def test_no_memory_grows_with_the_number_of_classes(
    method: str, aggregation: str, keeps_partners: bool
) -> None:
    """Nothing in the graph has K elements but the tables, which nothing copies."""
    # A prime number: no other size is a multiple of it by chance.
    num_classes, num_buckets, chunk_size = 1_000_003, 50, 64
    tables = [
        tf.TensorSpec([3, num_classes], tf.uint8),
        tf.TensorSpec([3, num_classes], tf.int32),
        tf.TensorSpec([3, num_buckets + 1], tf.int32),
    ]
    if keeps_partners:
        tables.append(tf.TensorSpec([3, num_classes], tf.uint8))
    decode = tf.function(
        lambda values, buckets, members, offsets, partners=None: top_k(
            values,
            buckets,
            10,
            aggregation,
            inverse_lists=(members, offsets),
            partner_buckets=partners,
            method=method,
            chunk_size=chunk_size,
        ),
        autograph=False,
    ).get_concrete_function(tf.TensorSpec([2, 3, num_buckets]), *tables)
    # The tables as they are, or in one row, which is no copy.
    passed_on = [(spec.dtype, spec.shape.as_list()) for spec in tables]
    passed_on += [(spec.dtype, [spec.shape.num_elements()]) for spec in tables]
    for tensor in all_tensors(decode.graph):
        if tensor.dtype in (tf.variant, tf.resource) or "redundant" in tensor.name:
            continue
        if tensor.shape.rank is None or None in tensor.shape:
            # As large as what has been found in the lists.
            assert method == "certified", tensor
        elif tensor.shape.num_elements() > 2 * 3 * max(num_buckets, chunk_size):
            shape = (tensor.dtype, tensor.shape.as_list())
            assert shape in passed_on, tensor


def test_no_query() -> None:
    for k in (3, tf.constant(3)):
        _, _, given, buckets, lists = small_case()
        for method in BOTH:
            result = top_k(
                given[:0], buckets, k, "min", inverse_lists=lists, method=method
            )
            assert result.scores.shape == result.classes.shape == (0, 3)
            assert result.num_scored.shape == (0,)


@pytest.mark.parametrize("aggregation", ["median", "mean_logit"])
def test_numbers_that_the_processor_takes_for_zero(aggregation: str) -> None:
    """Both ways take them for the same, in whatever order."""
    rng = np.random.default_rng(3)
    table = rng.integers(0, 30, (3, 300))
    values = rng.choice([-2e-38, -1e-40, 0, 1e-40, 2e-40, 2e-38], (40, 3, 30))
    buckets = tf.constant(table, tf.uint8)
    decode = make_decoder(aggregation, 3, 30, max_entries=NO_LIMIT)
    found = decode(
        tf.constant(values, tf.float32),
        buckets,
        *build_inverse_lists(buckets, 30),
        tf.constant(7),
    )
    for result in found.values():
        assert_same(result, found["score_all"].scores, found["score_all"].classes)


@pytest.mark.parametrize("k", [0, -1, 201, 1.0, True, None, "3", tf.constant(1.5)])
def test_k_out_of_range_is_refused(k: object) -> None:
    _, _, given, buckets, lists = small_case()
    for method in METHODS:
        with pytest.raises(ValueError, match="`k` must be an integer from 1 to"):
            top_k(given, buckets, k, "min", inverse_lists=lists, method=method)


@pytest.mark.parametrize("k", [0, 201])
def test_k_out_of_range_is_refused_in_the_graph(k: int) -> None:
    _, _, given, buckets, lists = small_case()
    decode = make_decoder("min", 4, 20, methods=("score_all",))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="`k` must be from 1 to the number of cl"
    ):
        decode(given, buckets, *lists, tf.constant(k))


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    values, _, _, buckets, lists = small_case()
    values[1, 2, 3] = value

    def decode() -> TopK:
        return top_k(tf.constant(values), buckets, 1, "min", inverse_lists=lists)

    in_graph = tf.function(decode, autograph=False)
    for run in (decode, in_graph) if np.isnan(value) else (decode,):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="`values` must be numbers below"
        ):
            run()


def test_arguments_that_do_not_fit_are_refused() -> None:
    _, _, values, buckets, lists = small_case()
    with pytest.raises(ValueError, match=r"`aggregation` must be one of.*'max'"):
        top_k(values, buckets, 1, "max")
    with pytest.raises(ValueError, match=r"`method` must be one of.*'fast'"):
        top_k(values, buckets, 1, "min", method="fast")
    with pytest.raises(ValueError, match=r"needs `inverse_lists`"):
        top_k(values, buckets, 1, "min", method="certified")
    with pytest.raises(ValueError, match=r"`values` must be float32.*float64"):
        top_k(tf.cast(values, tf.float64), buckets, 1, "min")
    with pytest.raises(ValueError, match=r"`values` must be float32.*\(4, 20\)"):
        top_k(values[0], buckets, 1, "min")
    with pytest.raises(ValueError, match=r"`buckets` must be integers.*\(3, 200\)"):
        top_k(values, buckets[:3], 1, "min")
    with pytest.raises(ValueError, match=r"`buckets` must be integers.*float32"):
        top_k(values, tf.cast(buckets, tf.float32), 1, "min")
    with pytest.raises(ValueError, match=r"`inverse_lists.members`.*\(4, 100\)"):
        top_k(values, buckets, 1, "min", inverse_lists=(lists[0][:, :100], lists[1]))
    with pytest.raises(ValueError, match=r"`inverse_lists.offsets`.*\(4, 20\)"):
        top_k(values, buckets, 1, "min", inverse_lists=(lists[0], lists[1][:, :20]))
    for partners in (lists[0][:, :100], tf.zeros([4, 200])):
        with pytest.raises(ValueError, match=r"`partner_buckets` must be integers.*4"):
            top_k(
                values, buckets, 1, "min", inverse_lists=lists, partner_buckets=partners
            )
    nothing = tf.Variable(tf.zeros([4, 0], tf.int32), shape=[4, None])
    in_graph = tf.function(
        lambda: top_k(
            values,
            buckets,
            1,
            "mean_logit",
            inverse_lists=lists,
            partner_buckets=nothing,
        )
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"of the shape of"):
        in_graph()
    for name in ("chunk_size", "max_entries"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1.*0"):
            top_k(values, buckets, 1, "min", inverse_lists=lists, **{name: 0})


def test_auto_takes_the_cheaper_way() -> None:
    rng = np.random.default_rng(4)
    table = rng.integers(0, 5000, (8, 300_000))
    steep = peaky_logits(rng, table, 5000, num_heavy=10)[np.newaxis]
    flat = np.zeros(steep.shape)

    def num_scored(logits: np.ndarray, num_classes: int, method: str) -> list[int]:
        buckets = tf.constant(table[:, :num_classes], tf.uint16)
        result = top_k(
            tf.constant(logits, tf.float32),
            buckets,
            1,
            "mean_logit",
            inverse_lists=build_inverse_lists(buckets, 5000),
            method=method,
        )
        return result.num_scored.numpy().tolist()

    # Many classes: what can be found by a search is, the rest is scored.
    found, all_of_them = num_scored(np.concatenate([steep, flat]), 300_000, "auto")
    assert found < 300
    assert all_of_them == 300_000
    # Few classes, or many queries at once: a search would take longer.
    assert num_scored(steep, 5000, "certified")[0] < 5000
    assert num_scored(steep, 5000, "auto") == [5000]
    many = np.repeat(steep, 40, axis=0)
    assert num_scored(many, 100_000, "auto") == [100_000] * 40
