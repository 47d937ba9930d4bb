"""A MACH model of MovieLens 1m, whose answers are to be explained.

    TFRS_DHE_DATA=../shared/data TF_USE_LEGACY_KERAS=1 \
        python -m tfrs_dhe.analysis explain benchmarks/analysis/explained.py:make \
        --output docs/analysis/explained

It learns which movie a user likes (ratings of 4 and 5), from the user's id and side
features, on the first nine tenths by time; the answers are those for the last tenth.
Classes are titles.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import tfrs_dhe
from tfrs_dhe._keras import keras

sys.path.append(str(Path(__file__).parents[2] / "examples" / "analysis"))

import movies

EPOCHS = 3


def make() -> tuple[Any, Any]:
    """Returns the index, and examples in random order."""
    folder = Path(os.environ["TFRS_DHE_DATA"]) / "ml-1m"
    liked = tfrs_dhe.datasets.read_folder(folder).positives()
    split = tfrs_dhe.datasets.split_by_time(
        liked, unseen_user_share=0, unseen_movie_share=0
    )
    titles = liked.movie_table.movie_title
    keras.utils.set_random_seed(0)
    model = TitleModel(num_buckets=len(titles) // 16)
    movies.train(model, split.train_interactions, EPOCHS)
    index = model.make_index(titles)
    test = split.test_interactions
    order = np.random.default_rng(0).permutation(len(test))

    def examples() -> Any:
        for row in test.select(order).batches(1, shuffle=False):
            yield row, row["movie_title"][0].numpy()

    return index, examples()


class TitleModel(movies.MovieModel):
    """Has titles for classes."""

    def compute_loss(self, features: Any, training: bool = False) -> Any:
        """Returns the loss of a batch."""
        return self.task(
            self.user_model(features), candidate_ids=features["movie_title"]
        )
