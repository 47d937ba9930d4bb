"""What XLA gains over whole training steps, fed with int64 ids, on this machine.

Run `python benchmarks/speed/compiled_step.py` from the repository's root. A step is
what `model.compile(jit_compile=True)` compiles: encoding, network, loss, gradients,
batch statistics and Adam; the other is the same function without `jit_compile`. They
take turns, and figures of one run can be compared.
"""

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from timing import conditions, median_times, peak_memory
from training_steps import MODELS, Sizes, make_batch, make_step

#: The paper's network, and one for some 100,000 examples.
NETWORKS = {
    "1024 hashes, 5 x 512": {},
    "256 hashes, 2 x 128": {
        "num_hashes": 256,
        "hidden_dim": 128,
        "num_hidden_layers": 2,
    },
}


def measure(name: str, sizes: Sizes, repeats: int) -> dict[str, Any]:
    """Returns the times of a step, op by op and compiled, and their ratios."""
    functions = {}
    for mode in ("ops", "xla"):
        step = make_step(name, sizes, compiled=mode == "xla")
        functions[mode] = lambda batch, step=step: [step(**batch)]
    times = median_times(functions, make_batch(sizes), repeats)
    return {
        **{f"{mode}_seconds": times[mode].wall for mode in times},
        **{f"{mode}_processor_seconds": times[mode].processor for mode in times},
        "times_faster": times["ops"].wall / times["xla"].wall,
        "times_less_work": times["ops"].processor / times["xla"].processor,
    }


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Gain of XLA over training steps.")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--mach-buckets", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.batch_size < 1 or args.repeats < 1:
        parser.error("--batch-size and --repeats must be at least 1")
    tf.get_logger().setLevel("ERROR")  # Several functions of one code are wanted.
    base = Sizes(batch_size=args.batch_size, mach_buckets=args.mach_buckets)
    rows = []
    print(f"{'model':<16}{'network':<24}{'ms, ops':>9}{'ms, XLA':>9}", end="")
    print(f"{'faster':>8}{'less work':>11}")
    for network, changes in NETWORKS.items():
        for name in MODELS:
            sizes = dataclasses.replace(base, **changes)
            row = measure(name, sizes, args.repeats)
            rows.append({"model": name, "network": network, **row})
            line = f"{name:<16}{network:<24}{row['ops_seconds'] * 1e3:>9.1f}"
            line += f"{row['xla_seconds'] * 1e3:>9.1f}{row['times_faster']:>8.2f}"
            print(line + f"{row['times_less_work']:>11.2f}", flush=True)
    result = {
        **dataclasses.asdict(base),
        "repeats": args.repeats,
        **conditions(),
        "peak_bytes": peak_memory(),
        "rows": rows,
    }
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
