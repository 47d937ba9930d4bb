r"""Runs what is missing of the study of embeddings.

Run from the repository's root, with the folder that holds the folders of the sets:

    python benchmarks/quality/run.py --data-dir FOLDER
    python benchmarks/quality/run.py --data-dir FOLDER --data ml-1m --share 0.25
    python benchmarks/quality/run.py --data-dir FOLDER --data ml-1m+new \
        --method table+features dedicated+features --share 1 --tensorboard LOGS
    python benchmarks/quality/run.py --data-dir FOLDER --data ml-1m --study encoding
    python benchmarks/quality/run.py --data-dir FOLDER --data ml-1m --study training
    python benchmarks/quality/run.py --data-dir FOLDER --set epochs=12 weight_decay=.2
    python benchmarks/quality/run.py --quick

Of each method at each size, the settings in `grid.TRIES` are run with the first seed,
the best of them with each of `grid.OTHER_SCHEDULES` as well, and those that are best on
the validation pairs with the other seeds. `--set` gives settings instead, `--study` has
one thing of `deep_hash` changed at a time (`variants.py`), or the training of it or of
`--method` (`grid.TRAININGS`), and `--quick` is a small grid on data that the package
makes.

A result is a line of `results/runs.jsonl`; what has one with the same settings is not
run again, so that the study can be stopped and taken up at any run, and that run at its
last epoch. `report.py` makes tables and pictures of the lines.
"""

import argparse
import dataclasses
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import means
import tensorflow as tf
import training
from data import SYNTHETIC, load
from grid import (
    FULL,
    OTHER_SCHEDULES,
    QUICK,
    QUICK_SETTINGS,
    TRAININGS,
    Run,
    runs,
    tries,
)
from variants import STUDIES

RESULTS = Path(__file__).parent / "results" / "runs.jsonl"
#: Made anew by whoever asks; not kept in the repository.
QUICK_RESULTS = RESULTS.parent / "quick" / "runs.jsonl"


def settings_of(arguments):
    """Returns settings given as `name=value`, in the types that `Run` has."""
    types = {field.name: type(field.default) for field in dataclasses.fields(Run)}
    pairs = (argument.split("=", 1) for argument in arguments)
    return {name: types[name](value) for name, value in pairs}


def done(path):
    """Returns the result lines there are, by their settings."""
    texts = path.read_text().splitlines() if path.exists() else []
    lines = map(json.loads, texts)
    return {run_of(line): line for line in lines}


def run_of(line):
    """Returns the run of a result line; what it does not say is as by default."""
    names = {field.name for field in dataclasses.fields(Run)}
    return Run(**{name: value for name, value in line.items() if name in names})


def commit():
    """Returns the commit of the repository, marked if files differ from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return found.stdout.strip() or None


class Study:
    """Makes results, or takes those that are there.

    Args:
      data_dir: The folder of the folders of the sets, or None.
      results: The file of result lines. A folder beside it, `checkpoints`, has the
        state of runs that are not done.
      tensorboard: A folder for logs, or None.
    """

    def __init__(self, data_dir, results, tensorboard):
        self._data_dir = data_dir
        self._results = results
        self._report = reporter(tensorboard)
        self._checkpoints = results.parent / "checkpoints"
        self._load = functools.lru_cache(1)(load)
        results.parent.mkdir(parents=True, exist_ok=True)

    def result(self, run):
        """Returns the result line of a run."""
        found = done(self._results).get(run)
        if found is not None:
            return found
        data = self._load(self._data_dir, run.data)
        if run.method == "means":
            result = means.train(run, data, self._report)
        else:
            result = training.train(run, data, self._report, self._checkpoints)
        line = {
            **dataclasses.asdict(run),
            **result,
            "commit": commit(),
            "tensorflow": tf.__version__,
            "cpus": os.cpu_count(),
        }
        with self._results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        checkpoint = self._checkpoints / run.folder_name
        if checkpoint.exists():
            shutil.rmtree(checkpoint)
        return line

    def tuned(self, run):
        """Returns the run with the settings that are best on the validation pairs."""
        if run.method == "means":
            return run
        best = max(tries(run), key=self._validation)
        others = [dataclasses.replace(best, **other) for other in OTHER_SCHEDULES]
        if len(self.result(best)["validation"]) < best.epochs:
            # It ended by itself, and would so with more epochs.
            others = [other for other in others if other.schedule != best.schedule]
        return max((best, *others), key=self._validation)

    def _validation(self, run):
        return max(self.result(run)["validation"])


def trained_otherwise(todo):
    """Returns the runs of the study of training."""
    return [dataclasses.replace(run, **other) for run in todo for other in TRAININGS]


def main():
    """Runs what the command line chooses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small grid, 3 epochs")
    for name, values in FULL.items():
        parser.add_argument(f"--{name}", nargs="+", type=type(values[-1]))
    parser.add_argument(
        "--study", choices=(*STUDIES, "training"), help="variants of deep_hash"
    )
    parser.add_argument("--set", nargs="*", default=[], help="settings, name=value")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--tensorboard", type=Path, help="a folder for logs")
    args = parser.parse_args()

    choices = dict(QUICK if args.quick else FULL)
    if args.study == "training":
        choices |= {"method": ["deep_hash"], "share": [1 / 4]}
    elif args.study:
        names = [f"deep_hash, {name}" for name in STUDIES[args.study]]
        choices |= {"method": ["deep_hash", *names], "share": [1 / 4]}
    choices |= {n: getattr(args, n) for n in FULL if getattr(args, n) is not None}
    if args.data_dir is None and any(SYNTHETIC not in name for name in choices["data"]):
        parser.error("--data-dir is needed for sets that are read from files.")
    settings = settings_of(args.set)
    if args.quick:
        settings = QUICK_SETTINGS | settings
    results = args.results or (QUICK_RESULTS if args.quick else RESULTS)
    study = Study(args.data_dir, results, args.tensorboard)
    first, *others = choices["seed"]
    todo = runs({**choices, "seed": (first,)}, settings)
    if args.study == "training":
        todo = trained_otherwise(todo)
    for number, run in enumerate(todo, start=1):
        print(f"{number} of {len(todo)}: {run.name}", flush=True)
        chosen = run if settings or args.study == "training" else study.tuned(run)
        for seed in (first, *others):
            study.result(dataclasses.replace(chosen, seed=seed))


def reporter(tensorboard):
    """Returns what is told of each epoch: it prints and, given a folder, logs.

    Args:
      tensorboard: The folder, or None.
    """

    def report(run, epoch, loss, value):
        print(
            f"  {run.name} {epoch}/{run.epochs}: loss {loss:.4f}, "
            f"validation AUC {value:.4f}",
            flush=True,
        )
        if tensorboard is None:
            return
        folder = str(tensorboard / run.folder_name)
        with tf.summary.create_file_writer(folder).as_default():
            tf.summary.scalar("loss", loss, step=epoch)
            tf.summary.scalar("validation_auc", value, step=epoch)

    return report


if __name__ == "__main__":
    main()
