import collections
import itertools

import numpy as np
import pytest

from tfrs_dhe.datasets import make_synthetic_sessions


def test_sizes():
    sessions = make_synthetic_sessions(num_sessions=2_000, num_items=300, mean_length=6)
    lengths = np.diff(sessions.row_splits)
    assert len(sessions) == 2_000
    assert lengths.min() == 2
    # The mean of 2,000 geometric lengths has a standard deviation of 0.1.
    assert abs(lengths.mean() - 6) < 0.5
    assert sessions.items.min() >= 1
    assert sessions.items.max() <= 300


def test_same_seed_same_sessions():
    def items(seed):
        return make_synthetic_sessions(num_sessions=50, seed=seed).items.tolist()

    assert items(0) == items(0)
    assert items(0) != items(1)


def recall_of_frequent_followers(sessions, top):
    """Share of next items among the `top` most frequent after the same item.

    Learned from one half of the sessions, measured on the other.
    """
    half = len(sessions) // 2
    followers = collections.defaultdict(collections.Counter)
    hits = total = 0
    for number, session in enumerate(sessions):
        for item, following in itertools.pairwise(session):
            if number < half:
                followers[item][following] += 1
            else:
                likely = [f for f, _ in followers[item].most_common(top)]
                hits += following in likely
                total += 1
    return hits / total


def test_an_item_tells_the_next_one():
    options = {"num_sessions": 6_000, "num_items": 100, "skew": 0.0}
    learned = recall_of_frequent_followers(make_synthetic_sessions(**options), 5)
    assert learned > 0.78  # `order` is 0.8.
    chance = recall_of_frequent_followers(
        make_synthetic_sessions(**options, order=0.0), 5
    )
    assert chance < 0.1  # Five of a hundred items.


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_sessions", 0),
        ("num_items", 0),
        ("num_followers", 0),
        ("mean_length", 1.5),
        ("mean_length", float("nan")),
        ("order", 1.5),
        ("skew", -1.0),
    ],
)
def test_refuses(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must.*Received: {value}"):
        make_synthetic_sessions(**{argument: value})
