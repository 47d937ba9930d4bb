"""What each method costs to train and to serve.

Run from the repository's root, with the folder that holds the folders of the sets:

    python benchmarks/quality/cost.py --data-dir FOLDER
    python benchmarks/quality/cost.py --data-dir FOLDER --data ml-1m --method table

Of every method, at a quarter of the full table's parameters where its size can be
chosen: the processor's time of a training step with the study's model (`trainer.py`),
and the latency of the layer of items for a batch of them, drawn evenly among those that
are known, exported and served alone by a C program on one core
(`benchmarks/speed/native_latency.py`). Deep hash embeddings are also served in their
inference form, and dedicated rows in 4 bits with sorted keys, as they would be.

Figures go to `results/cost.json`, where those of a set replace earlier ones of that
set; `report.py` makes the table.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

# The clock and the server of the benchmarks of speed.
sys.path.append(str(Path(__file__).parents[1] / "speed"))

import numpy as np
import served
from data import SYNTHETIC, load
from grid import ONE_SIZE, Run
from methods import METHODS
from native_latency import lowest_medians, serve, use_one_core
from run import RESULTS as RUNS
from run import commit
from timing import WARM_UP, conditions
from trainer import Trainer

RESULTS = RUNS.parent / "cost.json"
BATCH_SIZES = (1, 256, 4096)
#: They cost what other methods do.
SAME = ("table_trained_unknown", "dedicated_beside")
COMPARED = tuple(name for name in METHODS if name not in SAME)


def forms_of(name, layer):
    """Returns the forms in which a trained layer is served, by what they are called."""
    forms = {name: layer}
    if name.startswith("deep_"):
        forms[f"{name}, inference form"] = layer.inference_form()
    if name == "dedicated":
        served = layer.materialize("int4", key_index="sorted")
        forms[f"{name}, 4 bits, sorted keys"] = served
    return forms


def seconds_of_step(trainer, pairs, batch_size, steps):
    """Returns the median of the processor's seconds of a training step.

    Args:
      trainer: A `Trainer`.
      pairs: `data.Pairs` that are trained on in their order, and again.
      batch_size: Of a step.
      steps: How many are measured, after some that warm up.
    """
    starts = itertools.cycle(range(0, len(pairs) - batch_size + 1, batch_size))
    taken = []
    for start in itertools.islice(starts, WARM_UP + steps):
        batch = pairs.take(slice(start, start + batch_size))
        began = time.process_time()
        trainer.epoch(batch)
        taken.append(time.process_time() - began)
    return statistics.median(taken[WARM_UP:])


def measure(run, data, steps, seconds):
    """Returns a row for each form in which a method is served.

    Args:
      run: Settings, a `grid.Run`.
      data: A `data.Data`.
      steps: Training steps to measure.
      seconds: For a batch of a form.
    """
    trainer = Trainer(run, data)
    pairs = data.epoch(np.random.default_rng(0))
    step = seconds_of_step(trainer, pairs, run.batch_size, steps)
    users, items = trainer.layers
    _, (keys, _, _) = trainer.known(data)
    forms = forms_of(run.method, items)
    rows = {
        name: {
            "method": name,
            "share": run.share,
            "parameters": sum(map(served.num_parameters, (users, items))),
            "step_cpu_seconds": step if name == run.method else None,
            "latency_seconds": {},
        }
        for name in forms
    }
    generator = np.random.default_rng(run.seed)
    with serve(forms, keys) as servers:
        for batch_size in BATCH_SIZES:
            batch = generator.choice(keys, batch_size)
            for name, latency in lowest_medians(servers, batch, seconds).items():
                rows[name]["latency_seconds"][str(batch_size)] = latency
    return list(rows.values())


def main():
    """Measures what the command line chooses, prints and writes it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--data", nargs="+", default=["ml-1m", "amazon-book"])
    parser.add_argument("--method", nargs="+", default=COMPARED, choices=METHODS)
    parser.add_argument("--batch-size", type=int, default=Run.batch_size)
    parser.add_argument("--steps", type=int, default=20, help="to measure")
    parser.add_argument("--seconds", type=float, default=1.0, help="for a batch")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.data_dir is None and any(name != SYNTHETIC for name in args.data):
        parser.error("--data-dir is needed for sets that are read from files.")

    use_one_core()
    results = json.loads(args.results.read_text()) if args.results.exists() else {}
    for name in args.data:
        data = load(args.data_dir, name)
        rows = []
        for method in args.method:
            share = 1 if method in ONE_SIZE else 1 / 4
            run = Run(name, "gmf", method, share, batch_size=args.batch_size)
            print(run.name, flush=True)
            rows += measure(run, data, args.steps, args.seconds)
        results[name] = {
            "items": len(data.item_ids),
            "users": len(data.user_ids),
            "batch_size": args.batch_size,
            "steps": args.steps,
            "seconds": args.seconds,
            "commit": commit(),
            **conditions(),
            "rows": rows,
        }
        args.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
