"""CityHash64 against the reference implementation."""

import random

import cityhash
import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.hashing import cityhash64

# Where the algorithm, or the way in which chunks are grouped, changes.
EDGE_LENGTHS = [0, 1, 3, 4, 7, 8, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65]
EDGE_LENGTHS += [127, 128, 129, 192, 193, 256, 257, 512, 513, 1024, 1025]
LONG_LENGTHS = [4095, 4096, 4097, 9_999, 16_385, 65_536, 65_537, 99_999, 100_000]


def random_strings(lengths, seed=0):
    generator = random.Random(seed)
    strings = [generator.randbytes(length) for length in lengths]
    generator.shuffle(strings)
    return strings


def expected(strings):
    """The reference's hash of nested lists of bytes, as signed integers."""
    if isinstance(strings, bytes):
        return int(np.uint64(cityhash.CityHash64(strings)).astype(np.int64))
    return [expected(string) for string in strings]


def dense(strings, shape):
    return np.array(strings, dtype=object).reshape(shape)


MIXED = random_strings([*EDGE_LENGTHS, 2_000, 20_000], seed=1)


@pytest.mark.parametrize(
    ("string", "unsigned_hash"),
    [
        (b"", 0x9AE16A3B2F90404F),
        (b"a", 0xB3454265B6DF75E3),
        (b"user_1", 0x0E03394F8ED9DF26),
        (bytes(range(32)), 0x1A9D8199972CDF49),
        (bytes(range(33)), 0x46E1378CBC22DABA),
        (bytes(range(64)), 0xE99AB80F5EC7DCA5),
        (bytes(range(65)), 0xAC589C990483DD2E),
        (bytes(range(256)), 0x0C693049D8C2C68D),
        (bytes(range(256)) * 16, 0x9ADDE01425F78614),
    ],
)
def test_golden_values(string, unsigned_hash):
    result = cityhash64([string])
    assert result.dtype == tf.int64
    assert int(result[0]) % 2**64 == unsigned_hash


@pytest.mark.parametrize("seed", range(4))
def test_equals_reference_on_every_length_up_to_300(seed):
    lengths = [length for length in range(301) for _ in range(85)]
    strings = random_strings(lengths, seed)
    assert len(strings) > 25_000
    np.testing.assert_array_equal(cityhash64(strings), expected(strings))


@pytest.mark.parametrize("length", LONG_LENGTHS)
def test_equals_reference_on_long_strings(length):
    strings = random_strings([length] * 3, seed=length)
    np.testing.assert_array_equal(cityhash64(strings), expected(strings))


def test_equals_reference_on_every_number_of_chunks():
    strings = random_strings(range(301, 64 * 70, 23))
    np.testing.assert_array_equal(cityhash64(strings), expected(strings))


@pytest.mark.parametrize("length", EDGE_LENGTHS)
@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"\x80"])
def test_any_byte_counts(byte, length):
    # NUL bytes end no string, and bytes that are no UTF-8 are hashed as they are.
    strings = [byte * length, b"\x00" + byte * length, byte * length + b"\x00"]
    np.testing.assert_array_equal(cityhash64(strings), expected(strings))


def test_python_text_is_hashed_as_utf8():
    text = "größer " * 8
    assert int(cityhash64(text)) == expected(text.encode())


def test_one_long_string_among_short_ones():
    strings = random_strings([16] * 4095 + [100_000])
    np.testing.assert_array_equal(cityhash64(strings), expected(strings))


@pytest.mark.parametrize("seed", range(5))
def test_permuting_a_batch_permutes_the_result(seed):
    permutation = np.random.default_rng(seed).permutation(len(MIXED))
    permuted = [MIXED[i] for i in permutation]
    np.testing.assert_array_equal(
        cityhash64(permuted), cityhash64(MIXED).numpy()[permutation]
    )


@pytest.mark.parametrize(
    "order", [sorted, lambda s: sorted(s, key=len), lambda s: sorted(s)[::-1]]
)
def test_mixed_lengths_in_any_order(order):
    strings = order(MIXED)
    np.testing.assert_array_equal(cityhash64(strings), expected(strings))


@pytest.mark.parametrize("lengths", [[5], [40], [70], [5, 40], [5, 70], [40, 70]])
def test_each_mixture_of_the_three_size_classes(lengths):
    strings = random_strings(lengths * 3)
    np.testing.assert_array_equal(cityhash64(strings), expected(strings))


