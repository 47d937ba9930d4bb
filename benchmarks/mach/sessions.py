r"""Recall of heads for next-item retrieval, by their size.

Run from the repository's root, with a folder of `train_sessions.txt` and `test.tsv`:

    python benchmarks/mach/sessions.py --data FOLDER  # all that is missing
    python benchmarks/mach/sessions.py --data FOLDER full in_batch_mach_4x
    python benchmarks/mach/sessions.py --data FOLDER full --set epochs=2 dropout=0.4 \
        --seeds 1

Every run has the same tower, batches, optimizer and epochs, the learning rate and
dropout that `tuning.py` found for its method, and a result line in
`results/sessions.jsonl` for each seed. A run that is interrupted continues at its last
epoch. The last sessions of the training file validate and are not trained on. All
classes compete in the ranking. `python benchmarks/mach/plot.py` makes the table and
pictures.

In bfloat16: the products of the softmax losses over all classes and over buckets.
All else, the losses on sampled classes and every evaluation are in float32.
"""

import argparse
import dataclasses
import itertools
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

# Trainings of the studies are taken up in one way.
sys.path.append(str(Path(__file__).parents[1] / "quality"))

import numpy as np
import tensorflow as tf
from epoch_checkpoint import EpochCheckpoint
from heads import HashedHead, TableHead, num_parameters, quantised
from sampling import Sampler, in_batch_loss, sampled_loss
from softmax import softmax_loss
from tower import SessionTower
from tuned import best, method_of

from tfrs_dhe import datasets
from tfrs_dhe._keras import keras

RESULTS = Path(__file__).parent / "results"
MAX_LENGTH = 20
VALIDATION_SESSIONS = 4_000
VALIDATION_EXAMPLES = 12_000
TOP = 20
WARM_UP_STEPS = 200


@dataclasses.dataclass(frozen=True)
class Run:
    """Settings of a run.

    Attributes:
      head: "table", "tied" (the rows of the tower's table), "hashed", "tied_hashed"
        (their sum), "one_hashed" (the tower takes its rows from the head).
      loss: "softmax" over all classes; "in_batch" over the batch's labels and drawn
        ones; "sampled" over an example's own label and the drawn ones, as TensorFlow
        has it; or "buckets": a softmax in every repetition, as in the paper.
    """

    head: str = "table"
    loss: str = "softmax"
    dim: int = 64
    row_dim: int = 64
    num_buckets: int = 0
    num_repetitions: int = 0
    num_own: int = 0
    bias: str = "class"
    epochs: int = 5
    batch_size: int = 1024
    learning_rate: float = 0.008
    dropout: float = 0.2
    num_negatives: int = 4096
    negatives_power: float = 0.75
    seed: int = 0


def hashed(factor, num_repetitions, bias="class", row_dim=64, num_items=60_416, **more):
    """A hashed head with a `factor`-th of the numbers of the softmax's head."""
    budget = num_items * 65 // factor
    if bias == "class":
        budget -= num_items
    row = row_dim + (bias == "bucket")
    if row_dim != 64:
        budget -= 64 * row_dim
    num_buckets = budget // row // num_repetitions
    return Run(
        head=more.pop("head", "hashed"),
        loss=more.pop("loss", "in_batch"),
        num_buckets=num_buckets,
        num_repetitions=num_repetitions,
        bias=bias,
        row_dim=row_dim,
        **more,
    )


RUNS = {
    "full": Run(),
    "full_tied": Run(head="tied"),
    "in_batch_full": Run(loss="in_batch"),
    "in_batch_tied": Run(head="tied", loss="in_batch"),
    "sampled_full": Run(loss="sampled"),
    "sampled_tied": Run(head="tied", loss="sampled"),
    "in_batch_narrow_4x": Run(loss="in_batch", row_dim=15),
    **{f"in_batch_mach_{f}x": hashed(f, 4) for f in (2, 4, 8, 16)},
    "in_batch_mach_4x_r2": hashed(4, 2),
    "in_batch_mach_4x_d32": hashed(4, 2, row_dim=32),
    "in_batch_mach_4x_bucket_bias": hashed(4, 4, bias="bucket"),
    **{f"tied_mach_{f}x": hashed(f, 4, head="tied_hashed") for f in (2, 4, 8, 16)},
    **{f"one_mach_{f}x": hashed(f, 4, head="one_hashed") for f in (2, 4, 8, 16)},
    **{
        f"paper_4x_r{r}": hashed(4, r, bias="bucket", loss="buckets")
        for r in (2, 4, 8, 16)
    },
}


class Data:
    """Sessions to train on, to validate and to test.

    Args:
      folder: Folder of the files.
      share: The share of the sessions to train on, the latest.
    """

    def __init__(self, folder, share=1.0):
        sessions = datasets.read_sessions(Path(folder) / "train_sessions.txt")
        self.test = datasets.read_next_items(Path(folder) / "test.tsv")
        self.num_items = int(sessions.items.max())
        self.train, last = sessions.split_last(VALIDATION_SESSIONS)
        if share < 1:
            self.train = self.train.split_last(round(share * len(self.train)))[1]
        self.validation = last.next_items().sample(VALIDATION_EXAMPLES)
        self.counts = self.train.counts(self.num_items)
        rank = np.argsort(np.argsort(-self.counts, kind="stable"), kind="stable")
        self.is_frequent = rank < self.num_items // 10


