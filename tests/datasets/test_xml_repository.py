"""The reader against files written by hand, and what it says of broken ones."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.datasets import SparseExamples, XMLRepository, write_xml_repository
from tfrs_dhe.datasets import xml_repository as module

TEXT = b"5 10 7\n1,6 0:1 3:0.5 9:-2\n 2:1e-3 4:.25\n0\n \n3,2,5 7:+3. 1:2E2\n"
FEATURES = np.zeros([5, 10], np.float32)
FEATURES[0, [0, 3, 9]] = 1, 0.5, -2
FEATURES[1, [2, 4]] = 1e-3, 0.25
FEATURES[4, [1, 7]] = 200, 3
LABELS = [[1, 6], [], [0], [], [3, 2, 5]]


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "data.txt"
        path.write_bytes(content)
        return path

    return write


def dense(dataset):
    features = [tf.sparse.to_dense(batch["features"]).numpy() for batch in dataset]
    labels = [row for batch in dataset for row in batch["labels"].to_list()]
    return np.concatenate(features), labels


def same(actual: SparseExamples, expected: SparseExamples):
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(actual, name), value)


def numbered(count, num_features=4):
    """Lines with a label and a value that tell them apart."""
    lines = "".join(f"{i} {i % num_features}:{i}\n" for i in range(count))
    return f"{count} {num_features} {count}\n{lines}".encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.removesuffix(b"\n"),
        lambda text: text + b"\n\r\n\n",
        lambda text: text.replace(b" 3:0.5", b"   3:0.5  "),
        lambda text: text.replace(b"5 10 7\n", b"5\t10 7 \n"),
    ],
    ids=["as it is", "CRLF", "no last newline", "blank end", "spaces", "tab"],
)
@pytest.mark.parametrize("batch_size", [2, 9])
def test_reads_what_stands_there(write, change, batch_size):
    file = XMLRepository(write(change(TEXT)))
    assert (file.num_examples, file.num_features, file.num_labels) == (5, 10, 7)
    assert len(file) == 5
    for dataset in (file.batches(batch_size), file.read().batches(batch_size)):
        features, labels = dense(dataset)
        np.testing.assert_array_equal(features, FEATURES)
        assert labels == LABELS


def test_only_labels_or_only_features(write):
    assert XMLRepository(write(b"2 3 4\n1\n2,0\n")).read().labels.tolist() == [1, 2, 0]
    examples = XMLRepository(write(b"2 3 4\n 1:1\n 0:7\n")).read()
    assert examples.feature_values.tolist() == [1, 7]
    assert examples.label_splits.tolist() == [0, 0, 0]


def test_features_beyond_32_bits(write):
    file = XMLRepository(write(b"1 1000000000000000 3\n2 999999999999999:1\n"))
    assert file.read().feature_ids.tolist() == [10**15 - 1]
    assert next(iter(file.batches(1)))["features"].shape == [1, 10**15]


@pytest.mark.parametrize(("drop", "rows", "count"), [(False, None, 3), (True, 2, 2)])
def test_static_shapes(write, drop, rows, count):
    dataset = XMLRepository(write(TEXT)).batches(2, drop_remainder=drop)
    spec = dataset.element_spec
    assert spec["features"] == tf.SparseTensorSpec([rows, 10], tf.float32)
    assert spec["labels"].shape.as_list() == [rows, None]
    assert spec["labels"].dtype == tf.int64
    assert dataset.cardinality() == len(list(dataset)) == count


@pytest.mark.parametrize("chunk", [1, 50, 2**20])
@pytest.mark.parametrize(("batch_size", "buffer"), [(3, 0), (3, 8), (7, 7), (4, 1000)])
def test_streams_all_in_any_chunks(write, monkeypatch, chunk, batch_size, buffer):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    dataset = XMLRepository(write(numbered(100))).batches(
        batch_size, shuffle_buffer=buffer
    )
    sizes, order = [], []
    for batch in dataset:
        labels = batch["labels"].values.numpy()
        sizes.append(len(labels))
        order.extend(labels.tolist())
        np.testing.assert_array_equal(batch["features"].values, labels)
        np.testing.assert_array_equal(batch["features"].indices[:, 1], labels % 4)
    assert sorted(order) == list(range(100))
    assert (order == list(range(100))) == (buffer == 0)
    assert set(sizes[:-1]) == {batch_size}
    # What is shuffled stays in its window.
    window = batch_size * max(1, -(-buffer // batch_size))
    assert [i // window for i in order] == [i // window for i in range(100)]


def test_passes_have_orders_that_follow_from_the_seed(write):
    file = XMLRepository(write(numbered(100)))

    def passes(seed):
        dataset = file.batches(10, shuffle_buffer=50, seed=seed)
        return [
            [batch["labels"].values.numpy().tolist() for batch in dataset]
            for _ in range(2)
        ]

    first, second = passes(3)
    assert first != second
    assert passes(3) == [first, second]
    assert passes(4)[0] != first


def test_holds_no_more_than_a_chunk(write, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 100)
    text = numbered(1000)
    blocks = XMLRepository(write(text)).blocks()
    # A chunk ends with the line that fills it; the shortest line has 6 bytes.
    assert max(map(len, blocks)) <= 100 // 6 + 1
    broken = XMLRepository(write(text.replace(b"999 3:999", b"999 3;999"))).blocks()
    read = []
    with pytest.raises(ValueError, match="line 1001: expected `feature:value`"):
        read.extend(block.labels for block in broken)
    assert np.concatenate(read).tolist()[:900] == list(range(900))


HEADER = "expected `N D L`, the numbers of examples, features and labels, received"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty; expected a first line `N D L`"),
        (b"\n", HEADER),
        (b"5 10\n", HEADER + r" '5 10\\n'"),
        (b"5 10 7 1\n", HEADER),
        (b"1,6 0:1 3:0.5\n", HEADER),
        (b"-5 10 7\n", HEADER),
        (b"5.0 10 7\n", HEADER),
        (b"0 10 7\n", r"N, D and L must be from 1 to 10\*\*15"),
        (b"5 0 7\n", "N, D and L must be"),
        (b"5 1000000000000001 7\n", "N, D and L must be"),
        (b"\xef\xbb\xbf5 10 7\n", HEADER + r" '\\\\xef\\\\xbb\\\\xbf5 10 7"),
        ("5 10 7\n".encode("utf-16"), HEADER),
    ],
)
def test_bad_header(write, content, problem):
    path = write(content)
    with pytest.raises(
        ValueError, match=rf"^{re.escape(str(path))}, line 1: {problem}"
    ):
        XMLRepository(path)


BAD_LINES = [
    (b"7 0:1", "label 7 is not below L = 7"),
    (b"1,7 0:1", "label 7 is not below L = 7"),
    (b"999999999999999999 0:1", "label 999999999999999999 is not below"),
    (b"9999999999999999999 0:1", "label 9999999999999999999 is not below L = 7"),
    (b"-1 0:1", "label '-1' is not a number of a label"),
    (b"1,,2 0:1", "label '' is not a number of a label"),
    (b"1, 0:1", "label '' is not a number of a label"),
    (b"a 0:1", "label 'a' is not a number of a label"),
    (b"1.0 0:1", "label '1.0' is not a number of a label"),
    (b"1,2,1 0:1", "a label stands there twice"),
    (b"0:1 3:1", "expected labels `l1,l2`, received '0:1'; a line without labels st"),
    (b"1 10:1", "feature 10 is not below D = 10"),
    (b"1 0:1 12345678901234567:1", "feature 12345678901234567 is not below D"),
    (b"1 12345678901234567890:1", "feature 12345678901234567890 is not below D = 10"),
    (b"1 -1:1", "feature '-1' is not a number of a feature"),
    (b"1 a:1", "feature 'a' is not a number of a feature"),
    (b"1 :1", "feature '' is not a number of a feature"),
    (b"1 1.5:1", "feature '1.5' is not a number of a feature"),
    (b"1 0:1 0:1", "a feature stands there twice"),
    (b"1 3:1 0:1 3:1", "a feature stands there twice"),
    (b"1 0:x", "value 'x' is not a finite number"),
    (b"1 0:", "value '' is not a finite number"),
    (b"1 0:nan", "value 'nan' is not a finite number"),
    (b"1 0:-inf", "value '-inf' is not a finite number"),
    (b"1 0:1_0", "value '1_0' is not a finite number"),
    (b"1 0:0x1", "value '0x1' is not a finite number"),
    (b"1 0:1e39", "the value of feature 0 is too large for float32"),
    (b"1 0:1e999", "the value of feature 0 is too large for float32"),
    (b"1 0:1 3", "expected `feature:value`, received '3'"),
    (b"1 0:1 3:1:1", "expected `feature:value`, received '3:1:1'"),
    (b"1 0:1\t3:1", r"expected `feature:value`, received '0:1\\t3:1'"),
    (b"1 0:1 # two", "expected `feature:value`, received '#'"),
    (b"1 0:1\r3:1", r"expected `feature:value`, received '0:1\\r3:1'"),
    (b"1 0:1\x00", r"value '1\\x00' is not a finite number"),
    (b"", "the line is empty; an example without labels and features is a space"),
    ("1 0:1 é:1".encode(), "byte 0xc3 at column 7 is not ASCII"),
    ("1 0:1 é:1".encode("latin-1"), "byte 0xe9 at column 7 is not ASCII"),
    ("1 ٣:1".encode(), "byte 0xd9 at column 3 is not ASCII"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_LINES, ids=lambda x: str(x)[:30])
@pytest.mark.parametrize("chunk", [1, 2**20])
def test_bad_line(write, monkeypatch, line, problem, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    path = write(TEXT.replace(b"0\n \n", line + b"\n \n"))
    with pytest.raises(
        ValueError, match=rf"^{re.escape(str(path))}, line 4: {problem}"
    ):
        XMLRepository(path).read()


@pytest.mark.parametrize("chunk", [1, 2**20])
@pytest.mark.parametrize(
    ("change", "line", "problem"),
    [
        (
            lambda t: t[: t.index(b" \n")],
            5,
            "the file ends here, after 3 examples; lin",
        ),
        (
            lambda t: t[: t.index(b"1,6")],
            2,
            "the file ends here, after 0 examples; lin",
        ),
        (lambda t: t[: t.index(b"E2")] + b"E", 6, "value '2E' is not a finite number"),
        (lambda t: t + b"1 1:1\n", 7, "expected the end of the file after 5 examples"),
        (lambda t: t + b"\n\n \n", 9, "expected the end of the file after 5 examples"),
        (lambda t: t + b"\n# end", 8, "expected the end of the file after 5 examples"),
    ],
)
def test_wrong_number_of_lines(write, monkeypatch, change, line, problem, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    path = write(change(TEXT))
    place = rf"^{re.escape(str(path))}, line {line}: "
    with pytest.raises(ValueError, match=place + problem):
        XMLRepository(path).read()


def test_stream_says_what_is_wrong(write):
    path = write(TEXT.replace(b"9:-2", b"10:-2"))
    problem = r"data\.txt, line 2: feature 10 is not below D = 10"
    with pytest.raises(tf.errors.InvalidArgumentError, match=problem):
        list(XMLRepository(path).batches(2))


def test_bad_arguments(write, tmp_path):
    file = XMLRepository(write(TEXT))
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        file.batches(0)
    with pytest.raises(ValueError, match="`shuffle_buffer` must be an integer >= 0"):
        file.batches(2, shuffle_buffer=-1)
    with pytest.raises(ValueError, match="`seed` must be an integer >= 0"):
        file.batches(2, seed=-1)
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
        XMLRepository(tmp_path / "absent.txt")


def test_written_file(write, tmp_path):
    examples = XMLRepository(write(TEXT)).read()
    path = write_xml_repository(tmp_path / "copy.txt", examples)
    assert path.read_bytes() == (
        b"5 10 7\n1,6 0:1 3:0.5 9:-2\n 2:0.001 4:0.25\n0\n \n3,2,5 1:200 7:3\n"
    )
    same(XMLRepository(path).read(), examples)


def test_written_values_come_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    # Any bits that are no NaN or infinity: tiny, huge, negative, subnormal.
    bits = rng.integers(2**32, size=5000, dtype=np.uint32).view(np.float32)
    values = bits[np.isfinite(bits)]
    n = len(values)
    examples = SparseExamples(
        feature_splits=np.array([0, n]),
        feature_ids=np.arange(n),
        feature_values=values,
        label_splits=np.array([0, 0]),
        labels=np.zeros(0, np.int64),
        num_features=n,
        num_labels=1,
    )
    path = write_xml_repository(tmp_path / "data.txt", examples)
    read = XMLRepository(path).read().feature_values
    np.testing.assert_array_equal(read.view(np.uint32), values.view(np.uint32))


def test_nothing_to_write(write, tmp_path):
    examples = XMLRepository(write(TEXT)).read().take([])
    with pytest.raises(ValueError, match="`examples` must hold at least one"):
        write_xml_repository(tmp_path / "none.txt", examples)