SHAPES = [(), (1,), (24,), (4, 6), (2, 3, 4), (0,), (3, 0), (0, 2, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lengths", [[3], [3, 33, 200]])
@pytest.mark.parametrize("mode", ["eager", "static", "unknown_sizes", "unknown_rank"])
def test_shapes(shape, lengths, mode):
    size = int(np.prod(shape))
    flat = random_strings((lengths * 24)[:size], seed=2)
    strings = tf.constant(dense(flat, shape), tf.string)

    if mode == "eager":
        result = cityhash64(strings)
    else:
        spec_shape = {
            "static": tf.TensorShape(shape),
            "unknown_sizes": tf.TensorShape([None] * len(shape)),
            "unknown_rank": tf.TensorShape(None),
        }[mode]
        function = tf.function(
            cityhash64, input_signature=[tf.TensorSpec(spec_shape, tf.string)]
        )
        inferred = function.get_concrete_function().structured_outputs.shape
        assert repr(inferred) == repr(spec_shape)
        result = function(strings)

    assert result.shape == shape
    assert result.dtype == tf.int64
    np.testing.assert_array_equal(np.ravel(result), expected(flat))


@pytest.mark.parametrize("in_graph", [False, True])
def test_ragged(in_graph):
    rows = [MIXED[:3], [], MIXED[3:10], MIXED[10:]]
    function = tf.function(cityhash64) if in_graph else cityhash64
    result = function(tf.ragged.constant(rows, dtype=tf.string))
    assert isinstance(result, tf.RaggedTensor)
    assert result.dtype == tf.int64
    assert result.to_list() == expected(rows)


def test_ragged_of_higher_rank():
    rows = [[MIXED[:2], []], [], [MIXED[2:5]]]
    assert cityhash64(tf.ragged.constant(rows)).to_list() == expected(rows)


@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_in_tf_data(batch_size):
    dataset = tf.data.Dataset.from_tensor_slices(MIXED)
    if batch_size is not None:
        dataset = dataset.batch(batch_size)
    results = [np.ravel(ids) for ids in dataset.map(cityhash64)]
    np.testing.assert_array_equal(np.concatenate(results), expected(MIXED))


def test_in_a_graph_of_tensorflow_1():
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        placeholder = tf.compat.v1.placeholder(tf.string)
        ids = cityhash64(placeholder)
        for strings in (MIXED, MIXED[:1]):
            result = session.run(ids, {placeholder: strings})
            np.testing.assert_array_equal(result, expected(strings))


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("cityhash") / "1")
    module = tf.Module()
    module.hash = tf.function(
        lambda ids: {"hashes": cityhash64(ids)},
        input_signature=[tf.TensorSpec(None, tf.string, name="ids")],
    )
    tf.saved_model.save(module, path, signatures=module.hash)
    return path


BATCHES = [MIXED, [s for s in MIXED if len(s) <= 32], []]


@pytest.mark.parametrize("strings", BATCHES, ids=["mixed", "short", "empty"])
def test_saved_model(saved_model, strings):
    serve = tf.saved_model.load(saved_model).signatures["serving_default"]
    result = serve(ids=tf.constant(strings, tf.string))["hashes"]
    np.testing.assert_array_equal(result, expected(strings))


def test_saved_model_in_a_session(saved_model):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], saved_model)
        signature = meta_graph.signature_def["serving_default"]
        source = signature.inputs["ids"].name
        target = signature.outputs["hashes"].name
        for strings in BATCHES:
            result = session.run(target, {source: dense(strings, -1)})
            np.testing.assert_array_equal(result, expected(strings))


LONG_OPS = {"Substr", "DecodeRaw", "While", "StatelessWhile"}


def test_short_batches_do_not_run_the_long_path():
    function = tf.function(
        cityhash64, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    graph = function.get_concrete_function().graph.as_graph_def()
    library = {f.signature.name: f.node_def for f in graph.library.function}

    def callees(node):
        return [
            v.func.name for v in node.attr.values() if v.WhichOneof("value") == "func"
        ]

    def reachable_ops(nodes):
        ops = {node.op for node in nodes}
        for node in nodes:
            for name in callees(node):
                ops |= reachable_ops(library[name])
        return ops

    calling = [node for node in graph.node if callees(node)]
    assert [node.op for node in calling] == ["StatelessIf"]
    assert not {node.op for node in graph.node} & LONG_OPS
    branches = calling[0].attr
    short = reachable_ops(library[branches["else_branch"].func.name])
    long = reachable_ops(library[branches["then_branch"].func.name])
    assert not short & LONG_OPS
    assert {"Substr", "DecodeRaw"} <= long


def test_no_python_function_and_no_lookup_table():
    function = tf.function(cityhash64, input_signature=[tf.TensorSpec(None, tf.string)])
    graph = function.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    ops = {node.op for node in nodes}
    assert not {op for op in ops if "PyFunc" in op or "Table" in op}


@pytest.mark.parametrize(
    ("strings", "received"),
    [
        (None, "None"),
        ([1, 2], "int32"),
        (np.array([1], np.int64), "int64"),
        (tf.constant([0.5]), "float32"),
        (tf.ragged.constant([[1], [2, 3]]), "int32"),
        ([None, "a"], "None"),
        ([["a"], ["b", "c"]], "list"),
        (tf.sparse.from_dense(["a"]), "SparseTensor"),
    ],
)
def test_other_input_is_refused(strings, received):
    with pytest.raises(ValueError, match=r"`strings`") as raised:
        cityhash64(strings)
    assert received in str(raised.value)
    assert "Integer ids need no string hash" in str(raised.value)


def test_other_input_is_refused_in_a_graph():
    with pytest.raises(ValueError, match=r"`strings`.*int64"):
        tf.function(cityhash64).get_concrete_function(tf.TensorSpec([None], tf.int64))


def test_empty_list_is_a_batch_without_strings():
    result = cityhash64([])
    assert result.shape == (0,)
    assert result.dtype == tf.int64
