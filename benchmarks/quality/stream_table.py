"""The table of `stream.py`'s result lines."""

import collections
import json

import numpy as np
from markdown_table import markdown_table

NOTE = """\
Of `stream.jsonl`, made by `stream.py`: test AUC of four tenths of movietweetings, each
tested before it is trained on, means of the four and of the seeds; ± is the standard
deviation of the seeds. *Stale*: of the model that the first half has trained. Items and
users by how often they had been trained on by then."""
#: Titles, and which of a part's figures stand there.
COLUMNS = {
    "stale, all": ("stale", "item", "all"),
    "trained on, all": ("trained on", "item", "all"),
    "known items": ("trained on", "item", "known"),
    "rare items": ("trained on", "item", "rare"),
    "new items": ("trained on", "item", "unseen"),
    "known users": ("trained on", "user", "known"),
    "new users": ("trained on", "user", "unseen"),
}


def table(path):
    """Returns the note and a Markdown table of the lines of a file."""
    by_method = collections.defaultdict(list)
    for line in map(json.loads, path.read_text().splitlines()):
        by_method[line["method"], line["share"]].append(line)
    rows = []
    for (method, share), lines in by_method.items():
        cells = [method, f"{share:g}", f"{lines[0]['parameters']:,}"]
        for way, by, segment in COLUMNS.values():
            of_seeds = [
                np.mean(found)
                for found in (_aucs(line, way, by, segment) for line in lines)
                if found
            ]
            if not of_seeds:
                cells.append("")
                continue
            cell = f"{np.mean(of_seeds):.4f}"
            if len(of_seeds) > 1:
                cell += f" ± {np.std(of_seeds, ddof=1):.4f}"
            cells.append(cell)
        rows.append(cells)
    header = ["method", "share", "parameters at the end", *COLUMNS]
    return f"{NOTE}\n\n{markdown_table(header, rows)}"


def _aucs(line, way, by, segment):
    """Returns the figures of those parts that have such pairs."""
    found = [part[way][by].get(segment, {}).get("auc") for part in line["parts"]]
    return [auc for auc in found if auc is not None]
