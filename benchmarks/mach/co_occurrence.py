"""Next items by counts alone: what occurs in one session, and how near.

Run `python benchmarks/mach/co_occurrence.py --data FOLDER` from the repository's
root; it adds a line to `results/sessions.jsonl`.

`s(c) = sum_i (c_ic + f c_ci) / age_i / n_c^p` over the items i of the session so far,
the last of age 1. c_ic sums 1 / distance over the training sessions in which item c
follows item i, and n_c counts item c. f and p are chosen on the validation examples.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
import scipy.sparse
from sessions import MAX_LENGTH, RESULTS, Data, metrics

REVERSE = (0.0, 0.5, 1.0)
POWERS = (0.0, 0.3, 0.6)
CHUNK = 2_000


def count_pairs(sessions, num_rows):
    """Returns the sparse matrix of the sums of 1 / distance."""
    size = (num_rows, num_rows)
    total = scipy.sparse.csr_matrix(size)
    session = np.repeat(np.arange(len(sessions)), np.diff(sessions.row_splits))
    for distance in range(1, MAX_LENGTH + 1):
        together = session[distance:] == session[:-distance]
        pair = sessions.items[:-distance][together], sessions.items[distance:][together]
        values = np.full(len(pair[0]), 1 / distance)
        total += scipy.sparse.coo_matrix((values, pair), size).tocsr()
    return total


def places(scores_of, examples):
    """Places of the next items in the rankings, from 0; ties stand in the middle."""
    length = np.diff(examples.row_splits)
    row = np.repeat(np.arange(len(examples)), length)
    age = np.repeat(examples.row_splits[1:], length) - np.arange(len(row))
    weight = np.where(age <= MAX_LENGTH, 1 / age, 0)
    num_rows = scores_of.shape[0]
    queries = scipy.sparse.csr_matrix(
        (weight, (row, examples.items)), (len(examples), num_rows)
    )
    result = []
    for start in range(0, len(examples), CHUNK):
        scores = (queries[start : start + CHUNK] @ scores_of).tocsr()
        targets = examples.next_item[start : start + CHUNK]
        own = np.asarray(scores[np.arange(len(targets)), targets]).ravel()
        row = np.repeat(np.arange(len(targets)), np.diff(scores.indptr))
        higher = np.bincount(row[scores.data > own[row]], minlength=len(targets))
        equal = np.bincount(row[scores.data == own[row]], minlength=len(targets))
        # Items that nothing was counted for have a score of 0, as do most.
        equal = np.where(own == 0, num_rows - np.diff(scores.indptr), equal)
        result.append(higher + (equal - 1) / 2)
    return np.concatenate(result)


def main():
    """Counts, chooses and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with the sessions")
    parser.add_argument("--results", type=Path, default=RESULTS / "sessions.jsonl")
    args = parser.parse_args()
    data = Data(args.data)
    start, cpu_start = time.perf_counter(), time.process_time()
    pairs = count_pairs(data.train, data.num_items + 1)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    found = []
    for reverse, power in itertools.product(REVERSE, POWERS):
        divisor = np.maximum(data.counts, 1) ** -power
        scores_of = (pairs + reverse * pairs.T) @ scipy.sparse.diags(divisor)
        result = metrics(places(scores_of, data.validation), data.validation, data)
        found.append((result["recall"], reverse, power, scores_of))
        print(reverse, power, result, flush=True)
    _, reverse, power, scores_of = max(found, key=lambda point: point[0])
    line = {
        "name": "co_occurrence",
        "reverse": reverse,
        "power": power,
        "head_parameters": int(scores_of.nnz),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "test": metrics(places(scores_of, data.test), data.test, data),
    }
    with args.results.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
