"""The main job: tables against deep hash embeddings, from raw ids to serving.

Trains one two-tower retrieval model twice, on `StringLookup` + `Embedding` and on
`DeepHashEmbedding` at a quarter of the tables' parameters, and compares them for
users and movies that training has seen and for those it has not. Then exports the
index with its query tower as one SavedModel, which a fresh process that imports
nothing but TensorFlow loads and queries.

    python examples/demo.py
    python examples/demo.py --data-dir ml-1m
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import json
import tempfile
import time
from pathlib import Path

import common
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe

KS = (10, 100)
DIM = 32


def make_table(ids):
    """What most models have today: a row for every id, and one for all others."""
    return tf.keras.Sequential(
        [
            tf.keras.layers.StringLookup(vocabulary=ids),
            tf.keras.layers.Embedding(len(ids) + 1, DIM),
        ]
    )


def make_deep_hash_embedding(ids, args):
    """What takes its place: no vocabulary; `ids` says what size to be a share of."""
    return tfrs_dhe.layers.DeepHashEmbedding(
        DIM,
        parameter_budget=args.share,
        table_shape=(len(ids), DIM),
        num_hashes=args.num_hashes,
        num_hidden_layers=args.num_hidden_layers,
        momentum=0.9,  # a training of a few thousand steps
        deduplicate=True,  # on a CPU, ids that repeat in a batch cost once
    )


class Tower(tf.keras.Model):
    """Embeds ids, and what is known of them beside, for either kind of embedding."""

    def __init__(self, entity, embedding):
        super().__init__()
        self.id_name, self.side_name = f"{entity}_id", f"{entity}_side_features"
        self.embedding = embedding
        self.projection = tf.keras.layers.Dense(DIM)

    def call(self, features, training=None):
        parts = [self.embedding(features[self.id_name], training=training)]
        if self.side_name in features:
            parts.append(features[self.side_name])
        return self.projection(tf.concat(parts, axis=-1))


class TwoTowerModel(tfrs.Model):
    """Retrieval with one tower for users and one for movies."""

    def __init__(self, user_embedding, movie_embedding):
        super().__init__()
        self.user_model = Tower("user", user_embedding)
        self.movie_model = Tower("movie", movie_embedding)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self.task(
            self.user_model(features, training=training),
            self.movie_model(features, training=training),
            candidate_ids=features["movie_id"],
            candidate_sampling_probability=features["movie_probability"],
            compute_metrics=False,
        )

    def make_index(self, movies, k):
        """Returns an index over the catalogue that takes features of users."""
        index = tfrs.layers.factorized_top_k.BruteForce(self.user_model, k=k)
        return index.index_from_dataset(
            movies.map(
                lambda batch: (
                    batch["movie_id"],
                    self.movie_model(batch, training=False),
                )
            )
        )


def evaluate(model, movies, parts, split):
    """Returns the factorized top-k accuracy of each part of the test ratings."""
    index = model.make_index(movies, max(KS))
    index.query_model = None  # The metric has the queries embedded already.
    figures = {}
    for name, part in parts.items():
        metric = tfrs.metrics.FactorizedTopK(index, ks=KS)
        for batch in part.batches(4096):
            metric.update_state(
                model.user_model(batch, training=False),
                model.movie_model(batch, training=False),
                true_candidate_ids=batch["movie_id"],
            )
        for k, value in zip(KS, metric.result(), strict=True):
            figures[f"{name} @{k}"] = float(value)

    candidates = [model.movie_model(batch, training=False) for batch in movies]
    candidates = tf.concat(candidates, axis=0)

    def scores(batch):
        queries = model.user_model(batch, training=False)
        return tf.matmul(queries, candidates, transpose_b=True)

    return figures | unrated_figures(split, parts["all"], scores)


def evaluate_popularity(parts, split):
    """Returns the same figures if everyone is shown the most-rated movies."""
    recalls = common.popularity_recall(split, parts, KS)
    counts = split.train_movie_counts.astype("float32")

    def scores(batch):
        return tf.repeat(counts[tf.newaxis], len(batch["movie_id"]), axis=0)

    figures = {
        f"{name} @{k}": recalls[name][f"recall@{k}"] for name in parts for k in KS
    }
    return figures | unrated_figures(split, parts["all"], scores)


def unrated_figures(split, part, scores):
    recalls = common.recall_among_unrated(split, part, scores, KS)
    return {f"all, not rated before @{k}": recalls[f"recall@{k}"] for k in KS}


def train(model, learning_rate, epochs, batches):
    """Trains and returns the first lines of the table."""
    model.compile(optimizer=tf.keras.optimizers.Adam(learning_rate))
    start = time.perf_counter()
    model.fit(batches, epochs=epochs)
    seconds = time.perf_counter() - start
    embeddings = (model.user_model.embedding, model.movie_model.embedding)
    return {
        "parameters": sum(embedding.count_params() for embedding in embeddings),
        "seconds to train": round(seconds),
    }


def export(model, movies, query, path):
    """Writes the index with its query tower as the next version of a served model."""
    return tfrs_dhe.serving.export(model.make_index(movies, k=5), path, query)


def main(argv=None):
    parser = common.argument_parser(__doc__, epochs=6)
    parser.set_defaults(batch_size=512)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--table-learning-rate", type=float, default=2e-3)
    parser.add_argument("--num-hashes", type=int, default=256)
    parser.add_argument("--num-hidden-layers", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--export-dir", help="where to keep the served versions")
    parser.add_argument("--output", help="JSON file for the figures")
    args = parser.parse_args(argv)

    split = tfrs_dhe.datasets.split_by_time(common.load(args).positives())
    movies = split.movies.batch(4096)
    batches = split.train_batches(args.batch_size, seed=args.seed)
    batches = batches.map(common.add_movie_probability(split)).prefetch(2)
    parts = common.test_parts(split)
    user_ids, movie_ids = split.train_user_ids, split.train_movie_ids
    print(
        f"{len(user_ids)} users and {len(movie_ids)} movies in "
        f"{len(split.train_interactions)} ratings to train on; test ratings: "
        + ", ".join(f"{name} {len(part)}" for name, part in parts.items())
    )

    tf.keras.utils.set_random_seed(args.seed)
    tables = TwoTowerModel(make_table(user_ids), make_table(movie_ids))
    deep_hash = TwoTowerModel(
        make_deep_hash_embedding(user_ids, args),
        make_deep_hash_embedding(movie_ids, args),
    )
    figures = {}
    for name, model, learning_rate in (
        ("tables", tables, args.table_learning_rate),
        ("deep hash", deep_hash, args.learning_rate),
    ):
        print(f"\nTraining on {name}")
        figures[name] = train(model, learning_rate, args.epochs, batches)
        figures[name] |= evaluate(model, movies, parts, split)
    figures["popularity"] = evaluate_popularity(parts, split)
    common.print_columns(figures)

    # A user who is known, and one who is not but brings the same side features.
    known = next(iter(split.train_interactions.batches(1, shuffle=False)))
    query = {
        name: tf.repeat(known[name], 2, axis=0)
        for name in ("user_id", "user_side_features")
        if name in known
    }
    query["user_id"] = tf.constant([known["user_id"][0].numpy(), b"never seen before"])
    request = {name: x.numpy().tolist() for name, x in query.items()}
    with tempfile.TemporaryDirectory() as scratch:
        version = export(deep_hash, movies, query, args.export_dir or scratch)
        answer = common.query_in_a_fresh_process(version, request)
    print("\nAnswers of the SavedModel, in a process that imports only TensorFlow:")
    for user, ids in zip(query["user_id"].numpy(), answer["ids"], strict=True):
        print(f"  {user.decode()}: {', '.join(ids)}")
    if args.output:
        Path(args.output).write_text(json.dumps(figures, indent=2) + "\n")
    return figures | {"answer": answer}


if __name__ == "__main__":
    main()
