"""Two-tower retrieval: which movies will a user like?

The model of the TFRS retrieval tutorial with `DeepHashEmbedding` in the place of
`StringLookup` and `Embedding`. The towers take raw ids and what is known of users
and movies beside, so they have an answer for ids that training never saw. The
trained model becomes an index, which is exported and queried for an unknown user.

    python examples/retrieval.py
    python examples/retrieval.py --data-dir ml-1m
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import tempfile

import common
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe

KS = (10, 100)


class Tower(tf.keras.Model):
    """Embeds ids and, where the data has them, their side features."""

    def __init__(self, entity):
        super().__init__()
        self.id_name, self.side_name = f"{entity}_id", f"{entity}_side_features"
        # Enough for some 100,000 examples; the defaults are the paper's sizes.
        self.embedding = tfrs_dhe.layers.DeepHashEmbedding(
            32, hidden_dim=128, num_hidden_layers=1, num_hashes=512
        )

    def call(self, features, training=None):
        return self.embedding(
            features[self.id_name], features.get(self.side_name), training=training
        )


class RetrievalModel(tfrs.Model):
    """Two towers, trained with the other movies of the batch as negatives."""

    def __init__(self, movies):
        super().__init__()
        self.user_model = Tower("user")
        self.movie_model = Tower("movie")
        self.task = tfrs.tasks.Retrieval(
            metrics=tfrs.metrics.FactorizedTopK(self.candidates(movies), ks=KS),
        )

    def candidates(self, movies):
        """Returns the dataset of ids and embeddings of batches of movies."""
        return movies.map(lambda batch: (batch["movie_id"], self.movie_model(batch)))

    def compute_loss(self, features, training=False):
        return self.task(
            # With `training`: the networks have batch normalization.
            self.user_model(features, training=training),
            self.movie_model(features, training=training),
            candidate_ids=features["movie_id"],
            candidate_sampling_probability=features.get("movie_probability"),
            compute_metrics=not training,
        )


def main(argv=None):
    args = common.argument_parser(__doc__, epochs=4).parse_args(argv)
    tf.keras.utils.set_random_seed(args.seed)
    split = tfrs_dhe.datasets.split_by_time(common.load(args).positives())
    movies = split.movies.batch(1024).cache()

    model = RetrievalModel(movies)
    model.compile(optimizer=tf.keras.optimizers.Adam(5e-3))
    train = split.train_batches(args.batch_size, seed=args.seed)
    train = train.map(common.add_movie_probability(split))
    model.fit(train, epochs=args.epochs, verbose=2)

    parts = common.test_parts(split)
    popularity = common.popularity_recall(split, parts, KS)
    figures = {}
    for name, part in parts.items():
        logs = model.evaluate(part.batches(4096), return_dict=True, verbose=0)
        figures[f"popularity, {name}"] = popularity[name]
        figures[f"two-tower, {name}"] = common.factorized_top_k(logs)
    common.print_table(figures)

    # An index over the catalogue takes features of users to ids of movies.
    index = tfrs.layers.factorized_top_k.BruteForce(model.user_model, k=5)
    index.index_from_dataset(model.candidates(movies))
    query = {"user_id": tf.constant(["never seen"])}
    side_features = split.train_interactions.user_table.side_features
    if side_features is not None:
        query["user_side_features"] = tf.constant(side_features[:1])
    index(query)  # Builds it for these features.
    with tempfile.TemporaryDirectory() as path:
        version = tfrs_dhe.serving.export(index, path, query)
        loaded = tf.saved_model.load(str(version)).signatures["serving_default"]
        recommended = loaded(**query)["ids"]
    print("\nFor a user never seen:", recommended[0].numpy().tolist())
    return figures | {"recommended": recommended[0].numpy().tolist()}


if __name__ == "__main__":
    main()
