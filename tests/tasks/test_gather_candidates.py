"""Where there is one replica; with several, see `tests/models/test_distributed.py`."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.tasks import gather_candidates


@pytest.mark.parametrize("scope", ["none", "outside of run", "in run"])
def test_one_replica_keeps_its_candidates(scope: str) -> None:
    candidates = {"ids": np.arange(3), "rows": (np.ones([3, 2]), np.ones([3, 1, 2]))}
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    if scope == "none":
        gathered = gather_candidates(candidates)
    elif scope == "in run":
        gathered = strategy.run(gather_candidates, args=(candidates,))
    else:
        with strategy.scope():
            gathered = gather_candidates(candidates)
    tf.nest.map_structure(np.testing.assert_array_equal, gathered, candidates)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (tf.constant(["a"]), "hash them, with `tfrs_dhe.hashing.int64_keys`"),
        ({"rows": tf.ones([2, 3]), "temperature": 0.5}, "Received a scalar"),
    ],
)
def test_what_cannot_be_gathered(candidates: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gather_candidates(candidates)
