"""How the errors of MACH follow what `mach.plan` says of B and R.

Run from the repository's root, after `xc.py` has tuned the full softmax:

    python benchmarks/mach/planned.py --data FOLDER

Three questions, each with what the planner says beside what is counted, over several
hash functions. How many pairs of classes share all their buckets? With what error do
exact probabilities of buckets give the probability of an example's likeliest class?
For how many examples do they change which class comes first? The probabilities are
those of a full softmax on examples of xc-wordnet, so that nothing is due to training;
`xc.jsonl` has the heads that are trained. Writes `results/planned.json`.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
from xc import RESULTS, lines, train
from xc_methods import SETS, methods

from tfrs_dhe import datasets, mach

#: K, R and B where some pairs, and not all, share their buckets.
PAIRS = (
    (159, 2, 20),
    (159, 4, 5),
    (983, 2, 100),
    (983, 2, 200),
    (983, 4, 25),
    (20_472, 2, 640),
    (20_472, 2, 2560),
    (20_472, 4, 80),
    (60_416, 2, 1888),
    (60_416, 2, 7552),
    (60_416, 4, 100),
)
SET = "xc-wordnet"
SHAPES = tuple((r, outputs // r) for outputs in (1280, 5120, 20480) for r in (2, 4, 8))
FORMS = ("unbiased_mean", "min", "mean_log_probability")
#: A bucket without probability has a logarithm all the same.
LEAST = 1e-30


def count_pairs(table):
    """Returns how many pairs of classes share all buckets of a table [R, K]."""
    _, counts = np.unique(table, axis=1, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def pairs(num_classes, num_repetitions, num_buckets, seeds):
    """Returns the counts of indistinguishable pairs beside the planner's."""
    plan = mach.plan(
        num_classes, 1, num_buckets=num_buckets, num_repetitions=num_repetitions
    )
    counted = [
        count_pairs(
            mach.bucket_table(
                np.arange(num_classes), num_buckets, num_repetitions, seed=seed
            )
        )
        for seed in range(seeds)
    ]
    return {
        "num_classes": num_classes,
        "shape": [num_repetitions, num_buckets],
        "planned": plan.expected_indistinguishable_pairs,
        "counted": counted,
    }


def deviations(probabilities, num_repetitions, num_buckets):
    """Returns the planner's standard deviation of every class's estimate, [n, K].

    The planner has that of the likeliest class; for another one, its own square and
    that of the likeliest class change places.
    """
    found = []
    for row in probabilities:
        plan = mach.plan(
            len(row),
            1,
            num_buckets=num_buckets,
            num_repetitions=num_repetitions,
            class_distribution=row,
        )
        largest = plan.heavy_hitter_probability
        others = plan.other_square_sum + largest**2 - row.astype(np.float64) ** 2
        scale = plan.variance / plan.other_square_sum
        found.append(np.sqrt(others * scale))
    return np.stack(found)


def bucket_scores(probabilities, table, num_buckets):
    """Returns the scores of all classes by exact probabilities of buckets."""
    merged = np.stack(
        [
            np.stack([np.bincount(row, p, num_buckets) for row in table])
            for p in probabilities.astype(np.float64)
        ]
    )
    # What the aggregations take are logits; a softmax gives the same again.
    logits = tf.constant(np.log(np.maximum(merged, LEAST)), tf.float32)
    return {
        form: mach.class_scores(
            mach.bucket_values(logits, form), table.T.astype(np.int32), form
        ).numpy()
        for form in FORMS
    }


def follow(probabilities, relevant, shape, seeds):
    """Returns the errors of a head of R by B, the planner's and the counted ones.

    Args:
      probabilities: [n, K], those of the full softmax.
      relevant: Booleans [n, K], which classes are right.
      shape: R and B.
      seeds: How many hash functions.
    """
    num_repetitions, num_buckets = shape
    rows = np.arange(len(probabilities))
    first = probabilities.argmax(1)
    own = probabilities[rows, first]
    noise = deviations(probabilities, num_repetitions, num_buckets)
    errors, changed, right = [], {form: [] for form in FORMS}, {f: [] for f in FORMS}
    planned = []
    for seed in range(seeds):
        table = mach.bucket_table(
            np.arange(probabilities.shape[1]), num_buckets, num_repetitions, seed=seed
        )
        scores = bucket_scores(probabilities, table, num_buckets)
        errors.append(scores["unbiased_mean"][rows, first] - own)
        for form, values in scores.items():
            # Classes of equal scores are equally likely to be first.
            best = values == values.max(1, keepdims=True)
            share = best / best.sum(1, keepdims=True)
            changed[form].append(float(1 - share[rows, first].mean()))
            right[form].append(float((share * relevant).sum(1).mean()))
        drawn = np.random.default_rng(seed).normal(size=noise.shape)
        planned.append(
            float(((probabilities + noise * drawn).argmax(1) != first).mean())
        )
    return {
        "shape": list(shape),
        "planned_error": float(np.sqrt((noise[rows, first] ** 2).mean())),
        "error": [float(np.sqrt((e**2).mean())) for e in errors],
        "bias": float(np.mean(errors)),
        "planned_changes": planned,
        "changes": changed,
        "precision": right,
    }


def softmax_on(data_folder, num_examples):
    """Returns probabilities of test examples by the full softmax, and their labels."""
    data = SETS[SET]
    train_set, test = (
        datasets.XMLRepository(data_folder / SET / f"{data.files}_{part}.txt").read()
        for part in ("train", "test")
    )
    tries = [
        line
        for line in lines(RESULTS / "xc_tuning.jsonl")
        if (line["set"], line["family"]) == (SET, "full")
    ]
    settings = max(tries, key=lambda line: line["validation"])
    model, _ = train(methods(data)["full"], data, train_set, settings, seed=0)
    chosen = np.random.default_rng(0).permutation(len(test))[:num_examples]
    batch = next(iter(test.take(chosen).batches(num_examples)))
    scores = model.scores(model.queries(batch["features"]), all_forms=False)
    probabilities = tf.nn.softmax(tf.cast(scores["float32"], tf.float64)).numpy()
    relevant = np.zeros(probabilities.shape, bool)
    relevant[batch["labels"].value_rowids().numpy(), batch["labels"].values.numpy()] = 1
    return probabilities, relevant


def main():
    """Counts, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of folders")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "planned.json")
    args = parser.parse_args()
    figures = {"examples": args.examples, "pairs": [], "errors": []}
    for size in PAIRS:
        figures["pairs"].append(pairs(*size, seeds=10))
        print(figures["pairs"][-1], flush=True)
    probabilities, relevant = softmax_on(args.data, args.examples)
    rows = np.arange(len(probabilities))
    figures["precision"] = float(relevant[rows, probabilities.argmax(1)].mean())
    figures["largest_probability"] = np.quantile(
        probabilities.max(1), (0.1, 0.5, 0.9)
    ).tolist()
    for shape in SHAPES:
        figures["errors"].append(follow(probabilities, relevant, shape, args.seeds))
        print(figures["errors"][-1], flush=True)
    args.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
