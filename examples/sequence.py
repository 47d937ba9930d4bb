"""Sequential retrieval: which movie comes next after the last ones a user liked?

One `DeepHashEmbedding` embeds the movies of the history, padded with "", and the
candidates. The history is averaged, or goes through a GRU; both skip padding by
the mask of the layer. There is no user id, so new users are served as soon as
they have a history.

    python examples/sequence.py
    python examples/sequence.py --history gru --data-dir ml-1m
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import common
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe

KS = (10, 100)


class SequenceModel(tfrs.Model):
    """Retrieves by an embedding of the history in the place of a user's."""

    def __init__(self, movies, history):
        super().__init__()
        self.movie_model = tfrs_dhe.layers.DeepHashEmbedding(
            32,
            hidden_dim=128,
            num_hidden_layers=1,
            num_hashes=512,
            mask_value="",
            deduplicate=True,  # A batch has each movie many times.
        )
        self.history_model = {
            "mean": tf.keras.layers.GlobalAveragePooling1D,
            "gru": lambda: tf.keras.layers.GRU(32),
        }[history]()
        self.query_model = tf.keras.layers.Dense(32)
        self.task = tfrs.tasks.Retrieval(
            metrics=tfrs.metrics.FactorizedTopK(movies.map(self.movie_model), ks=KS)
        )

    def compute_loss(self, features, training=False):
        # One call for all, so that batch normalization sees them as one batch.
        history, next_id = features["history"], features["movie_id"]
        ids = tf.concat([history, next_id[:, tf.newaxis]], axis=1)
        embeddings = self.movie_model(ids, training=training)
        history_embedding = self.history_model(
            embeddings[:, :-1], mask=self.movie_model.compute_mask(history)
        )
        return self.task(
            self.query_model(history_embedding),
            embeddings[:, -1],
            candidate_sampling_probability=features.get("movie_probability"),
            compute_metrics=not training,
        )


def histories(source, examples, length):
    """Returns the movies that each example's user rated before it, in `source`.

    Rows of the movie table [num_examples, length], the earliest first, padded at
    the end by the number of movies.
    """
    order = np.lexsort((source.timestamp, source.user_index))
    users, movies = source.user_index[order], source.movie_index[order]
    end_of_time = source.timestamp.max() + 1

    def moment(user, time):
        return user.astype(np.int64) * end_of_time + time

    first = np.searchsorted(users, examples.user_index)
    end = np.searchsorted(
        moment(users, source.timestamp[order]),
        moment(examples.user_index, examples.timestamp),
    )
    start = np.maximum(first, end - length)
    position = start[:, np.newaxis] + np.arange(length)
    is_padding = position >= end[:, np.newaxis]
    rows = movies[np.minimum(position, len(movies) - 1)]
    return np.where(is_padding, len(source.movie_table), rows)


def with_history(source, examples, length):
    """Returns the examples that have a history, and their histories."""
    rows = histories(source, examples, length)
    has_history = rows[:, 0] < len(source.movie_table)
    return examples.select(has_history), rows[has_history]


def dataset(examples, rows):
    """Returns a dataset of `history` [length] and `movie_id` [], both row numbers."""
    return tf.data.Dataset.from_tensor_slices(
        {"history": rows, "movie_id": examples.movie_index}
    )


def cooccurrence_recall(train, test, popularity):
    """Returns recall@k of the movies that most often follow the last one.

    Args:
      train: Pairs of examples and the rows of their histories.
      test: The same.
      popularity: Number of ratings of every movie, which breaks ties.
    """
    (train_next, train_last), (test_next, test_last) = (
        (examples.movie_index, last_movies(rows, len(popularity)))
        for examples, rows in (train, test)
    )
    order = np.argsort(train_last, kind="stable")
    train_next, train_last = train_next[order], train_last[order]
    ranks = np.empty(len(test_next), int)
    for movie in np.unique(test_last):
        start, end = np.searchsorted(train_last, [movie, movie + 1])
        follows = np.bincount(train_next[start:end], minlength=len(popularity))
        best_first = np.lexsort((-popularity, -follows))
        asked = test_last == movie
        ranks[asked] = np.argsort(best_first)[test_next[asked]]
    return {f"recall@{k}": np.mean(ranks < k) for k in KS}


def last_movies(rows, padding):
    """Returns the last movie of every history."""
    return rows[np.arange(len(rows)), (rows < padding).sum(axis=1) - 1]


def main(argv=None):
    parser = common.argument_parser(__doc__, epochs=4)
    parser.add_argument("--history", choices=["mean", "gru"], default="mean")
    parser.add_argument("--length", type=int, default=20, help="of the histories")
    args = parser.parse_args(argv)
    tf.keras.utils.set_random_seed(args.seed)
    liked = common.load(args).positives()
    liked = liked.select(liked.has_timestamp)
    split = tfrs_dhe.datasets.split_by_time(liked)
    train = with_history(
        split.train_interactions, split.train_interactions, args.length
    )
    test = with_history(liked, split.test_interactions, args.length)

    movie_id = tf.constant([*liked.movie_table.movie_id, ""])  # The last one pads.

    def to_ids(batch):
        return {name: tf.gather(movie_id, rows) for name, rows in batch.items()}

    train_batches = (
        dataset(*train)
        .shuffle(len(train[0]), seed=args.seed)
        .batch(args.batch_size)
        .map(to_ids)
        .map(common.add_movie_probability(split))
        .prefetch(tf.data.AUTOTUNE)
    )
    movies = tf.data.Dataset.from_tensor_slices(movie_id[:-1]).batch(1024)
    model = SequenceModel(movies, args.history)
    model.compile(optimizer=tf.keras.optimizers.Adam(5e-3))
    model.fit(train_batches, epochs=args.epochs, verbose=2)

    logs = model.evaluate(
        dataset(*test).batch(4096).map(to_ids), return_dict=True, verbose=0
    )
    popularity = common.popularity_recall(split, {"all": test[0]}, KS)
    figures = {
        "popularity": popularity["all"],
        "follows the last movie": cooccurrence_recall(
            train, test, split.train_movie_counts
        ),
        f"sequence model, {args.history}": common.factorized_top_k(logs),
    }
    common.print_table(figures)
    return figures


if __name__ == "__main__":
    main()
