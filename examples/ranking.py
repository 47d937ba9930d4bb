"""Ranking: how many stars will a user give a movie?

The model of the TFRS ranking tutorial with `DeepHashEmbedding` for users and
movies. It is compared with the mean rating of each movie, exported, and asked for a
user it has never seen by a process that imports nothing but TensorFlow.

    python examples/ranking.py
    python examples/ranking.py --data-dir ml-1m
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import tempfile

import common
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe


class RankingModel(tfrs.Model):
    """Predicts ratings from embeddings of user and movie, and their product."""

    def __init__(self, mean_rating):
        super().__init__()
        options = {
            "hidden_dim": 64,
            "num_hidden_layers": 1,
            "num_hashes": 256,
            "kernel_regularizer": tf.keras.regularizers.L2(1e-3),
        }
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
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(),
            metrics=[tf.keras.metrics.RootMeanSquaredError(name="rmse")],
        )

    def call(self, features, training=None):
        # Side features are None in data that has none.
        user = self.user_model(
            features["user_id"], features.get("user_side_features"), training=training
        )
        movie = self.movie_model(
            features["movie_id"], features.get("movie_side_features"), training=training
        )
        return self.rating_model(tf.concat([user, movie, user * movie], axis=1))

    def compute_loss(self, features, training=False):
        predictions = self(features, training=training)
        return self.task(features["user_rating"][:, tf.newaxis], predictions)


#: What the model reads of a rating; side features where the data has some.
FEATURES = ("user_id", "movie_id", "user_side_features", "movie_side_features")


def main(argv=None):
    args = common.argument_parser(__doc__, epochs=3).parse_args(argv)
    tf.keras.utils.set_random_seed(args.seed)
    split = tfrs_dhe.datasets.split_by_time(common.load(args))
    ratings = split.train_interactions.user_rating

    model = RankingModel(ratings.mean())
    model.compile(optimizer=tf.keras.optimizers.Adam(3e-3))
    train = split.train_batches(args.batch_size, seed=args.seed)
    model.fit(train, epochs=args.epochs, verbose=2)

    movie_mean = common.movie_means(split.train_interactions, ratings)
    figures = {}
    for name, part in common.test_parts(split).items():
        errors = movie_mean(part) - part.user_rating
        logs = model.evaluate(part.batches(4096), return_dict=True, verbose=0)
        figures[f"movie's mean, {name}"] = {"rmse": np.sqrt(np.mean(errors**2))}
        figures[f"ranking model, {name}"] = {"rmse": logs["rmse"]}
    common.print_table(figures)

    rating = next(iter(split.test_interactions.batches(1)))
    request = {name: rating[name] for name in FEATURES if name in rating}
    request["user_id"] = tf.constant(["never seen before"])
    with tempfile.TemporaryDirectory() as path:
        version = tfrs_dhe.serving.export(model, path, request)
        request = {name: x.numpy().tolist() for name, x in request.items()}
        answer = common.query_in_a_fresh_process(version, request)
    ((stars,),) = answer["scores"]
    movie = request["movie_id"][0].decode()
    print(f"\nA user never seen would give {movie} {stars:.1f} stars.")
    return figures | {"answer": answer}


if __name__ == "__main__":
    main()
