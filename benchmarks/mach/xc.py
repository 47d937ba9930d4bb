"""Extreme classification: MACH beside what else one can do with many labels.

Run from the repository's root, with a folder that has the sets' folders:

    python benchmarks/mach/xc.py --data FOLDER                # all that is missing
    python benchmarks/mach/xc.py --data FOLDER --set xc-bibtex full "mach 4x20"

All heads of a set have the same trunk, optimizer and batches. The last tenth of the
training examples (shuffled, where they are sorted), 2,000 at most, chooses a family's
learning rate, dropout and number of epochs, and a head's aggregation: from .005 the
rate goes by factors of two to where the precision at 1 is best, then the other share
of dropout is tried. The choice is trained on the whole file with several seeds and
measured on the test file. Tries are lines of `results/xc_tuning.jsonl`, results of
`results/xc.jsonl`; what is there is not run again. Frequent labels are the tenth with
most training examples.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
from sampling import Sampler
from xc_classifier import TOPS, Classifier
from xc_methods import MACH, SETS, methods

from tfrs_dhe import datasets
from tfrs_dhe._keras import keras

RESULTS = Path(__file__).parent / "results"
VALIDATION_EXAMPLES = 2_000
LEARNING_RATE = 0.005
DROPOUTS = (0.25, 0.5)


def measure(model, examples, all_forms=True):
    """Returns the precisions of every form, and recalls of two kinds of labels.

    Args:
      model: A `Classifier`.
      examples: To measure on.
      all_forms: Whether rounded rows are among the forms.

    Returns:
      For every form, in percent: `precision` at 1, 3 and 5, and the share of the
      examples' `frequent` and `other` labels that are among the first 5.
    """
    total = {}
    for batch in examples.batches(512):
        found = model.hits(batch["features"], batch["labels"], all_forms)
        for name, counts in found.items():
            total[name] = total.get(name, 0) + counts.numpy().astype(np.float64)
    frequent = model.is_frequent.numpy()[examples.labels].sum()
    sizes = [len(examples) * top for top in TOPS]
    sizes += [frequent, len(examples.labels) - frequent]
    shares = {
        name: (100 * counts / np.maximum(sizes, 1)).round(2).tolist()
        for name, counts in total.items()
    }
    return {
        name: {"precision": found[:3], "frequent": found[3], "other": found[4]}
        for name, found in shares.items()
    }


def train(method, data, examples, settings, seed, after_epoch=None):
    """Trains a classifier; returns it with the processor seconds taken."""
    keras.utils.set_random_seed(seed)
    model = Classifier(method, data, examples, settings["dropout"], seed)
    optimizer = keras.optimizers.legacy.Adam(settings["learning_rate"])
    variables = model.variables_to_train
    counts = np.bincount(examples.labels, minlength=examples.num_labels)
    sampler = Sampler(counts, data.batch_size, data.num_negatives)
    rng = np.random.default_rng(seed)

    @tf.function(reduce_retracing=True)
    def step(features, labels, negatives):
        with tf.GradientTape() as tape:
            queries = model.queries(features, training=True)
            loss = model.loss(queries, labels, sampler, negatives)
        gradients = tape.gradient(loss, variables)
        # Dense: the optimizer's sparse update of a table takes longer.
        optimizer.apply_gradients(
            (tf.convert_to_tensor(gradient), variable)
            for gradient, variable in zip(gradients, variables, strict=True)
        )

    cpu_seconds = 0.0
    batches = examples.batches(data.batch_size, shuffle=True, seed=seed)
    for _ in range(settings["epochs"]):
        start = time.process_time()
        for batch in batches:
            step(batch["features"], batch["labels"], sampler.draw(rng))
        cpu_seconds += time.process_time() - start
        if after_epoch:
            after_epoch(model)
    return model, cpu_seconds


def try_settings(method, data, examples, learning_rate, dropout):
    """Returns the best precision at 1 on held-out examples, its epoch and form."""
    order = np.arange(len(examples))
    if data.is_sorted:
        order = np.random.default_rng(0).permutation(order)
    cut = max(len(examples) * 9 // 10, len(examples) - VALIDATION_EXAMPLES)
    first = order[: round(cut * data.tuning_share)]
    held_out = examples.take(order[cut:])
    curve = []
    _, cpu_seconds = train(
        method,
        data,
        examples.take(first),
        {"learning_rate": learning_rate, "dropout": dropout, "epochs": data.epochs},
        seed=0,
        after_epoch=lambda model: curve.append(
            measure(model, held_out, all_forms=False)
        ),
    )
    found = []
    for name in curve[0]:
        values = np.array([epoch[name]["precision"][0] for epoch in curve])
        found.append((*best_epoch(values), name))
    validation, epochs, form = max(found)
    return {
        "learning_rate": learning_rate,
        "dropout": dropout,
        "validation": validation,
        "epochs": epochs,
        "form": form,
        "cpu_seconds": round(cpu_seconds, 1),
    }


def best_epoch(values):
    """Returns the best of smoothed values and its number from 1; any may be the best.

    Of three epochs each, since one epoch's precision is noisy; at an end of the curve,
    of its last value twice and the one beside it.

    Args:
      values: Of each epoch [n].
    """
    smooth = np.convolve(np.pad(values, 1, mode="edge"), np.ones(3) / 3, "valid")
    best = int(smooth.argmax())
    return round(float(smooth[best]), 2), best + 1


def tune(name, method, data, examples, results):
    """Returns the best line of a family's tries, after those that are missing."""

    def tried(learning_rate, dropout):
        for line in lines(results):
            if [line["set"], line["family"]] == [name, method.family] and [
                line["learning_rate"],
                line["dropout"],
            ] == [learning_rate, dropout]:
                return line
        line = {"set": name, "family": method.family}
        line |= try_settings(method, data, examples, learning_rate, dropout)
        print(line, flush=True)
        append(results, line)
        return line

    best = tried(LEARNING_RATE, DROPOUTS[0])
    for factor in (2, 0.5):
        before = best
        line = tried(best["learning_rate"] * factor, DROPOUTS[0])
        while line["validation"] > best["validation"]:
            best = line
            line = tried(best["learning_rate"] * factor, DROPOUTS[0])
        if best is not before:
            break
    rate = best["learning_rate"]
    others = [tried(rate, dropout) for dropout in DROPOUTS[1:]]
    return max([best, *others], key=lambda line: line["validation"])


