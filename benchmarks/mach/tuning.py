"""Tunes every method of the session benchmark alike.

Run from the repository's root, with a folder of `train_sessions.txt` and `test.tsv`:

    python benchmarks/mach/tuning.py --data FOLDER [names]

Each method is trained for 3 epochs on the latest third of the sessions. From the same
learning rate it climbs by factors of two while the recall on the validation sessions
rises; then the other dropout is tried. No test example is looked at. Every try is a
line of `results/tuning.jsonl`, and what is there is not run again.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from sessions import RUNS, Data, train
from tuned import METHODS, RESULTS, best, tries

SHARE = 1 / 3
EPOCHS = 3
LEARNING_RATE = 0.008
DROPOUTS = (0.2, 0.4)


def tune(name, data, results, checkpoints):
    """Tries what is missing of a method."""

    def recall(learning_rate, dropout):
        key = (name, learning_rate, dropout)
        if key not in tries(results):
            run = dataclasses.replace(
                RUNS[name],
                learning_rate=learning_rate,
                dropout=dropout,
                epochs=EPOCHS,
            )
            label = f"tuning {name} {learning_rate} {dropout}"
            result = train(label, run, data, checkpoints, test=False)
            line = {
                "name": name,
                "learning_rate": learning_rate,
                "dropout": dropout,
                "validation": result["validation"][-1]["recall"],
                "cpu_seconds": result["cpu_seconds"],
            }
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
        return tries(results)[key]

    start = recall(LEARNING_RATE, DROPOUTS[0])
    for factor in (2, 0.5):
        rate, value = LEARNING_RATE, start
        while recall(rate * factor, DROPOUTS[0]) > value:
            rate *= factor
            value = recall(rate, DROPOUTS[0])
        if value > start:
            break
    for dropout in DROPOUTS[1:]:
        recall(best(name, results)["learning_rate"], dropout)


def main():
    """Tunes what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--data", required=True, help="folder with the sessions")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--checkpoints", type=Path, default=Path("/tmp/mach_sessions"), help="folder"
    )
    args = parser.parse_args()
    data = Data(args.data, SHARE)
    for name in args.names or METHODS:
        tune(name, data, args.results, args.checkpoints)
        print(name, best(name, args.results), flush=True)


if __name__ == "__main__":
    main()
