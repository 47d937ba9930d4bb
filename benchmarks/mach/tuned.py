"""The settings that tuning found for the methods of the session benchmark."""

import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "tuning.jsonl"
#: What is tuned. Heads of another size take the settings of the one that is here.
METHODS = (
    "full",
    "in_batch_mach_4x",
    "one_mach_4x",
    "in_batch_narrow_4x",
    "paper_4x_r4",
    "in_batch_tied",
    "tied_mach_4x",
    "in_batch_full",
    "full_tied",
    "sampled_full",
    "sampled_tied",
)


def method_of(name):
    """Returns the method of `METHODS` whose settings a run takes, None without."""
    if name in METHODS:
        return name
    families = {m.split("_4x")[0] + "_": m for m in METHODS if "_4x" in m}
    return next((m for f, m in families.items() if name.startswith(f)), None)


def tries(results=RESULTS):
    """Returns the validation recall of what was tried, by method and settings."""
    lines = results.read_text().splitlines() if results.exists() else []
    return {
        (line["name"], line["learning_rate"], line["dropout"]): line["validation"]
        for line in map(json.loads, lines)
    }


def best(method, results=RESULTS):
    """Returns a method's settings with the best recall; none if it is untried."""
    found = {
        key[1:]: value for key, value in tries(results).items() if key[0] == method
    }
    if not found:
        return {}
    learning_rate, dropout = max(found, key=found.get)
    return {"learning_rate": learning_rate, "dropout": dropout}
