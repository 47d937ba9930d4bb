"""Next-item retrieval: which item follows in a session, out of very many?

A GRU reads the session. Its head is a `MACHHead` with a fraction of the weights of
a softmax over all items, trained by `MACHRetrieval` in a TFRS model; a MACH index
finds the best items, in the metric of every epoch and in the exported model. A full
softmax on a trunk of the same kind is trained beside it for comparison.

    python examples/next_item.py
    python examples/next_item.py --objective softmax --factor 8
    python examples/next_item.py --data-dir sessions-nowplaying --epochs 6

A data folder has `train_sessions.txt`, with the items of a session a line, numbers
from 1 separated by spaces, and `test.tsv`, with the items before, a tab, and the
next item.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import argparse
import tempfile
import time
from pathlib import Path

import common
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe

DIM, MAX_LENGTH, TOP = 64, 20, 20
NUM_NEGATIVES = 1024
#: How an index has to combine buckets, by what the head was trained on.
AGGREGATION = {"in_batch": "mean_logit", "softmax": "mean_log_probability"}


class Trunk(tf.keras.layers.Layer):
    """Items [batch, length] to a vector at each place, of it and those before."""

    def __init__(self, embed):
        super().__init__()
        self.embed = embed
        self.dropout = tf.keras.layers.Dropout(0.2)
        self.gru = tf.keras.layers.GRU(DIM, return_sequences=True)
        self.dense = tf.keras.layers.Dense(DIM)

    def call(self, items):
        embeddings = self.dropout(self.embed(items))
        # Sessions are padded at the end, so no place sees padding before it.
        states = self.gru(embeddings)
        return self.dense(tf.concat([embeddings, states], axis=-1)) + embeddings


class QueryModel(tf.keras.layers.Layer):
    """The vector after the last item, for an index to search with."""

    def __init__(self, trunk, with_one=False):
        super().__init__()
        self.trunk, self.with_one = trunk, with_one

    def call(self, items):
        last = tf.math.count_nonzero(items, axis=1) - 1
        queries = tf.gather(self.trunk(items), last, batch_dims=1)
        # Where rows end in a bias, a one has to meet it.
        return tf.pad(queries, [[0, 0], [0, int(self.with_one)]], constant_values=1)


class NextItemModel(tfrs_dhe.models.Model):
    """Trains a trunk and a task on all the places of a session at once."""

    def compute_loss(self, batch, training=False):
        places = tf.where(batch["next_items"] > 0)
        queries = tf.gather_nd(self.trunk(batch["items"]), places)
        next_items = tf.gather_nd(batch["next_items"], places)
        return self.loss_of(queries, next_items, training)


class MACHModel(NextItemModel):
    """Retrieves by hash buckets."""

    def __init__(self, args, counts):
        super().__init__()
        num_items = len(counts) - 1
        self.items = np.arange(1, num_items + 1, dtype=np.int32)
        self.head = tfrs_dhe.layers.MACHHead(
            num_buckets=num_items // (args.factor * args.repetitions),
            num_repetitions=args.repetitions,
            embedding_dim=DIM,
        )
        self.objective = args.objective
        if self.objective == "softmax":
            self.head.initialize_bias(self.items, counts[1:])
        # The rows of the head can embed the items of the session as well.
        self.trunk = Trunk(
            self.head.class_embeddings
            if args.tied
            else tf.keras.layers.Embedding(num_items + 1, DIM)
        )
        self.share = tf.constant(np.maximum(counts / counts.sum(), 1e-9), tf.float32)
        self.reach = tf.constant(np.cumsum(counts) / counts.sum(), tf.float32)
        self.task = tfrs_dhe.tasks.MACHRetrieval(
            self.head,
            # Made once: an index reads the weights that the head has when asked.
            metrics=tfrs.metrics.FactorizedTopK(self.make_index(), ks=[TOP]),
            remove_accidental_hits=self.objective == "in_batch",
            objective=self.objective,
        )

    def make_index(self, query_model=None):
        return tfrs_dhe.layers.factorized_top_k.MACH(
            self.head, query_model, k=TOP, aggregation=AGGREGATION[self.objective]
        ).index(self.items)

    def loss_of(self, queries, next_items, training):
        if self.objective == "softmax":
            return self.task(
                queries, candidate_ids=next_items, compute_metrics=not training
            )
        # Negatives beside those of the batch, and as often as these.
        drawn = tf.random.uniform([NUM_NEGATIVES])
        negatives = tf.searchsorted(self.reach, drawn, side="right")
        candidates = tf.concat([next_items, negatives], axis=0)
        return self.task(
            queries,
            candidate_ids=candidates,
            candidate_sampling_probability=tf.gather(self.share, candidates),
            compute_metrics=not training,
        )

    def head_parameters(self):
        return self.head.count_params()


class SoftmaxModel(NextItemModel):
    """Has a row of weights for every item."""

    def __init__(self, args, counts):
        super().__init__()
        embedding = tf.keras.layers.Embedding(len(counts), DIM)
        self.trunk = Trunk(embedding)
        self.table = (
            embedding if args.tied else tf.keras.layers.Embedding(len(counts), DIM)
        )
        self.table.build(None)
        shares = np.log((counts + 1) / (counts + 1).sum())
        self.bias = tf.Variable(shares, dtype=tf.float32)

    def make_index(self, query_model):
        query_model.with_one = True
        rows = tf.concat([self.table.embeddings, self.bias[:, tf.newaxis]], axis=1)
        index = tfrs.layers.factorized_top_k.BruteForce(query_model, k=TOP)
        return index.index(rows[1:], tf.range(1, len(rows)))

    def loss_of(self, queries, next_items, training):
        logits = tf.matmul(queries, self.table.embeddings, transpose_b=True)
        return tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=next_items, logits=logits + self.bias
            )
        )

    def head_parameters(self):
        return int(tf.size(self.table.embeddings) + tf.size(self.bias))


def load(args):
    """Returns sessions to train on and to watch, test examples, and their items."""
    if args.data_dir:
        folder = Path(args.data_dir)
        sessions = tfrs_dhe.datasets.read_sessions(folder / "train_sessions.txt")
        test = tfrs_dhe.datasets.read_next_items(folder / "test.tsv")
        known = (sessions.items, test.items, test.next_item)
        num_items = max(int(items.max()) for items in known)
    else:
        num_items = args.num_items
        sessions = tfrs_dhe.datasets.make_synthetic_sessions(
            num_sessions=args.num_sessions, num_items=num_items, seed=args.seed
        )
        sessions, held_out = sessions.split_last(args.num_sessions // 5)
        test = held_out.next_items()
    sessions, watched = sessions.split_last(min(1_000, len(sessions) // 10))
    return sessions, watched, test.sample(args.num_test), num_items


class TrainingTime(tf.keras.callbacks.Callback):
    """Counts the seconds of epochs, without their validation."""

    seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.seconds += time.perf_counter() - self.start


def train(model, sessions, watched, args):
    """Trains; returns the size of the model and the time it took."""
    steps = args.epochs * sessions.num_examples // args.batch_size
    model.compile(optimizer=common.decaying_adam(args.learning_rate, steps))
    batches = sessions.batches(
        args.batch_size, max_length=MAX_LENGTH, shuffle=True, seed=args.seed
    )
    training_time = TrainingTime()
    model.fit(
        batches,
        epochs=args.epochs,
        validation_data=watched.batches(args.batch_size, max_length=MAX_LENGTH),
        callbacks=[training_time],
        verbose=2,
    )
    return {
        "head": model.head_parameters(),
        **common.trained_size(model),
        "train s": round(training_time.seconds),
    }


def evaluate(index, test):
    """Returns the recall and the mean reciprocal rank of the next item."""
    reciprocal_ranks = []
    start = time.perf_counter()
    for batch in test.batches(512, max_length=MAX_LENGTH):
        _, found = index(batch["items"])
        hits = found.numpy() == batch["next_item"].numpy()[:, np.newaxis]
        reciprocal_ranks.append((hits / np.arange(1, TOP + 1)).sum(axis=1))
    reciprocal_ranks = np.concatenate(reciprocal_ranks)
    return {
        f"recall@{TOP}": np.mean(reciprocal_ranks > 0),
        f"MRR@{TOP}": np.mean(reciprocal_ranks),
        "queries / s": round(len(test) / (time.perf_counter() - start)),
    }


def popularity(sessions, test, num_items):
    """Returns the same figures if the most frequent items are shown to everyone."""
    counts = sessions.counts(num_items)
    rank = 1 + np.argsort(np.argsort(-counts, kind="stable"))[test.next_item]
    reciprocal_ranks = (rank <= TOP) / rank
    return {
        f"recall@{TOP}": np.mean(reciprocal_ranks > 0),
        f"MRR@{TOP}": np.mean(reciprocal_ranks),
    }


def argument_parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="folder with sessions; else synthetic ones")
    parser.add_argument("--num-sessions", type=int, default=20_000, help="synthetic")
    parser.add_argument("--num-items", type=int, default=10_000, help="synthetic")
    parser.add_argument("--num-test", type=int, default=5_000, help="examples")
    parser.add_argument("--objective", choices=list(AGGREGATION), default="in_batch")
    parser.add_argument(
        "--factor", type=int, default=4, help="head's part of a softmax"
    )
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument(
        "--tied", action="store_true", help="one table for the session and the head"
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=1024, help="next items")
    parser.add_argument("--learning-rate", type=float, default=8e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv=None):
    args = argument_parser().parse_args(argv)
    sessions, watched, test, num_items = load(args)
    counts = sessions.counts(num_items)
    figures = {"most frequent items": popularity(sessions, test, num_items)}
    models = {
        "full softmax": SoftmaxModel,
        f"MACH, {args.objective}": MACHModel,
    }
    for name, make in models.items():
        tf.keras.utils.set_random_seed(args.seed)
        model = make(args, counts)
        size = train(model, sessions, watched, args)
        index = model.make_index(QueryModel(model.trunk))
        figures[name] = {**evaluate(index, test), **size}
    common.print_table(figures)

    sample = next(iter(test.batches(1)))["items"]
    session = sample.numpy().tolist()
    with tempfile.TemporaryDirectory() as path:
        # The index with its trunk; sessions of a request may be of any length.
        version = tfrs_dhe.serving.export(
            index, path, sample, input_name="items", any_length=["items"]
        )
        answer = common.query_in_a_fresh_process(version, {"items": session})
    print(f"\nAfter {session[0]}, from the SavedModel: {answer['ids'][0]}")
    return figures | {"answer": answer, "expected": index(tf.constant(session))}


if __name__ == "__main__":
    main()