class Model(tf.Module):
    """The tower and a head."""

    def __init__(self, run, counts):
        super().__init__()
        tf.random.set_seed(run.seed)
        num_rows = len(counts)
        self.items = None
        if run.head != "one_hashed":
            rows = 0.05 * tf.random.normal([num_rows, run.dim])
            self.items = tf.Variable(rows, name="items")
        if run.head in ("table", "tied"):
            row_dim = run.row_dim
            shared = self.embed if run.head == "tied" else None
            self.head = TableHead(counts, run.dim, row_dim, shared)
        else:
            self.head = HashedHead(
                counts,
                run.dim,
                run.num_buckets,
                run.num_repetitions,
                run.row_dim,
                run.bias,
                self.embed if run.head == "tied_hashed" else None,
                run.num_own,
                run.seed,
            )
        self.tower = SessionTower(
            self.embed, run.dim, max_length=MAX_LENGTH, dropout=run.dropout
        )
        self.classes = tf.range(num_rows)
        # 0 fills places up; it is no class.
        self.no_class = tf.one_hot(0, num_rows, on_value=-1e9, off_value=0.0)

    def embed(self, items):
        """Returns the tower's rows of items."""
        if self.items is None:
            return self.head.weights(items)
        return tf.gather(self.items, items)

    def all_weights(self):
        """Rows and biases of all classes."""
        biases = self.head.biases(self.classes) + self.no_class
        return self.head.weights(self.classes), biases

    def parameters(self):
        """Every variable once."""
        found = list(self.trainable_variables)
        if isinstance(self.head, HashedHead):
            found += self.head.head.trainable_weights
        return list({id(v): v for v in found}.values())


def loss_of(run, model, sampler, queries, labels, negatives):
    """The summed loss of a batch."""
    head = model.head
    queries = head.project(queries)
    if run.loss == "softmax":
        return softmax_loss(queries, *model.all_weights(), labels)
    if run.loss == "in_batch":
        return in_batch_loss(head, sampler, queries, labels, negatives)
    if run.loss == "sampled":
        rows = model.items if head.rows is None else head.rows
        return sampled_loss(rows, head.bias, sampler, queries, labels, negatives)
    buckets = head.head.bucket_ids(labels)
    losses = [
        softmax_loss(queries, *head.bucket_weights(r), buckets[:, r])
        for r in range(run.num_repetitions)
    ]
    return tf.add_n(losses) / run.num_repetitions


def make_step(run, model, sampler, optimizer):
    """Returns a function that trains on one batch."""
    variables = model.parameters()
    matrix = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[matrix, matrix, tf.TensorSpec([None], tf.int32)])
    def step(items, next_items, negatives):
        places = tf.cast(tf.where(next_items > 0), tf.int32)
        labels = tf.gather_nd(next_items, places)
        with tf.GradientTape() as tape:
            queries = model.tower(items, places, training=True)
            loss = loss_of(run, model, sampler, queries, labels, negatives)
            loss /= tf.cast(tf.size(labels), tf.float32)
        gradients = tape.gradient(loss, variables)
        # Dense: the optimizer's sparse update of a table takes longer.
        optimizer.apply_gradients(
            (tf.convert_to_tensor(gradient), variable)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        )
        return loss

    return step


def ranks(score, model, examples):
    """Places of the next items in the rankings of all classes, from 0.

    Among equal scores an item stands in the middle, and one without a score, after a
    training that diverged, is the last.
    """

    @tf.function(reduce_retracing=True)
    def rank(items, next_item):
        last = tf.reduce_sum(tf.cast(items > 0, tf.int32), axis=1) - 1
        places = tf.stack([tf.range(tf.size(last)), last], axis=1)
        scores = score(model.tower(items, places, training=False))
        own = tf.gather(scores, next_item, batch_dims=1)[:, tf.newaxis]
        higher = tf.reduce_sum(tf.cast(scores > own, tf.float32), axis=1)
        equal = tf.reduce_sum(tf.cast(scores == own, tf.float32), axis=1)
        place = higher + (equal - 1) / 2
        last_place = tf.cast(tf.shape(scores)[1], tf.float32)
        return tf.where(tf.math.is_finite(own[:, 0]), place, last_place)

    batches = examples.batches(512, max_length=MAX_LENGTH)
    return np.concatenate([rank(b["items"], b["next_item"]).numpy() for b in batches])


def metrics(places, examples, data):
    """Recall and mean reciprocal rank at 20; recall of frequent items and others."""
    hits = places < TOP
    frequent = data.is_frequent[examples.next_item]
    return {
        "recall": round(float(hits.mean()), 5),
        "mrr": round(float((hits / (places + 1)).mean()), 5),
        "recall_frequent": round(float(hits[frequent].mean()), 5),
        "recall_rare": round(float(hits[~frequent].mean()), 5),
    }


