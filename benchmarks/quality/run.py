"""Runs what is missing of the study of embeddings.

Run from the repository's root, with the folder that holds the folders of the sets:

    python benchmarks/quality/run.py --data-dir FOLDER
    python benchmarks/quality/run.py --data-dir FOLDER --quick
    python benchmarks/quality/run.py --data-dir FOLDER --share 0.25 --set epochs=12
    python benchmarks/quality/run.py --data-dir FOLDER --data ml-1m+new \
        --method table+features dedicated+features --share 1 --tensorboard LOGS

A result is a line of `results/runs.jsonl`; what has one with the same settings is not
run again, so that the study can be stopped and taken up at any run. `report.py` makes
tables and pictures of the lines.
"""

import argparse
import dataclasses
import functools
import json
import os
import subprocess
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import means
import tensorflow as tf
import training
from data import load
from grid import FULL, QUICK, Run, runs

RESULTS = Path(__file__).parent / "results" / "runs.jsonl"


def settings_of(arguments):
    """Returns settings given as `name=value`, in the types that `Run` has."""
    types = {field.name: type(field.default) for field in dataclasses.fields(Run)}
    pairs = (argument.split("=", 1) for argument in arguments)
    return {name: types[name](value) for name, value in pairs}


def done(path):
    """Returns the settings that have a result."""
    lines = path.read_text().splitlines() if path.exists() else []
    names = [field.name for field in dataclasses.fields(Run)]
    return {Run(**{name: json.loads(line)[name] for name in names}) for line in lines}


def commit():
    """Returns the commit of the repository, marked if files differ from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return found.stdout.strip() or None


def main():
    """Runs what the command line chooses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="a small grid, 2 epochs")
    for name, values in FULL.items():
        parser.add_argument(f"--{name}", nargs="+", type=type(values[-1]))
    parser.add_argument("--set", nargs="*", default=[], help="settings, name=value")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tensorboard", type=Path, help="a folder for logs")
    args = parser.parse_args()

    choices = dict(QUICK if args.quick else FULL)
    choices |= {n: getattr(args, n) for n in FULL if getattr(args, n) is not None}
    settings = ({"epochs": 2} if args.quick else {}) | settings_of(args.set)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    todo = [run for run in runs(choices, settings) if run not in done(args.results)]
    cached_load = functools.lru_cache(1)(load)
    for number, run in enumerate(todo, start=1):
        print(f"run {number} of {len(todo)}", flush=True)
        method = means if run.method == "means" else training
        data = cached_load(args.data_dir, run.data)
        result = method.train(run, data, _reporter(args.tensorboard))
        line = {
            **dataclasses.asdict(run),
            **result,
            "commit": commit(),
            "tensorflow": tf.__version__,
            "cpus": os.cpu_count(),
        }
        with args.results.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _reporter(tensorboard):
    """Returns what is told of each epoch: it prints and, given a folder, logs."""

    def report(run, epoch, loss, value):
        print(
            f"  {run.name} {epoch}/{run.epochs}: loss {loss:.4f}, "
            f"validation AUC {value:.4f}",
            flush=True,
        )
        if tensorboard is None:
            return
        settings = "-".join(map(str, dataclasses.astuple(run))).replace("/", "_")
        with tf.summary.create_file_writer(str(tensorboard / settings)).as_default():
            tf.summary.scalar("loss", loss, step=epoch)
            tf.summary.scalar("validation_auc", value, step=epoch)

    return report


if __name__ == "__main__":
    main()
