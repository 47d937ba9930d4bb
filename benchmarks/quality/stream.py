"""Trains on as time goes by, while new users and items arrive.

Run from the repository's root, with the folder that holds the folders of the sets:

    python benchmarks/quality/stream.py --data-dir FOLDER

The ratings of movietweetings in order of time: the first half is trained on, the next
tenth says when that is enough. Then each tenth is trained on for three epochs, and the
model tested on the next one, which it has not seen, four times. Negatives are drawn
evenly among the items that had been seen by then, in tests with those of the tested
tenth. A growing table has a row for every id that has been trained on, or, with a
trained row for unknown ids, for those that occur twice in a part; all other layers stay
as they were made, of the ids of the first half.

Settings are those that `run.py` found for the set; growing tables have those of tables.
A result is a line of `results/stream.jsonl`; what is there is not run again.
`report.py` makes the table.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import served
from data import SPLIT_SEED, Data, Pairs, read_movietweetings, with_negatives
from grid import ONE_SIZE, Run
from growing_table import GrowingTable
from methods import FEATURES, STREAMED
from report import SETTINGS, USUAL, all_lines, best_lines, of_schedule
from run import RESULTS as TUNED
from run import commit, reporter, run_of
from trainer import Trainer
from training import fit, segments

RESULTS = TUNED.parent / "stream.jsonl"
SET = "movietweetings"
METHODS = (
    "table",
    "growing_table",
    "table_trained_unknown",
    "growing_table_trained_unknown",
    "hashing_trick",
    "deep_bloom",
    "deep_hash",
    "dedicated",
    "dedicated+features",
)
#: Where the parts of the stream end.
ENDS = (0.5, 0.6, 0.7, 0.8, 0.9)
EPOCHS = 3


def moments(read):
    """Returns a stream as `Data`, one for each part but the last.

    Each has a part to train on, whose positives and their candidates are all that had
    been seen by then, and the next part, with negatives, as validation and test.

    Args:
      read: `data.Interactions` in the order of time.
    """
    user_ids, users = np.unique(read.users, return_inverse=True)
    item_ids, items = np.unique(read.items, return_inverse=True)
    pairs = Pairs(users.astype(np.int32), items.astype(np.int32), read.labels)
    taken = np.unique(users.astype(np.int64) * len(item_ids) + items)
    generator = np.random.default_rng(SPLIT_SEED)
    ends = [0, *(int(end * len(pairs)) for end in ENDS), len(pairs)]
    found = []
    for start, end, next_end in zip(ends, ends[1:], ends[2:], strict=False):
        candidates, shown = np.unique(items[:end]), np.unique(items[:next_end])
        tested = pairs.take(slice(end, next_end))
        tested = with_negatives(tested, taken, len(item_ids), shown, generator)
        found.append(
            Data(
                user_ids,
                item_ids,
                pairs.take(slice(start, end)),
                tested,
                tested,
                taken,
                candidates,
                read.item_features(item_ids),
            )
        )
    return found


def measure(run, stream, report=print):
    """Trains through a stream; returns what belongs into the result line.

    Args:
      run: Settings, a `grid.Run`.
      stream: What `moments` gives.
      report: Is told of the epochs on the first part, as by `training.fit`.
    """
    first, *others = stream
    generator = np.random.default_rng(run.seed)
    trainer = Trainer(run, first)
    start = time.process_time()
    validation, _ = fit(run, first, trainer, report)
    stale = [trainer.scores(moment.test) for moment in others]
    counts = first.training_counts()
    tested = []
    for moment, before in zip(others, stale, strict=True):
        for layer, ids in zip(trainer.layers, trainer.keys(moment), strict=True):
            if isinstance(layer, GrowingTable):
                layer.grow(ids)
        for _ in range(EPOCHS):
            trainer.epoch(moment.epoch(generator))
        counts = list(map(np.add, counts, moment.training_counts()))
        of_pairs = counts[0][moment.test.users], counts[1][moment.test.items]
        ways = {"stale": before, "trained on": trainer.scores(moment.test)}
        tested.append(
            {
                way: {
                    by: segments(moment.test, scores, count)
                    for by, count in zip(("user", "item"), of_pairs, strict=True)
                }
                for way, scores in ways.items()
            }
        )
    return {
        "validation": validation,
        "parts": tested,
        "parameters": sum(map(_num_parameters, trainer.layers)),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def _num_parameters(layer):
    if isinstance(layer, GrowingTable):
        return layer.num_rows * layer.output_dim
    return served.num_parameters(layer)


def settings_of(method, share):
    """Returns the settings that the study found for a method on the set.

    At one rate: a stream does not end.
    """
    key = (SET, "gmf", method.removeprefix("growing_"), share, USUAL)
    lines = best_lines(of_schedule(all_lines(TUNED), "constant")).get(key)
    if lines is None:
        return {}
    run = run_of(lines[0])
    return {name: getattr(run, name) for name in SETTINGS}


def main():
    """Runs what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--method", nargs="+", default=METHODS)
    parser.add_argument("--seed", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    stream = moments(read_movietweetings(args.data_dir / f"{SET}-100k"))
    for method in args.method:
        share = 1 if method.removesuffix(FEATURES) in (*ONE_SIZE, *STREAMED) else 1 / 4
        for seed in args.seed:
            texts = args.results.read_text() if args.results.exists() else ""
            done = [
                (line["method"], line["seed"])
                for line in map(json.loads, texts.splitlines())
            ]
            if (method, seed) in done:
                continue
            run = Run(SET, "gmf", method, share, seed, **settings_of(method, share))
            line = {"method": method, "share": share, "seed": seed}
            line |= {name: getattr(run, name) for name in SETTINGS}
            line |= {**measure(run, stream, reporter(None)), "commit": commit()}
            with args.results.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
