"""The baseline that learns no embeddings: how often a user and an item are positive.

The score of a pair is the sum of the log odds of its user and of its item, from their
shares of positives among the training pairs, less the log odds of all pairs. In
implicit sets that is popularity.
"""

import time

import numpy as np
from training import area_under_curve, segments

#: A mean counts as if the mean of all pairs had been seen this often before.
PRIOR_PAIRS = 5


def train(run, data, report=print):
    """Evaluates the baseline; returns what belongs into the result line.

    Args:
      run: Settings, a `grid.Run`, of which the seed alone matters.
      data: A `data.Data`.
      report: Is told of the one epoch there is, as by `training.train`.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    pairs = data.epoch(np.random.default_rng(run.seed))
    users = _log_odds(pairs.users, pairs.labels, len(data.user_ids))
    items = _log_odds(pairs.items, pairs.labels, len(data.item_ids))

    share = pairs.labels.mean()
    of_all = np.log(share / (1 - share))

    def scores(pairs):
        return users[pairs.users] + items[pairs.items] - of_all

    loss = np.logaddexp(0, np.where(pairs.labels > 0.5, -1, 1) * scores(pairs)).mean()
    value = area_under_curve(data.validation.labels, scores(data.validation))
    report(run, 1, float(loss), value)
    user_counts, item_counts = data.training_counts()
    tested = scores(data.test)
    return {
        "parameters": {
            "users": len(users),
            "items": len(items),
            "full_table": None,
        },
        "bytes": {"float32": 4 * (len(users) + len(items))},
        "validation": [value],
        "test": segments(data.test, tested, item_counts[data.test.items]),
        "test_by_user": segments(data.test, tested, user_counts[data.test.users]),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu_start, 1),
    }


def _log_odds(numbers, labels, size):
    positives = np.bincount(numbers, labels, size) + PRIOR_PAIRS * labels.mean()
    negatives = np.bincount(numbers, 1 - labels, size)
    negatives += PRIOR_PAIRS * (1 - labels.mean())
    return np.log(positives / negatives)
