"""Precision of MACH heads for extreme multi-label classification, beside one-vs-all.

Run from the repository's root, with a training and a test file of the Extreme
Classification Repository:

    python benchmarks/mach/xc.py --train delicious_train.txt --test delicious_test.txt

All heads have the same trunk of one hidden layer, the same optimizer and the same
grid of learning rates and dropout. A tenth of the training file, its last examples,
chooses the grid's point, the number of epochs and the aggregation; the choice is
then trained on the whole file with several seeds, and measured on the test file.
Result lines go to `results/xc.jsonl`; what is there is not run again.
"""

import argparse
import collections
import itertools
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf

from tfrs_dhe import datasets, mach
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead

RESULTS = Path(__file__).parent / "results"
ONE_VS_ALL = "one_vs_all"
HIDDEN_DIM = 256
BATCH_SIZE = 256
LEARNING_RATES = (0.003, 0.01)
DROPOUTS = (0.0, 0.25, 0.5)
TOPS = (1, 3, 5)


class Classifier(keras.Model):
    """One hidden layer over sparse features, and a head.

    Args:
      num_features: D.
      num_labels: L.
      head: `ONE_VS_ALL`, or (R, B).
      dropout: Share of the hidden values that is dropped in training.
    """

    def __init__(self, num_features, num_labels, head, dropout):
        super().__init__()
        self.hidden = keras.layers.Dense(HIDDEN_DIM, activation="relu")
        self.hidden.build((None, num_features))
        self.dropout = keras.layers.Dropout(dropout)
        self.num_labels = num_labels
        self.classes = tf.range(num_labels)
        if head == ONE_VS_ALL:
            self.head = keras.layers.Dense(num_labels)
            self.head.build((None, HIDDEN_DIM))
        else:
            num_repetitions, num_buckets = head
            self.head = MACHHead(
                num_buckets, num_repetitions, embedding_dim=HIDDEN_DIM, balanced=True
            )
            self.head.balance(np.arange(num_labels))
            self.buckets = self.head.bucket_ids(self.classes)

    def call(self, features, training=False):
        """Returns the head's logits."""
        hidden = tf.sparse.sparse_dense_matmul(features, self.hidden.kernel)
        hidden = tf.nn.relu(hidden + self.hidden.bias)
        return self.head(self.dropout(hidden, training=training))

    def loss(self, logits, labels):
        """Returns the mean over examples of the summed binary cross-entropies."""
        if isinstance(self.head, MACHHead):
            merged = mach.merge_labels(
                self.head.bucket_ids(labels), self.head.num_buckets
            )
            loss = mach.multilabel_loss(logits, merged)
        else:
            rows, columns = labels.value_rowids(), labels.values
            places = tf.stack([rows, tf.cast(columns, rows.dtype)], axis=1)
            ones = tf.ones(tf.shape(places)[:1])
            targets = tf.scatter_nd(places, ones, tf.shape(logits, tf.int64))
            loss = tf.reduce_sum(
                tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
            )
        return loss / tf.cast(tf.shape(logits)[0], tf.float32)

    @tf.function(reduce_retracing=True)
    def hits(self, features, labels):
        """Returns how many of the first 1, 3 and 5 labels are right, {form: [3]}."""
        logits = self(features)
        rows, columns = labels.value_rowids(), labels.values
        places = tf.stack([rows, tf.cast(columns, rows.dtype)], axis=1)
        shape = tf.stack([labels.nrows(), self.num_labels])
        relevant = tf.scatter_nd(places, tf.ones(tf.shape(places)[:1]), shape)
        found = {}
        for name, scores in self.scores(logits).items():
            best = tf.math.top_k(scores, max(TOPS)).indices
            right = tf.gather(relevant, best, batch_dims=1)
            found[name] = tf.stack([tf.reduce_sum(right[:, :top]) for top in TOPS])
        return found

    def scores(self, logits):
        """Returns the scores of all labels in every form that the head has."""
        if not isinstance(self.head, MACHHead):
            return {"logit": logits}
        return {
            name: mach.class_scores(
                mach.bucket_values(logits, name, activation="sigmoid"),
                self.buckets,
                name,
            )
            for name in mach.AGGREGATIONS
        }


