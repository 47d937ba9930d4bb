"""Multitask: one pair of towers for what a user watches and how they rate it.

The model of the TFRS multitask tutorial with `DeepHashEmbedding`, derived from
`tfrs_dhe.models.Model`, which passes `training` on to the towers by itself.
A weight of 0 turns a task off:

    python examples/multitask.py
    python examples/multitask.py --rating-weight 0
    python examples/multitask.py --retrieval-weight 0
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import common
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe

KS = (10, 100)


class MultitaskModel(tfrs_dhe.models.Model):
    """Two towers that retrieve and, with a small network on top, rate.

    `tfrs.Model` does as well if `training` is passed on, as in ranking.py.
    """

    def __init__(self, movies, mean_rating, rating_weight, retrieval_weight):
        super().__init__()
        self.rating_weight = rating_weight
        self.retrieval_weight = retrieval_weight
        options = {"hidden_dim": 128, "num_hidden_layers": 1, "num_hashes": 256}
        self.user_model = tfrs_dhe.layers.DeepHashEmbedding(32, **options)
        self.movie_model = tfrs_dhe.layers.DeepHashEmbedding(32, **options)
        self.rating_model = tf.keras.Sequential(
            [
                tf.keras.layers.Dense(64, activation="relu"),
                tf.keras.layers.Dense(
                    1, bias_initializer=tf.keras.initializers.Constant(mean_rating)
                ),
            ]
        )
        self.rating_task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(
                reduction=tf.keras.losses.Reduction.SUM  # As the retrieval task.
            ),
            metrics=[tf.keras.metrics.RootMeanSquaredError(name="rmse")],
        )
        self.retrieval_task = tfrs.tasks.Retrieval(
            metrics=tfrs.metrics.FactorizedTopK(movies.map(self.embed_movies), ks=KS)
        )

    def embed_users(self, features):
        # Side features are None in data that has none.
        return self.user_model(features["user_id"], features.get("user_side_features"))

    def embed_movies(self, features):
        return self.movie_model(
            features["movie_id"], features.get("movie_side_features")
        )

    def compute_loss(self, features, training=False):
        users, movies = self.embed_users(features), self.embed_movies(features)
        ratings = self.rating_model(tf.concat([users, movies, users * movies], axis=1))
        rating_loss = self.rating_task(features["user_rating"][:, tf.newaxis], ratings)
        retrieval_loss = self.retrieval_task(
            users,
            movies,
            candidate_sampling_probability=features.get("movie_probability"),
            compute_metrics=not training,
        )
        return self.rating_weight * rating_loss + self.retrieval_weight * retrieval_loss


def main(argv=None):
    parser = common.argument_parser(__doc__, epochs=3)
    parser.add_argument("--rating-weight", type=float, default=1.0)
    parser.add_argument("--retrieval-weight", type=float, default=1.0)
    args = parser.parse_args(argv)
    tf.keras.utils.set_random_seed(args.seed)
    split = tfrs_dhe.datasets.split_by_time(common.load(args))
    ratings = split.train_interactions.user_rating

    model = MultitaskModel(
        split.movies.batch(1024).cache(),
        ratings.mean(),
        args.rating_weight,
        args.retrieval_weight,
    )
    model.compile(optimizer=tf.keras.optimizers.Adam(5e-3))
    train = split.train_batches(args.batch_size, seed=args.seed)
    train = train.map(common.add_movie_probability(split))
    model.fit(train, epochs=args.epochs, verbose=2)

    test = split.test_interactions
    errors = common.movie_means(split.train_interactions, ratings)(test)
    errors -= test.user_rating
    logs = model.evaluate(test.batches(4096), return_dict=True, verbose=0)
    figures = {
        "popularity and mean": {
            **common.popularity_recall(split, {"all": test}, KS)["all"],
            "rmse": np.sqrt(np.mean(errors**2)),
        },
        "multitask model": {**common.factorized_top_k(logs), "rmse": logs["rmse"]},
    }
    common.print_table(figures)
    return figures


if __name__ == "__main__":
    main()
