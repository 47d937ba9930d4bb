r"""MACH without communication: repetitions trained by processes that never talk.

A softmax over all movies becomes R small ones over hash buckets of movies. Each is
a model of its own, trained by a process of its own, on this machine or on a cluster;
whatever is finished is merged into one model for evaluation and serving.

    python examples/repetitions.py
    python examples/repetitions.py --directory runs/movies

End the second one while it runs (Ctrl-C, or kill -9 of any of its processes) and start
it again: it goes on at the last checkpoints, and ends with the same weights. What it
runs is this, of which every part could be a job of a scheduler:

    python -m tfrs_dhe.models.train_repetitions examples/repetitions.py:make \
        --directory runs/movies --num-repetitions 4 --processes 2
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import json
import sys
import tempfile

import common
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe
from tfrs_dhe.models import train_repetitions

KS = (10, 100)
AGGREGATION = "mean_log_probability"

#: The processes that train get the arguments of this script by the environment.
ARGUMENTS = "REPETITIONS_ARGUMENTS"


class UserModel(tf.keras.Model):
    """Embeds users by their ids and what is known of them beside."""

    def __init__(self):
        super().__init__()
        self.embedding = tfrs_dhe.layers.DeepHashEmbedding(
            32,
            hidden_dim=128,
            num_hidden_layers=2,
            num_hashes=256,
            momentum=0.9,
            deduplicate=True,
        )
        self.projection = tf.keras.layers.Dense(64)

    def call(self, features, training=None):
        parts = [self.embedding(features["user_id"], training=training)]
        if "user_side_features" in features:
            parts.append(features["user_side_features"])
        return self.projection(tf.concat(parts, axis=-1))


class MACHModel(tfrs.Model):
    """Predicts the buckets of the movie that a user likes."""

    def __init__(self, query_model, head):
        super().__init__()
        self.query_model = query_model
        self.head = head

    def compute_loss(self, features, training=False):
        queries = self.query_model(features, training=training)
        buckets = self.head.bucket_ids(features["movie_id"])
        return tfrs_dhe.mach.multiclass_loss(self.head(queries), buckets)


def load(args):
    return tfrs_dhe.datasets.split_by_time(common.load(args).positives())


def make(repetitions):
    """Returns the model that holds these repetitions, and how it is trained."""
    args = parse_arguments(json.loads(os.environ.get(ARGUMENTS, "[]")))
    split = load(args)
    head = tfrs_dhe.layers.MACHHead(
        args.num_buckets,
        args.num_repetitions,
        repetitions=repetitions,
        embedding_dim=64,
    )
    head.initialize_bias(
        split.train_interactions.movie_table.movie_id, split.train_movie_counts
    )
    query_model = UserModel()
    model = MACHModel(query_model, head)
    model.compile(optimizer=tf.keras.optimizers.Adam(args.learning_rate))
    return tfrs_dhe.models.TrainingRun(
        model,
        head,
        # A function of the epoch, so that a process can begin at any.
        dataset=lambda epoch: split.train_batches(args.batch_size, seed=epoch),
        epochs=args.epochs,
        query_model=query_model,
        class_ids=split.train_movie_ids,
    )


def evaluate(ensemble, split):
    """Returns recall@k of all repetitions together, and of each alone."""
    movie_id = split.train_interactions.movie_table.movie_id
    table = tf.constant(ensemble.bucket_table(movie_id).T)
    held = ensemble.repetitions
    parts = {"merged": list(range(len(held)))}
    parts |= {f"repetition {r}": [i] for i, r in enumerate(held)}
    ranks = {name: [] for name in parts}
    for batch in split.test_interactions.batches(1024):
        values = tfrs_dhe.mach.bucket_values(ensemble(batch), AGGREGATION)
        is_true = batch["movie_id"].numpy().astype(str)[:, np.newaxis] == movie_id
        for name, part in parts.items():
            scores = tfrs_dhe.mach.class_scores(
                tf.gather(values, part, axis=1),
                tf.gather(table, part, axis=1),
                AGGREGATION,
            ).numpy()
            true_scores = scores[is_true][:, np.newaxis]
            above = (scores > true_scores).sum(axis=1)
            # Movies that share all buckets have the same score; half come first.
            level = (scores == true_scores).sum(axis=1) - 1
            ranks[name].append(above + level / 2)
    return {
        name: {f"recall@{k}": float(np.mean(np.concatenate(found) < k)) for k in KS}
        for name, found in ranks.items()
    }


def parse_arguments(argv):
    parser = common.argument_parser(__doc__, epochs=5)
    parser.set_defaults(batch_size=512)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--num-repetitions", type=int, default=4)
    parser.add_argument("--num-buckets", type=int, default=256)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--directory", help="where to keep the repetitions")
    return parser.parse_args(argv)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parse_arguments(argv)
    os.environ[ARGUMENTS] = json.dumps(argv)
    with tempfile.TemporaryDirectory() as scratch:
        directory = args.directory or scratch
        code = train_repetitions.main(
            [
                f"{__file__}:make",
                f"--directory={directory}",
                f"--num-repetitions={args.num_repetitions}",
                f"--processes={args.processes}",
                f"--seed={args.seed}",
            ]
        )
        if code:
            print("Some repetitions failed; what is finished is merged.")
        ensemble = tfrs_dhe.models.MACHEnsemble.from_directory(make, directory)
    split = load(args)
    num_movies = len(split.train_movie_ids)
    print(
        f"{num_movies} movies in {args.num_buckets} buckets, "
        f"{len(ensemble.repetitions)} repetitions of {args.num_repetitions}"
    )
    popularity = common.popularity_recall(split, {"all": split.test_interactions}, KS)
    figures = {"popularity": popularity["all"], **evaluate(ensemble, split)}
    common.print_table(figures)
    return figures


if __name__ == "__main__":
    main()
