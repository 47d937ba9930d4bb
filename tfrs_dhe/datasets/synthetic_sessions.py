"""`make_synthetic_sessions`: sessions made in memory, from a seed."""

import math

import numpy as np

from tfrs_dhe.datasets.sessions import Sessions


def make_synthetic_sessions(
    *,
    num_sessions: int = 5_000,
    num_items: int = 1_000,
    mean_length: float = 8.0,
    num_followers: int = 5,
    order: float = 0.8,
    skew: float = 0.8,
    seed: int = 0,
) -> Sessions:
    """Makes sessions in which an item says something of the next one.

    Every item has `num_followers` items of its own, drawn by popularity. A session
    starts at an item drawn by popularity; the next one is, with probability
    `order`, one of the followers of the item before, and else again drawn by
    popularity. The popularity of the item of rank n falls as n to the power of
    -`skew`. Lengths are 2 and more, with a geometric distribution.

    Who knows an item's followers and names them all finds the next item with a
    probability of at least `order`; who knows the popularity alone rarely does.
    The same arguments give the same sessions under the same NumPy. Results on them
    say that a model learns; they say nothing of real data.

    Example:
    >>> from tfrs_dhe.datasets import make_synthetic_sessions
    >>> sessions = make_synthetic_sessions(num_sessions=100, num_items=50)
    >>> len(sessions)
    100

    Args:
      num_sessions: Number of sessions.
      num_items: Number of items, which are 1..num_items.
      mean_length: Mean length of a session, at least 2.
      num_followers: Followers of an item, as drawn: one may be drawn twice.
      order: Probability that an item follows the one before.
      skew: Exponent of the power law of popularity.
      seed: Seed of everything.

    Returns:
      The `Sessions`.

    Raises:
      ValueError: If an argument is out of range.
    """
    sizes = {
        "num_sessions": num_sessions,
        "num_items": num_items,
        "num_followers": num_followers,
    }
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be a positive integer. Received: {size}.")
    if not 2 <= mean_length < math.inf:
        raise ValueError(f"`mean_length` must be at least 2. Received: {mean_length}.")
    if not 0 <= order <= 1:
        raise ValueError(f"`order` must lie in [0, 1]. Received: {order}.")
    if not 0 <= skew < math.inf:
        raise ValueError(f"`skew` must be a finite number >= 0. Received: {skew}.")

    rng = np.random.Generator(np.random.PCG64(seed))
    weight = (1.0 + rng.permutation(num_items)) ** -skew
    reach = np.cumsum(weight)

    def popular(*shape: int) -> np.ndarray:
        drawn = np.searchsorted(reach, rng.random(shape) * reach[-1], side="right")
        return np.minimum(drawn, num_items - 1)

    followers = popular(num_items, num_followers)
    length = 1 + rng.geometric(1 / (mean_length - 1), num_sessions)
    item = popular(num_sessions)
    columns = [item]
    for _ in range(1, int(length.max())):
        follower = followers[item, rng.integers(num_followers, size=num_sessions)]
        follows = rng.random(num_sessions) < order
        item = np.where(follows, follower, popular(num_sessions))
        columns.append(item)
    drawn = np.stack(columns, axis=1)
    inside = np.arange(drawn.shape[1]) < length[:, np.newaxis]
    return Sessions(
        (drawn[inside] + 1).astype(np.int32),
        np.concatenate([[0], np.cumsum(length)]).astype(np.int64),
    )