def precisions(model, examples):
    """Precision at 1, 3 and 5 of every form of scores, in percent."""
    hits = collections.defaultdict(lambda: np.zeros(len(TOPS)))
    for batch in examples.batches(1024):
        for name, found in model.hits(batch["features"], batch["labels"]).items():
            hits[name] += found.numpy()
    return {
        name: (100 * found / (len(examples) * np.array(TOPS))).round(2).tolist()
        for name, found in hits.items()
    }


def train(head, examples, epochs, learning_rate, dropout, seed, after_epoch=None):
    """Trains a classifier; returns it with the seconds and CPU seconds taken."""
    keras.utils.set_random_seed(seed)
    model = Classifier(examples.num_features, examples.num_labels, head, dropout)
    optimizer = keras.optimizers.legacy.Adam(learning_rate)

    @tf.function(reduce_retracing=True)
    def step(features, labels):
        with tf.GradientTape() as tape:
            loss = model.loss(model(features, training=True), labels)
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    seconds = cpu_seconds = 0.0
    batches = examples.batches(BATCH_SIZE, shuffle=True, seed=seed)
    for _ in range(epochs):
        start, cpu_start = time.perf_counter(), time.process_time()
        for batch in batches:
            step(batch["features"], batch["labels"])
        seconds += time.perf_counter() - start
        cpu_seconds += time.process_time() - cpu_start
        if after_epoch:
            after_epoch(model)
    return model, seconds, cpu_seconds


def choose(head, examples, epochs):
    """Returns the grid's best point on the last tenth of the examples."""
    cut = len(examples) * 9 // 10
    first, last = (
        examples.take(np.arange(cut)),
        examples.take(np.arange(cut, len(examples))),
    )
    found = []
    for learning_rate, dropout in itertools.product(LEARNING_RATES, DROPOUTS):
        curve = []
        train(
            head,
            first,
            epochs,
            learning_rate,
            dropout,
            seed=0,
            after_epoch=lambda model, curve=curve: curve.append(
                precisions(model, last)
            ),
        )
        for name in curve[0]:
            values = np.array([epoch[name][0] for epoch in curve])
            # Of three epochs each, since one epoch's precision is noisy.
            smooth = np.convolve(values, np.ones(3) / 3, "valid")
            best = int(smooth.argmax())
            found.append(
                {
                    "validation": round(float(smooth[best]), 2),
                    "learning_rate": learning_rate,
                    "dropout": dropout,
                    "epochs": best + 2,
                    "aggregation": name,
                }
            )
        print(head, found[-1], flush=True)
    return max(found, key=lambda point: point["validation"])


def main():
    """Runs the heads that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument(
        "--heads",
        nargs="*",
        default=[ONE_VS_ALL, "4x100", "2x200", "8x50"],
        help=f'"{ONE_VS_ALL}", or R and B as 4x100',
    )
    parser.add_argument("--epochs", type=int, default=20, help="at most")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS / "xc.jsonl")
    args = parser.parse_args()
    examples = datasets.XMLRepository(args.train).read()
    test = datasets.XMLRepository(args.test).read()
    for text in args.heads:
        done = args.results.read_text().splitlines() if args.results.exists() else []
        key = [args.train.stem, text]
        if any(json.loads(line)["key"] == key for line in done):
            continue
        head = text if text == ONE_VS_ALL else tuple(map(int, text.split("x")))
        chosen = choose(head, examples, args.epochs)
        size = examples.num_labels if head == ONE_VS_ALL else head[0] * head[1]
        result = {
            "key": key,
            "head_parameters": size * (HIDDEN_DIM + 1),
            **chosen,
            "test": [],
            "seconds": [],
            "cpu_seconds": [],
        }
        for seed in range(args.seeds):
            model, seconds, cpu_seconds = train(
                head,
                examples,
                chosen["epochs"],
                chosen["learning_rate"],
                chosen["dropout"],
                seed,
            )
            result["test"].append(precisions(model, test))
            result["seconds"].append(round(seconds, 1))
            result["cpu_seconds"].append(round(cpu_seconds, 1))
        chosen_form = [p[chosen["aggregation"]] for p in result["test"]]
        print(key, np.mean(chosen_form, axis=0), np.std(chosen_form, axis=0))
        with args.results.open("a") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
