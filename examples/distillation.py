"""Distillation: serve a network where a table was trained.

A ranking model is trained with a table for users and one for movies, and is good for
the ids they know. Then `DeepHashEmbedding`s of a quarter of the parameters, without a
dictionary, learn the tables' rows and take their place: ids that come new have the mean
row, movies the one that their genres suggest. The same model with both is compared, and
the second exported.

    python examples/distillation.py
    python examples/distillation.py --data-dir ml-1m
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import tempfile

import common
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe

OUTPUT_DIM = 32


class RankingModel(tfrs.Model):
    """Predicts ratings from embeddings of user and movie, and their product.

    Args:
      user_model: From ids to embeddings.
      movie_model: From ids to embeddings; takes genres, too, if it is a network.
      rating_model: From what is known of both to a rating.
    """

    def __init__(self, user_model, movie_model, rating_model):
        super().__init__()
        self.user_model = user_model
        self.movie_model = movie_model
        self.rating_model = rating_model
        self.takes_genres = isinstance(movie_model, tfrs_dhe.layers.DeepHashEmbedding)
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(),
            metrics=[tf.keras.metrics.RootMeanSquaredError(name="rmse")],
        )

    def call(self, features, training=None):
        user = self.user_model(features["user_id"], training=training)
        genres = features["movie_side_features"] if self.takes_genres else None
        movie = self.movie_model(features["movie_id"], genres, training=training)
        return self.rating_model(tf.concat([user, movie, user * movie], axis=1))

    def compute_loss(self, features, training=False):
        predictions = self(features, training=training)
        return self.task(features["user_rating"][:, tf.newaxis], predictions)


def tables(split):
    """Returns a table for the users and one for the movies of the training."""
    decay = tf.keras.regularizers.L2(1e-4)
    return [
        tfrs_dhe.layers.VocabularyEmbedding(
            OUTPUT_DIM, ids, embeddings_regularizer=decay
        )
        for ids in (split.train_user_ids, split.train_movie_ids)
    ]


def taught(table, ids, counts, epochs, side_features=None):
    """Returns a network of a quarter of a table's parameters that has learned its rows.

    Args:
      table: It.
      ids: Those that it knows [n].
      counts: How often they are in the training [n].
      epochs: Passes over the ids.
      side_features: Theirs [n, s], or None.
    """
    network = tfrs_dhe.layers.DeepHashEmbedding(
        OUTPUT_DIM,
        parameter_budget=0.25,
        table_shape=(len(ids), OUTPUT_DIM),
        num_hashes=256,
        num_hidden_layers=2,
        normalization=None,
    )
    learned = tfrs_dhe.models.distill_embeddings(
        network,
        ids,
        table(ids),
        weights=np.sqrt(counts),
        epochs=epochs,
        side_features=side_features,
        id_dropout=0.3,  # More than by default: much of the test is of new ids.
    )
    print(f"{len(ids)} rows, {learned.unexplained:.0%} of their variance not learned")
    return network


def number_of_parameters(model):
    return sum(x.count_params() for x in (model.user_model, model.movie_model))


def main(argv=None):
    parser = common.argument_parser(__doc__, epochs=8)
    parser.add_argument(
        "--passes", type=int, default=300, help="over the rows that are learned"
    )
    args = parser.parse_args(argv)
    tf.keras.utils.set_random_seed(args.seed)
    split = tfrs_dhe.datasets.split_by_time(common.load(args))
    train = split.train_interactions

    rating_model = tf.keras.Sequential(
        [
            tf.keras.layers.Dense(64, activation="relu"),
            tf.keras.layers.Dense(
                1,
                bias_initializer=tf.keras.initializers.Constant(
                    train.user_rating.mean()
                ),
            ),
        ]
    )
    with_tables = RankingModel(*tables(split), rating_model)
    with_tables.compile(optimizer=tf.keras.optimizers.Adam(2e-3))
    batches = split.train_batches(args.batch_size, seed=args.seed)
    with_tables.fit(batches, epochs=args.epochs, verbose=2)

    users = split.train_user_counts > 0
    movies = split.train_movie_counts > 0
    with_networks = RankingModel(
        taught(
            with_tables.user_model,
            train.user_table.user_id[users],
            split.train_user_counts[users],
            args.passes,
        ),
        taught(
            with_tables.movie_model,
            train.movie_table.movie_id[movies],
            split.train_movie_counts[movies],
            args.passes,
            train.movie_table.side_features[movies],
        ),
        rating_model,
    )
    with_networks.compile()

    figures = {}
    for name, part in common.test_parts(split).items():
        for kind, model in (("tables", with_tables), ("networks", with_networks)):
            logs = model.evaluate(part.batches(4096), return_dict=True, verbose=0)
            figures[f"{kind}, {name}"] = {
                "rmse": logs["rmse"],
                "parameters": number_of_parameters(model),
            }
    common.print_table(figures)

    rating = next(iter(split.test_interactions.batches(1)))
    names = ("user_id", "movie_id", "movie_side_features")
    request = {name: rating[name] for name in names}
    request["movie_id"] = tf.constant(["a new movie"])
    with tempfile.TemporaryDirectory() as path:
        version = tfrs_dhe.serving.export(with_networks, path, request)
        request = {name: x.numpy().tolist() for name, x in request.items()}
        answer = common.query_in_a_fresh_process(version, request)
    ((stars,),) = answer["scores"]
    print(f"\nA movie that is new, of these genres: {stars:.1f} stars.")
    return figures | {"answer": answer}


if __name__ == "__main__":
    main()
