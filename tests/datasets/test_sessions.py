import numpy as np
import pytest

from tfrs_dhe.datasets import Sessions
from tfrs_dhe.datasets.sessions import PADDING

LISTS = [[5, 3, 3], [2], [4, 1], [7, 6, 5, 4, 3, 2, 1]]


@pytest.fixture
def sessions():
    return Sessions.from_lists(LISTS)


def examples_of(batches):
    """Pairs of what a left-to-right model sees before an item, and the item."""
    found = []
    for batch in batches:
        rows = zip(batch["items"].numpy(), batch["next_items"].numpy(), strict=True)
        for items, next_items in rows:
            for place in np.flatnonzero(next_items != PADDING):
                found.append((items[: place + 1].tolist(), int(next_items[place])))
    return found


def beginnings(lists):
    return [(s[:i], s[i]) for s in lists for i in range(1, len(s))]


def test_holds_the_lists(sessions):
    assert len(sessions) == 4
    assert [session.tolist() for session in sessions] == LISTS
    assert sessions.num_examples == 2 + 0 + 1 + 6


def test_counts(sessions):
    assert sessions.counts(8).tolist() == [0, 2, 2, 3, 2, 2, 1, 1, 0]
    with pytest.raises(ValueError, match=r"`num_items`.*Received: 6, with an item 7"):
        sessions.counts(6)


def test_split_last(sessions):
    before, last = sessions.split_last(2)
    assert [session.tolist() for session in before] == LISTS[:2]
    assert [session.tolist() for session in last] == LISTS[2:]


@pytest.mark.parametrize("num_sessions", [0, 4, -1])
def test_split_leaves_no_part_empty(sessions, num_sessions):
    with pytest.raises(ValueError, match="`num_sessions` must leave a session"):
        sessions.split_last(num_sessions)


def test_next_items(sessions):
    examples = sessions.next_items()
    found = [
        (examples.items[start:end].tolist(), int(item))
        for start, end, item in zip(
            examples.row_splits,
            examples.row_splits[1:],
            examples.next_item,
            strict=False,
        )
    ]
    assert found == beginnings(LISTS)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("num_examples", [1, 4, 100])
def test_batches_hold_every_example_once(sessions, shuffle, num_examples):
    batches = sessions.batches(num_examples, max_length=10, shuffle=shuffle)
    assert sorted(examples_of(batches)) == sorted(beginnings(LISTS))


@pytest.mark.parametrize("max_length", [2, 3, 4, 7, 20])
def test_windows_of_long_sessions(max_length):
    """Every item is predicted once, from enough of what came right before it."""
    lists = [list(range(1, length + 1)) for length in range(1, 26)]
    batches = Sessions.from_lists(lists).batches(50, max_length=max_length)
    found = examples_of(batches)
    expected = [s[i] for s in lists for i in range(1, len(s))]
    assert sorted(item for _, item in found) == sorted(expected)
    for seen, item in found:
        # These sessions count up from 1.
        assert seen == list(range(item - len(seen), item))
        assert len(seen) <= max_length
        assert len(seen) >= min(item - 1, max_length // 2)


def test_batches_are_of_about_the_size_asked_for():
    rng = np.random.default_rng(0)
    lists = [[1] * n for n in rng.integers(2, 12, 5_000)]
    sizes = [
        int((batch["next_items"].numpy() != PADDING).sum())
        for batch in Sessions.from_lists(lists).batches(100, shuffle=True)
    ]
    assert max(sizes) < 100 + 10
    assert np.median(sizes) > 90


@pytest.mark.parametrize("lists", [[], [[]], [[5], [], [7]]])
@pytest.mark.parametrize("shuffle", [False, True])
def test_sessions_without_a_next_item_have_no_batches(lists, shuffle):
    sessions = Sessions.from_lists(lists)
    assert sessions.num_examples == 0
    assert list(sessions.batches(5, shuffle=shuffle)) == []


def test_order_is_of_seed_and_epoch():
    sessions = Sessions.from_lists([[i, i] for i in range(1, 100)])

    def first(**order):
        batch = next(iter(sessions.batches(50, shuffle=True, **order)))
        return batch["items"].numpy()[:, 0].tolist()

    assert first() == first(seed=0, epoch=0)
    assert len({tuple(first(seed=s, epoch=e)) for s in (0, 1) for e in (0, 1)}) == 4


@pytest.mark.parametrize(
    ("items", "row_splits", "message"),
    [
        ([1, 0], [0, 2], "`items` must be numbers from 1"),
        ([1, 2], [0, 1], "`row_splits` must rise from 0 to the number of items, 2"),
        ([1, 2], [0, 2, 1, 2], "`row_splits` must rise"),
        ([1, 2], [], "`row_splits` must rise"),
    ],
)
def test_refuses_what_is_no_session(items, row_splits, message):
    with pytest.raises(ValueError, match=message):
        Sessions(np.array(items, np.int32), np.array(row_splits, np.int64))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (1.5, "must be integers. Received dtype float64"),
        (2**31, "must be numbers up to 2147483647. Received: 2147483648"),
        (2**64, "must be integers. Received dtype object"),
        (0, "must be numbers from 1"),
    ],
)
def test_refuses_items_that_would_become_others(item, message):
    with pytest.raises(ValueError, match=f"`sessions` {message}"):
        Sessions.from_lists([[1, item]])
    with pytest.raises(ValueError, match=f"`items` {message}"):
        Sessions(np.array([1, item]), np.array([0, 2]))


def test_items_of_any_integer_dtype_are_themselves():
    for dtype in (np.uint8, np.int64, np.uint64):
        sessions = Sessions(np.array([200, 7], dtype), np.array([0, 2]))
        (batch,) = sessions.batches(5)
        assert batch["items"].numpy().tolist() == [[200]]
        assert batch["next_items"].numpy().tolist() == [[7]]
    assert len(Sessions.from_lists([])) == 0


def test_refuses_arguments(sessions):
    with pytest.raises(ValueError, match=r"`num_examples`.*Received: 0"):
        sessions.batches(0)
    with pytest.raises(ValueError, match=r"`max_length`.*Received: 1"):
        sessions.batches(5, max_length=1)