def linear_score(model, weights=None):
    """Scores of all classes by their rows, the mean of logits for buckets."""
    rows, biases = model.all_weights()
    rows = rows if weights is None else weights
    return lambda queries: (
        tf.matmul(model.head.project(queries), rows, transpose_b=True) + biases
    )


def evaluate(run, model, data, examples, all_forms):
    """Metrics of every form in which the trained model can score."""
    result = metrics(ranks(linear_score(model), model, examples), examples, data)
    if not all_forms:
        return result
    if run.loss == "buckets":
        places = ranks(model.head.unbiased_mean_scores, model, examples)
        result["unbiased_mean"] = metrics(places, examples, data)
    if run.head == "table" and run.row_dim == run.dim:
        for bits in (8, 4):
            score = linear_score(model, quantised(model.head.rows, bits))
            places = ranks(score, model, examples)
            result[f"int{bits}"] = metrics(places, examples, data)
    return result


def train(name, run, data, folder, test=True):
    """Trains and evaluates; returns the result line."""
    model = Model(run, data.counts)
    sampler = Sampler(
        data.counts, run.batch_size, run.num_negatives, run.negatives_power
    )
    # Not the optimizer's own, which a checkpoint would set back by a step.
    rate = tf.Variable(run.learning_rate, trainable=False)
    optimizer = keras.optimizers.legacy.Adam(lambda: rate)
    step = make_step(run, model, sampler, optimizer)
    steps = -(-data.train.num_examples // run.batch_size) * run.epochs
    checkpoint = EpochCheckpoint(
        folder / f"{name} #{run.seed}",
        optimizer=optimizer,
        variables=model.parameters(),
    )
    state = checkpoint.restore()
    if state is None:
        state = {
            "epoch": 0,
            "step": 0,
            "epochs": [],
            "seconds": 0.0,
            "cpu_seconds": 0.0,
        }
    while state["epoch"] < run.epochs:
        epoch = state["epoch"]
        tf.random.set_seed(1_000 * run.seed + epoch)
        rng = np.random.Generator(np.random.PCG64([run.seed, epoch]))
        batches = data.train.batches(
            run.batch_size,
            max_length=MAX_LENGTH,
            shuffle=True,
            seed=run.seed,
            epoch=epoch,
        )
        start, cpu_start, losses = time.perf_counter(), time.process_time(), []
        for batch in batches:
            # Up in a straight line, down in a straight line to almost nothing.
            rise = min(1.0, (state["step"] + 1) / WARM_UP_STEPS)
            fall = max(0.02, 1 - state["step"] / steps)
            rate.assign(run.learning_rate * rise * fall)
            losses.append(step(batch["items"], batch["next_items"], sampler.draw(rng)))
            state["step"] += 1
        mean_loss = float(np.mean([loss.numpy() for loss in losses]))
        state["seconds"] += time.perf_counter() - start
        state["cpu_seconds"] += time.process_time() - cpu_start
        state["epoch"] += 1
        validation = evaluate(run, model, data, data.validation, all_forms=False)
        state["epochs"].append({"loss": round(mean_loss, 4), **validation})
        print(name, state["epoch"], state["epochs"][-1], flush=True)
        checkpoint.save(state)
    return {
        "name": name,
        **dataclasses.asdict(run),
        "head_parameters": num_parameters(model.head),
        "seconds": round(state["seconds"], 1),
        "cpu_seconds": round(state["cpu_seconds"], 1),
        "validation": state["epochs"],
        "test": evaluate(run, model, data, data.test, all_forms=True) if test else None,
        "tensorflow": tf.__version__,
        "cpus": os.cpu_count(),
    }


def override(run, settings):
    """Returns a run with settings given as `name=value`."""
    types = {
        field.name: type(getattr(run, field.name)) for field in dataclasses.fields(run)
    }
    pairs = (setting.split("=", 1) for setting in settings)
    return dataclasses.replace(run, **{key: types[key](text) for key, text in pairs})


def done(path):
    """Returns name and seed of the result lines there are."""
    texts = path.read_text().splitlines() if path.exists() else []
    # What is counted has no seed.
    return {(line["name"], line.get("seed", 0)) for line in map(json.loads, texts)}


def main():
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"among {', '.join(RUNS)}")
    parser.add_argument("--data", required=True, help="folder with the sessions")
    parser.add_argument("--set", nargs="*", default=[], help="settings, name=value")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--results", type=Path, default=RESULTS / "sessions.jsonl")
    parser.add_argument(
        "--checkpoints", type=Path, default=Path("/tmp/mach_sessions"), help="folder"
    )
    args = parser.parse_args()
    if any(setting.startswith("seed=") for setting in args.set):
        parser.error("--set has no seed; --seeds says how many there are.")
    data = Data(args.data)
    for name, seed in itertools.product(args.names or RUNS, range(args.seeds)):
        run = dataclasses.replace(RUNS[name], **best(method_of(name)), seed=seed)
        run = override(run, args.set)
        label = " ".join([name, *args.set])
        if (label, seed) in done(args.results):
            continue
        result = train(label, run, data, args.checkpoints)
        with args.results.open("a") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
