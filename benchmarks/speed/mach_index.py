"""Time and memory that it takes to index a catalogue in a MACH index.

Run `python benchmarks/speed/mach_index.py` from the repository's root. Each kind of
identifiers is measured in a process of its own. Memory is what the process holds
more at its peak than before, sampled while the index is made.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

KINDS = ("int64", "string")


def resident_bytes() -> int:
    """What the process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Peak:
    """The most that the process holds in memory within a block."""

    def __enter__(self) -> "Peak":
        self.before = self.peak = resident_bytes()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self.after = resident_bytes()

    def _watch(self) -> None:
        while not self._is_over.wait(0.001):
            self.peak = max(self.peak, resident_bytes())


def measure(
    kind: str, num_classes: int, num_buckets: int, num_repetitions: int
) -> dict[str, Any]:
    """Seconds and bytes to index a catalogue, and to change one class of it."""
    import numpy as np
    import tensorflow as tf

    from tfrs_dhe.layers import MACHHead
    from tfrs_dhe.layers.factorized_top_k import MACH

    warnings.simplefilter("ignore")
    head = MACHHead(num_buckets, num_repetitions, embedding_dim=1)
    ids = tf.constant(np.random.default_rng(0).permutation(num_classes))
    new = tf.constant([-1], tf.int64)
    if kind == "string":
        ids, new = (
            tf.strings.join(["item-", tf.strings.as_string(x)]) for x in (ids, new)
        )
    # Loads what TensorFlow and NumPy load once.
    MACH(head).index(ids[:1000]).add(new).remove(new)

    index = MACH(head)
    row: dict[str, Any] = {"identifiers": kind}
    for name, change in (
        ("index", lambda: index.index(ids)),
        ("add", lambda: index.add(new)),
        ("remove", lambda: index.remove(new)),
    ):
        with Peak() as memory:
            start = time.perf_counter()
            change()
            row[f"{name}_seconds"] = time.perf_counter() - start
        row[f"{name}_peak_mb"] = (memory.peak - memory.before) / 1e6
        row[f"{name}_kept_mb"] = (memory.after - memory.before) / 1e6
    return row


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Indexing of a catalogue by MACH.")
    parser.add_argument("--num-classes", type=int, default=1_000_000)
    parser.add_argument("--num-buckets", type=int, default=10_000)
    parser.add_argument("--num-repetitions", type=int, default=16)
    parser.add_argument("--kind", choices=KINDS, help="measure this one, here")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    sizes = {
        "num_classes": args.num_classes,
        "num_buckets": args.num_buckets,
        "num_repetitions": args.num_repetitions,
    }
    if args.kind is not None:
        print(json.dumps(measure(args.kind, **sizes)))
        return
    rows = []
    for kind in KINDS:
        command = [sys.executable, *sys.argv, "--kind", kind]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout))
    print(", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    print(f"{'identifiers':<13}{'change':<8}{'seconds':>9}{'peak MB':>9}{'kept MB':>9}")
    for row in rows:
        for name in ("index", "add", "remove"):
            figures = [
                row[f"{name}_{key}"] for key in ("seconds", "peak_mb", "kept_mb")
            ]
            numbers = "".join(f"{figure:>9.2f}" for figure in figures)
            print(f"{row['identifiers']:<13}{name:<8}{numbers}")
    if args.output is not None:
        result = {**sizes, "cpus": os.cpu_count(), "rows": rows}
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
