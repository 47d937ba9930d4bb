import pytest

from tfrs_dhe.datasets import read_next_items, read_sessions


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "data.txt"
        path.write_bytes(text)
        return path

    return write


@pytest.mark.parametrize(
    "text", [b"1 2\n7\n3  2147483647 3\n", b"1 2\r\n7\r\n3 2147483647 3"]
)
def test_sessions(write, text):
    sessions = read_sessions(write(text))
    assert [s.tolist() for s in sessions] == [[1, 2], [7], [3, 2147483647, 3]]


def test_next_items(write):
    examples = read_next_items(write(b"1 2\t3\n4\t5\n"))
    assert examples.items.tolist() == [1, 2, 4]
    assert examples.row_splits.tolist() == [0, 2, 3]
    assert examples.next_item.tolist() == [3, 5]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "expected the numbers of items, received none"),
        (b"1 x", "an item is not an integer.*'x'"),
        (b"1 2.5", "an item is not an integer"),
        (b"1 1_0", "an item is not an integer.*underscore: '1_0'"),
        (b"1 \xff", "an item is not an integer"),
        (b"1 0", r"items must lie in \[1, 2147483647\]"),
        (b"-1 2", "items must lie in"),
        (b"2147483648", "items must lie in"),
    ],
)
def test_errors_name_the_line(write, line, message):
    with pytest.raises(ValueError, match=f"data.txt, line 3: {message}"):
        read_sessions(write(b"1 2\n3 4\n" + line + b"\n1\n"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1 2", "got no tab"),
        (b"\t2", "received none"),
        (b"1\t", "received none"),
        (b"1\t2 3", "expected one next item, received 2"),
        (b"1\t2\t3", "expected one next item, received 2"),
        (b"1\tx", "not an integer"),
    ],
)
def test_errors_of_examples_name_the_line(write, line, message):
    with pytest.raises(ValueError, match=f"data.txt, line 2: .*{message}"):
        read_next_items(write(b"1 2\t3\n" + line + b"\n"))
