import numpy as np
import pytest

from tfrs_dhe.datasets import NextItems, Sessions

LISTS = [[5, 3, 3, 9], [4, 1]]


@pytest.fixture
def examples():
    return Sessions.from_lists(LISTS).next_items()


def test_batches(examples):
    first, second = examples.batches(3)
    assert first["items"].numpy().tolist() == [[5, 0, 0], [5, 3, 0], [5, 3, 3]]
    assert first["next_item"].numpy().tolist() == [3, 3, 9]
    assert second["items"].numpy().tolist() == [[4]]
    assert second["next_item"].numpy().tolist() == [1]


def test_batches_give_the_last_items(examples):
    (batch,) = examples.batches(10, max_length=2)
    assert batch["items"].numpy().tolist() == [[5, 0], [5, 3], [3, 3], [4, 0]]


def test_sample():
    examples = Sessions.from_lists(
        [[i, i + 1, i + 2] for i in range(1, 50)]
    ).next_items()
    some = examples.sample(20, seed=1)
    assert len(some) == 20
    rows = {
        (tuple(batch["items"][0].numpy()), int(batch["next_item"][0]))
        for batch in examples.batches(1)
    }
    chosen = [
        (tuple(batch["items"][0].numpy()), int(batch["next_item"][0]))
        for batch in some.batches(1)
    ]
    assert set(chosen) <= rows
    assert len(set(chosen)) == 20
    assert len(examples.sample(1_000)) == len(examples)
    assert some.next_item.tolist() == examples.sample(20, seed=1).next_item.tolist()
    assert some.next_item.tolist() != examples.sample(20, seed=2).next_item.tolist()


def test_refuses(examples):
    with pytest.raises(
        ValueError, match=r"`next_item`.*one item an example, that is 2"
    ):
        NextItems(np.array([1, 2]), np.array([0, 1, 2]), np.array([1]))
    with pytest.raises(ValueError, match=r"`next_item` must be numbers from 1"):
        NextItems(np.array([1]), np.array([0, 1]), np.array([0]))
    with pytest.raises(ValueError, match=r"`batch_size`.*Received: 0"):
        examples.batches(0)
    with pytest.raises(ValueError, match=r"`max_length`.*Received: 0"):
        examples.batches(1, max_length=0)
