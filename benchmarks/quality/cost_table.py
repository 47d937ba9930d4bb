"""The table of `cost.py`'s figures."""

import json

from markdown_table import markdown_table

NOTE = """\
Of `cost.json`, made by `cost.py` with one core and nothing beside it. *Step*: the
processor's milliseconds of a training step of {batch_size:,} pairs, with the layers of
users and of items, GMF and the optimizer, median of {steps}. *Served*: milliseconds of
the layer of items alone, exported, for that many known items."""


def tables(path):
    """Returns the note and a Markdown table for each set, in parts of a report."""
    results = json.loads(path.read_text())
    parts = [NOTE.format(**next(iter(results.values())))]
    for name, result in results.items():
        sizes = list(result["rows"][0]["latency_seconds"])
        header = [
            "method",
            "share",
            "parameters",
            "step",
            *(f"{n} served" for n in sizes),
        ]
        rows = [
            [
                row["method"],
                f"{row['share']:g}",
                f"{row['parameters']:,}",
                _milliseconds(row["step_cpu_seconds"]),
                *(_milliseconds(row["latency_seconds"][size]) for size in sizes),
            ]
            for row in result["rows"]
        ]
        title = f"{name}, {result['users']:,} users and {result['items']:,} items:"
        parts += [title, markdown_table(header, rows)]
    return parts


def _milliseconds(seconds):
    return "" if seconds is None else f"{seconds * 1e3:.3g}"
