"""Runs what is missing of the study of embeddings.

Run from the repository's root, with the folder that holds the folders of the sets:

    python benchmarks/quality/run.py --data-dir FOLDER
    python benchmarks/quality/run.py --data-dir FOLDER --quick
    python benchmarks/quality/run.py --data-dir FOLDER --share 0.25 --set epochs=12

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
        result = method.train(run, cached_load(args.data_dir, run.data), _print)
        line = {
            **dataclasses.asdict(run),
            **result,
            "commit": commit(),
            "tensorflow": tf.__version__,
            "cpus": os.cpu_count(),
        }
        with args.results.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _print(name, loss, value):
    print(f"  {name}: loss {loss:.4f}, validation AUC {value:.4f}", flush=True)


if __name__ == "__main__":
    main()