def lines(path):
    """Returns the lines of a file, none if there is no file."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def append(path, line):
    """Adds a line to a file."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def run(name, method, data, examples, test, tuning, seeds):
    """Returns the result line of a method."""
    tuned = methods(data)
    tuned = next(m for m in tuned.values() if m.family == method.family)
    chosen = tune(name, tuned, data, examples, tuning)
    settings = {key: chosen[key] for key in ("learning_rate", "dropout", "epochs")}
    tests, cpu_seconds = [], []
    for seed in range(seeds):
        model, seconds = train(method, data, examples, settings, seed)
        tests.append(measure(model, test))
        cpu_seconds.append(round(seconds, 1))
    form = chosen["form"] if method.family == MACH else "float32"
    means = np.mean([found[form]["precision"] for found in tests], axis=0)
    print(name, method.name, means.round(2), flush=True)
    return {
        "set": name,
        "method": method.name,
        "shape": method.shape,
        "balanced": method.balanced,
        "row_dim": method.row_dim or data.hidden_dim,
        "num_labels": examples.num_labels,
        "head_parameters": model.head_parameters,
        **settings,
        "form": form,
        "test": tests,
        "cpu_seconds": cpu_seconds,
    }


def main():
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", help='such as "full", "mach 4x20"')
    parser.add_argument("--data", type=Path, required=True, help="folder of folders")
    parser.add_argument("--set", dest="sets", action="append", choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS / "xc.jsonl")
    parser.add_argument("--tuning", type=Path, default=RESULTS / "xc_tuning.jsonl")
    args = parser.parse_args()
    for name in args.sets or SETS:
        data = SETS[name]
        examples, test = (
            datasets.XMLRepository(args.data / name / f"{data.files}_{part}.txt").read()
            for part in ("train", "test")
        )
        of_set = methods(data)
        for method in args.methods or of_set:
            done = [(line["set"], line["method"]) for line in lines(args.results)]
            if (name, method) not in done:
                line = run(
                    name,
                    of_set[method],
                    data,
                    examples,
                    test,
                    args.tuning,
                    args.seeds,
                )
                append(args.results, line)


if __name__ == "__main__":
    main()
