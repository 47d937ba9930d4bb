"""Multi-label extreme classification: which of very many labels does a text have?

A trunk of one hidden layer reads sparse bags of words. It is trained twice: with one
output for every label (one-vs-all), and with a `MACHHead`, which has outputs for hash
buckets of labels, a fraction of their number. A MACH index finds the best labels, in
the evaluation and in the exported model, which a fresh process that imports nothing
but TensorFlow loads and queries.

    python examples/extreme.py
    python examples/extreme.py --data-dir xc-delicious --epochs 10 --dropout 0.5
    python examples/extreme.py --train-file direct_train.txt --test-file direct_test.txt

Files are in the format of the Extreme Classification Repository, also known as the
XML repository.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import argparse
import json
import tempfile
import time
from pathlib import Path

import common
import numpy as np
import tensorflow as tf

import tfrs_dhe

KS = (1, 3, 5)
#: Examples that the SavedModel is asked for at the end.
NUM_ASKED = 2


def make_trunk(args, num_features):
    """Returns a model from a tf.SparseTensor [batch, D] to [batch, hidden_dim]."""
    layers = [tf.keras.Input([num_features], sparse=True)]
    if args.feature_bins:
        layers.append(tfrs_dhe.layers.FeatureHashing(args.feature_bins))
    # Takes sparse tensors: looks up the rows that are needed, and adds them.
    layers.append(tf.keras.layers.Dense(args.hidden_dim, activation="relu"))
    layers.append(tf.keras.layers.Dropout(args.dropout))
    return tf.keras.Sequential(layers)


def label_counts(examples):
    """Returns how often each label occurs [L], and one more: none never does."""
    return 1 + np.bincount(examples.labels, minlength=examples.num_labels)


class PaddedTexts(tf.keras.layers.Layer):
    """Reads what a request has in place of a tf.SparseTensor.

    A text is a row of ids of features and a row of their values [batch, length], and
    rows of fewer features are filled up with values of 0.
    """

    def __init__(self, trunk, num_features):
        super().__init__()
        self.trunk, self.num_features = trunk, num_features

    def call(self, texts):
        ids, values = texts["feature_ids"], texts["feature_values"]
        present = tf.where(values != 0)
        indices = tf.stack([present[:, 0], tf.gather_nd(ids, present)], axis=1)
        shape = [tf.shape(ids, tf.int64)[0], self.num_features]
        return self.trunk(
            tf.SparseTensor(indices, tf.gather_nd(values, present), shape)
        )


class OneVsAll(tfrs_dhe.models.Model):
    """Has an output for every label."""

    def __init__(self, args, examples):
        super().__init__()
        self.trunk = make_trunk(args, examples.num_features)
        # From zero, it takes hundreds of steps to learn that most labels are rare.
        shares = label_counts(examples) / len(examples)
        self.head = tf.keras.layers.Dense(
            examples.num_labels,
            bias_initializer=tf.keras.initializers.Constant(np.log(shares)),
        )

    def compute_loss(self, batch, training=False):
        logits = self.head(self.trunk(batch["features"]))
        places = tf.stack(
            [batch["labels"].value_rowids(), batch["labels"].values], axis=1
        )
        # Sigmoids and binary cross-entropy, without a dense matrix of zeros and ones.
        return tf.reduce_sum(tf.nn.softplus(logits)) - tf.reduce_sum(
            tf.gather_nd(logits, places)
        )

    def make_index(self):
        """Returns a function from features to scores and labels [batch, max(KS)]."""
        return lambda features: tf.math.top_k(self.head(self.trunk(features)), max(KS))


class MACHModel(tfrs_dhe.models.Model):
    """Has outputs for hash buckets of labels."""

    def __init__(self, args, examples, plan):
        super().__init__()
        self.labels = np.arange(examples.num_labels)
        self.trunk = make_trunk(args, examples.num_features)
        self.head = tfrs_dhe.layers.MACHHead(
            plan.num_buckets,
            plan.num_repetitions,
            balanced=True,
            embedding_dim=args.hidden_dim,
        )
        counts = label_counts(examples)
        # Frequent labels get buckets with few others.
        self.head.balance(self.labels, counts)
        self.head.initialize_bias(self.labels, counts, num_examples=len(examples) + 1)
        self.task = tfrs_dhe.tasks.MACHRetrieval(self.head, objective="multilabel")

    def compute_loss(self, batch, training=False):
        return self.task(self.trunk(batch["features"]), candidate_ids=batch["labels"])

    def make_index(self, query_model=None):
        """Returns an index that takes features, or what a query model takes."""
        return tfrs_dhe.layers.factorized_top_k.MACH(
            self.head,
            query_model or self.trunk,
            k=max(KS),
            aggregation="mean_log_probability",
            activation="sigmoid",
        ).index(self.labels)


def load(args):
    """Returns examples to train and to test on."""
    with tempfile.TemporaryDirectory() as scratch:
        if args.train_file:
            paths = args.train_file, args.test_file
        elif args.data_dir:
            names = "*train.txt", "*test.txt"
            paths = [only_file(args.data_dir, name) for name in names]
        else:
            paths = tfrs_dhe.datasets.make_synthetic_xml(
                scratch,
                num_train=args.num_examples,
                num_test=args.num_examples // 4,
                num_labels=args.num_labels,
                seed=args.seed,
            )
        train, test = (tfrs_dhe.datasets.XMLRepository(path).read() for path in paths)
    if (train.num_features, train.num_labels) != (test.num_features, test.num_labels):
        raise SystemExit(f"{paths[0]} and {paths[1]} differ in features or labels.")
    return train, test


def only_file(folder, pattern):
    """Returns the one file of a folder that has such a name."""
    paths = list(Path(folder).glob(pattern))
    if len(paths) != 1:
        raise SystemExit(
            f"Expected one {pattern} in {folder}, found {len(paths)}. "
            "Use --train-file and --test-file."
        )
    return paths[0]


def choose(args, train):
    """Returns the plan of the head: B and R that are given, or a share of L."""
    num_labels = train.num_labels
    num_buckets = args.num_buckets or int(
        num_labels * args.share / args.num_repetitions
    )
    return tfrs_dhe.mach.plan(
        num_labels,
        args.hidden_dim,
        num_buckets=num_buckets,
        num_repetitions=args.num_repetitions,
        class_distribution=label_counts(train),
        optimizer_slots=2,  # Adam's
    )


def fit(model, train, args):
    """Trains; returns the size of the model and the time it took."""
    steps = args.epochs * -(-len(train) // args.batch_size)
    model.compile(optimizer=common.decaying_adam(args.learning_rate, steps))
    batches = train.batches(args.batch_size, shuffle=True, seed=args.seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    model.fit(batches.prefetch(2), epochs=args.epochs, verbose=2)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    kernel, bias = model.head.kernel, model.head.bias
    return {
        "outputs": bias.shape[0],
        "head's parameters": int(np.prod(kernel.shape) + np.prod(bias.shape)),
        **common.trained_size(model),
        "seconds to train": round(seconds),
        "CPU seconds to train": round(cpu_seconds),
    }


def evaluate(index, test):
    """Returns the precisions and the time that predicting took."""
    features = test.batches(1024).map(lambda batch: batch["features"])

    @tf.function(input_signature=[features.element_spec])
    def query(batch):
        return index(batch)

    batches = list(features)
    query(batches[0])  # Traces.
    start = time.perf_counter()
    found = np.concatenate([query(batch)[1].numpy() for batch in batches])
    seconds = time.perf_counter() - start
    return precisions(found, test) | {"seconds to predict": seconds}


def precisions(found, test):
    """Returns which share of the first k labels found [num_examples, n] are right."""
    rows = np.repeat(np.arange(len(test)), np.diff(test.label_splits))
    pairs = rows * test.num_labels + test.labels
    hits = np.isin(np.arange(len(test))[:, np.newaxis] * test.num_labels + found, pairs)
    return {f"P@{k}": float(hits[:, :k].mean()) for k in KS}


def popularity(train, test):
    """Returns the precisions if every text gets the most frequent labels."""
    best = np.argsort(-label_counts(train), kind="stable")[: max(KS)]
    return precisions(np.tile(best, (len(test), 1)), test)


def export(model, examples, path):
    """Writes the index with its trunk as the next version of a served model."""
    index = model.make_index(PaddedTexts(model.trunk, examples.num_features))
    return tfrs_dhe.serving.export(
        index,
        path,
        request_of(examples),
        # Texts of a request may have any number of features.
        any_length=["feature_ids", "feature_values"],
    )


def request_of(examples):
    """Returns what the served model takes for these examples."""
    splits = examples.feature_splits
    return {
        name: tf.RaggedTensor.from_row_splits(values, splits).to_tensor()
        for name, values in (
            ("feature_ids", examples.feature_ids.astype(np.int64)),
            ("feature_values", examples.feature_values.astype(np.float32)),
        )
    }


def argument_parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train-file", help="else synthetic texts")
    parser.add_argument("--test-file")
    parser.add_argument("--data-dir", help="folder with one *train.txt and *test.txt")
    parser.add_argument("--num-examples", type=int, default=20_000, help="synthetic")
    parser.add_argument("--num-labels", type=int, default=3_000, help="synthetic")
    parser.add_argument(
        "--feature-bins", type=int, help="hash the features into so many columns"
    )
    parser.add_argument("--hidden-dim", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--num-repetitions", type=int, default=4, help="R")
    parser.add_argument(
        "--num-buckets", type=int, help="B; else what --share leaves for each of R"
    )
    parser.add_argument(
        "--share", type=float, default=0.4, help="of one-vs-all's outputs, R B / L"
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export-dir", help="where to keep the served versions")
    parser.add_argument("--output", help="JSON file for the figures")
    return parser


def main(argv=None):
    parser = argument_parser()
    args = parser.parse_args(argv)
    if bool(args.train_file) != bool(args.test_file):
        parser.error("--train-file and --test-file need each other")
    train, test = load(args)
    print(
        f"{len(train)} texts to train and {len(test)} to test on, "
        f"{train.num_features} features, {train.num_labels} labels"
    )
    plan = choose(args, train)
    print(f"\n{plan}\n")
    figures = {}
    for name, make in {
        "one-vs-all": lambda: OneVsAll(args, train),
        "MACH": lambda: MACHModel(args, train, plan),
    }.items():
        print(f"Training {name}")
        tf.keras.utils.set_random_seed(args.seed)
        model = make()
        size = fit(model, train, args)
        index = model.make_index()
        figures[name] = evaluate(index, test) | size
    figures["popularity"] = popularity(train, test)
    common.print_columns(figures)
    if args.output:
        Path(args.output).write_text(json.dumps(figures, indent=2) + "\n")

    asked = test.take(range(NUM_ASKED))
    with tempfile.TemporaryDirectory() as scratch:
        version = export(model, asked, args.export_dir or scratch)
        request = {n: x.numpy().tolist() for n, x in request_of(asked).items()}
        answer = common.query_in_a_fresh_process(version, request)
    print("\nAnswers of the SavedModel, in a process that imports only TensorFlow:")
    for i, labels in enumerate(answer["ids"]):
        true = asked.take([i]).labels.tolist()
        print(f"  {labels}; the labels are {true}")
    batch = next(iter(asked.batches(NUM_ASKED)))
    return figures | {"answer": answer, "expected": index(batch["features"])}


if __name__ == "__main__":
    main()
