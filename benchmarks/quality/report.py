"""Makes tables and pictures of the study's result lines.

Run `python benchmarks/quality/report.py` after `run.py`. For every set and model it
writes to `tables.md`, beside the results, the test AUC of each method by share of the
full table's parameters, and the same by bytes as served, with tables rounded to 8 and 4
bits, for items that are known, rare and unseen. Pictures, as PNG and SVG, show AUC
against parameters and against bytes.

Where a combination was run with several settings, the best on the validation pairs
counts; its seeds give mean and spread. `tried.md` has all that were run.
"""

import argparse
import collections
import itertools
import json
from pathlib import Path

import cost_table
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import stream_table
from grid import Run
from markdown_table import markdown_table
from run import RESULTS, run_of
from variants import STUDIES, VARIANTS

from tfrs_dhe.analysis._plots import save as save_picture

#: What the columns are called.
SEGMENTS = {
    "all": "all items",
    "known": "more than 5 times",
    "rare": "1 to 5 times",
    "unseen": "never",
}
MARKERS = "osD^v<>PX*"
NOTE = """\
Made by `report.py` of `runs.jsonl`. *MB*: rows of the dtype, all else float32, and 8
bytes a key where there is a dictionary. Test AUC by how often the item is in the
training; where all items may be drawn as negatives, those that never are have been
trained on as such. *CPU s*: of training, without that of a table that teaches, on a
machine that had other work beside. Learning a table's rows counts as one epoch."""
#: What is tuned.
SETTINGS = ("epochs", "batch_size", "learning_rate", "weight_decay", "schedule")
#: What is compared of the schedule: its name, and whether for more epochs than usual.
SCHEDULES = {
    "one rate": ("constant", False),
    "one rate, longer": ("constant", True),
    "cosine": ("cosine", False),
    "cosine, longer": ("cosine", True),
}
#: The training of all methods, which `grid.TRAININGS` are compared with.
USUAL = "as usual"


def all_lines(path):
    """Returns lines by (data, model, method, share, training), and by settings."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in map(json.loads, path.read_text().splitlines()):
        key = tuple(line[name] for name in ("data", "model", "method", "share"))
        key += (training_of(run_of(line)),)
        found[key][_settings_of(line)].append(line)
    return found


def _settings_of(line):
    run = run_of(line)
    return tuple(getattr(run, name) for name in SETTINGS)


def of_schedule(found, schedule, long=False):
    """Returns those of `all_lines` whose learning rate has a schedule.

    Args:
      found: Those lines.
      schedule: `Run.schedule`.
      long: Whether to take trainings of more epochs than are usual, or the others.
    """
    places = [SETTINGS.index(name) for name in ("schedule", "epochs")]

    def fits(settings):
        of_line, epochs = (settings[place] for place in places)
        return of_line == schedule and (epochs > Run.epochs) == long

    chosen = {
        key: {settings: lines for settings, lines in of_key.items() if fits(settings)}
        for key, of_key in found.items()
    }
    return {key: by_settings for key, by_settings in chosen.items() if by_settings}


def best_lines(found):
    """Returns the lines of the best settings of each key of `all_lines`.

    Settings are compared by the least seed, with which all have been run.
    """
    return {
        key: max(by_settings.values(), key=_validation)
        for key, by_settings in found.items()
    }


def training_of(run):
    """Returns what a run's training is called; what is tuned does not count."""
    parts = []
    if run.teacher:
        parts.append(f"labels {run.teacher:.0%} of the full table")
    if run.distilled:
        parts.append(f"{run.distilled} passes over the rows of the full table")
    if run.id_dropout:
        parts.append(f"{run.id_dropout:.0%} new ids")
    return ", ".join(parts) or USUAL


def _validation(lines):
    return max(min(lines, key=lambda line: line["seed"])["validation"])


def _aucs(lines, segment="all", row_dtype="float32"):
    """Returns the AUC of each line that has one, floats [n]."""
    found = (
        lines if row_dtype == "float32" else [x["rounded"][row_dtype] for x in lines]
    )
    aucs = [x["test"].get(segment, {}).get("auc") for x in found]
    return np.array([auc for auc in aucs if auc is not None])


def _cell(aucs):
    if not len(aucs):
        return ""
    spread = f" ± {aucs.std(ddof=1):.4f}" if len(aucs) > 1 else ""
    return f"{aucs.mean():.4f}{spread}"


def by_share(results):
    """The table of AUC of all test pairs, method by share."""
    shares = sorted({share for _, share in results}, reverse=True)
    methods = dict.fromkeys(method for method, _ in results)
    rows = [
        [method, *(_cell(_aucs(results.get((method, share), []))) for share in shares)]
        for method in methods
    ]
    return markdown_table(["", *(f"{share:.4g}" for share in shares)], rows)


def _forms(lines):
    """Returns the forms of a layer that differ in bytes: (dtype of rows, bytes)."""
    sizes = lines[0].get("bytes", {})
    return list(
        {size: (dtype, size) for dtype, size in reversed(sizes.items())}.values()
    )[::-1]


def as_served(results):
    """The table of forms as served: bytes, AUC by segment, and cost."""
    rows = []
    for (method, share), lines in results.items():
        epochs = [len(line["validation"]) for line in lines]
        seconds = sum(line["cpu_seconds"] for line in lines) / sum(epochs)
        for dtype, size in _forms(lines):
            segments = [_cell(_aucs(lines, name, dtype)) for name in SEGMENTS]
            cost = [f"{seconds:.1f}", _settings(lines[0])]
            form = [f"{share:.4g}", dtype, f"{size / 1e6:.2f}"]
            rows.append([method, *form, *segments, *cost])
    header = ["method", "share", "rows", "MB", *SEGMENTS.values()]
    return markdown_table([*header, "CPU s an epoch", "settings"], rows)


def of_study(study, results, unchanged):
    """The table of a study: the layer as it is, and with one thing changed each.

    Args:
      study: Its name.
      results: Lines by (method, share).
      unchanged: Lines of `deep_hash` by share and settings: the table has those that
        have the settings of the changed layers, which need not be its best ones.
    """
    methods = ["deep_hash", *(f"deep_hash, {name}" for name in STUDIES[study])]
    changed = {key: lines for key, lines in results.items() if key[0] in methods[1:]}
    shares = sorted({share for _, share in changed}, reverse=True)
    rows = []
    for share, method in itertools.product(shares, methods):
        lines = results.get((method, share))
        if method == "deep_hash":
            settings = next(
                _settings_of(x[0]) for key, x in changed.items() if key[1] == share
            )
            lines = unchanged.get(share, {}).get(settings)
        if lines is None:
            continue
        epochs = sum(len(line["validation"]) for line in lines)
        seconds = sum(line["cpu_seconds"] for line in lines) / epochs
        size = sum(lines[0]["parameters"][name] for name in ("users", "items"))
        name = method.removeprefix("deep_hash, ")
        what = [name, f"{share:.4g}", f"{size:,}"]
        rows.append([*what, _cell(_aucs(lines)), str(len(lines)), f"{seconds:.1f}"])
    header = ["changed", "share", "parameters", "test AUC", "seeds", "CPU s an epoch"]
    return markdown_table(header, rows) if rows else None


def of_schedules(ways):
    """The table of methods that were trained with several schedules of the rate.

    Args:
      ways: By name of the schedule, lines by (method, share).
    """
    keys = collections.Counter(itertools.chain.from_iterable(ways.values()))
    rows = []
    for method, share in sorted(key for key, count in keys.items() if count > 1):
        row = [method, f"{share:.4g}"]
        for of_way in ways.values():
            lines = of_way.get((method, share))
            if lines is None:
                row += [""] * 3
                continue
            row += [f"{_validation(lines):.4f}", _cell(_aucs(lines)), str(len(lines))]
        rows.append(row)
    header = ["method", "share"]
    for name in ways:
        header += [f"{name}: validation", "test AUC", "seeds"]
    return markdown_table(header, rows) if rows else None


def of_training(results):
    """The table of methods that were also trained in another way.

    Args:
      results: Lines by (method, share, training).
    """
    changed = {key[:2] for key in results if key[2] != USUAL}
    rows = []
    for key in sorted(key for key in results if key[:2] in changed):
        lines = results[key]
        epochs = [len(line["validation"]) for line in lines]
        rows.append(
            [
                key[0],
                f"{key[1]:.4g}",
                key[2],
                *(_cell(_aucs(lines, name)) for name in SEGMENTS),
                str(len(lines)),
                f"{np.mean(epochs):.0f}",
                f"{sum(line['cpu_seconds'] for line in lines) / len(lines):.0f}",
            ]
        )
    header = ["method", "share", "training", *SEGMENTS.values()]
    return markdown_table([*header, "seeds", "epochs", "CPU s"], rows)


def distilled(results):
    """Returns the lines of what a table has taught, as those of other methods.

    Args:
      results: Lines by (method, share, training). Of several such trainings the best
        on the validation pairs counts.
    """
    found = {}
    for (method, share, _), lines in results.items():
        if not run_of(lines[0]).distilled:
            continue
        key = (f"{method}, taught by the table", share)
        if key not in found or _validation(found[key]) < _validation(lines):
            found[key] = lines
    return found


def _settings(line):
    run = run_of(line)
    parts = [f"rate {run.learning_rate:g}, decay {run.weight_decay:g}"]
    if run.schedule != Run.schedule:
        parts.append(run.schedule)
    if run.epochs > Run.epochs:
        parts.append(f"{run.epochs} epochs")
    if run.batch_size != Run.batch_size:
        parts.append(f"batches of {run.batch_size:,}")
    return ", ".join(parts)


def of_settings(found):
    """The table of all settings that were run, those that were not chosen as well.

    Args:
      found: As of `all_lines`.
    """
    rows = []
    for (data, model, method, share, training), by_settings in found.items():
        for lines in by_settings.values():
            validation = np.mean([max(line["validation"]) for line in lines])
            in_4_bits = all("int4" in line.get("rounded", {}) for line in lines)
            rows.append(
                [
                    f"{data}, {model.upper()}",
                    method,
                    f"{share:.4g}",
                    training,
                    _settings(lines[0]),
                    f"{validation:.4f}",
                    _cell(_aucs(lines)),
                    _cell(_aucs(lines, row_dtype="int4")) if in_4_bits else "",
                    str(len(lines)),
                ]
            )
    header = ["set", "method", "share", "training", "settings", "validation AUC"]
    return markdown_table([*header, "test AUC", "in 4 bits", "seeds"], sorted(rows))


def plot(points, axis, title, path):
    """Draws AUC against a size, a line for each name.

    Args:
      points: By name, a list of size and AUCs [n].
      axis: What the size is.
      title: Of the picture.
      path: Where to, without the ending.
    """
    figure, axes = plt.subplots(figsize=(8, 5))
    for number, (name, sizes) in enumerate(points.items()):
        ordered = sorted(sizes, key=lambda point: point[0])
        means = np.array([aucs.mean() for _, aucs in ordered])
        # The mean of equal numbers can be off by a rounding.
        low = np.maximum(means - [aucs.min() for _, aucs in ordered], 0)
        high = np.maximum([aucs.max() for _, aucs in ordered] - means, 0)
        axes.errorbar(
            [size for size, _ in ordered],
            means,
            yerr=[low, high],
            marker=MARKERS[number % len(MARKERS)],
            color=plt.get_cmap("tab20")(number % 20),
            label=name,
        )
    axes.set_xscale("log")
    axes.set_xlabel(axis)
    axes.set_ylabel("test AUC (mean, least and greatest of the seeds)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    save_picture(figure, path)
    plt.close(figure)


def _plots(results, title, path):
    parameters, sizes = collections.defaultdict(list), collections.defaultdict(list)
    for (method, _), lines in results.items():
        count = lines[0]["parameters"]
        point = (count["users"] + count["items"], _aucs(lines))
        parameters[method].append(point)
        for dtype, size in _forms(lines):
            sizes[method].append((size / 1e6, _aucs(lines, "all", dtype)))
    plot(parameters, "parameters of the embeddings", title, path)
    axis = "MB as served, dictionaries included (rows of 32, 8 and 4 bits)"
    plot(sizes, axis, title, f"{path}-bytes")


def _by_set(found):
    """Returns lines by data and model, then by (method, share, training)."""
    groups = collections.defaultdict(dict)
    for (data, model, *key), lines in found.items():
        groups[data, model][tuple(key)] = lines
    return groups


def _as_usual(by_training):
    """Returns lines of the usual training by (method, share)."""
    return {key[:2]: x for key, x in by_training.items() if key[2] == USUAL}


def main():
    """Writes tables and pictures beside the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    every = all_lines(args.results)
    groups = _by_set(best_lines(every))
    ways = {
        name: _by_set(best_lines(of_schedule(every, *schedule)))
        for name, schedule in SCHEDULES.items()
    }
    sections = [f"# Tables of the study of quality\n\n{NOTE}"]
    for (data, model), by_training in groups.items():
        found = _as_usual(by_training)
        results = {key: x for key, x in found.items() if key[0] not in VARIANTS}
        seeds = sorted({len(lines) for lines in results.values()})
        title = f"{data}, {model.upper()}"
        sections += [
            f"## {title}",
            "Test AUC by share of the full table's parameters, mean ± standard "
            f"deviation of {' or '.join(map(str, seeds))} seeds.",
            by_share(results),
            "As served:",
            as_served(results),
        ]
        if len(results) < len(found):
            sections.append("One thing of `deep_hash` changed:")
            unchanged = {
                key[3]: by_settings
                for key, by_settings in every.items()
                if key[:3] == (data, model, "deep_hash") and key[4] == USUAL
            }
            steady = _as_usual(ways["one rate"][data, model])
            tables = (of_study(study, steady, unchanged) for study in STUDIES)
            sections += filter(None, tables)
        schedules = of_schedules(
            {name: _as_usual(of_way[data, model]) for name, of_way in ways.items()}
        )
        if schedules:
            sections += ["The rate's schedule, each with its best settings:", schedules]
        if len(found) < len(by_training):
            sections += ["Another training:", of_training(by_training)]
        # Rows that are left out more or less often are level in these pictures.
        plotted = {key: x for key, x in results.items() if "row_dropout" not in key[0]}
        plotted |= distilled(by_training)
        _plots(plotted, title, args.results.parent / f"{data}-{model}")
    streamed = args.results.parent / "stream.jsonl"
    if streamed.exists():
        sections += ["## Training on", stream_table.table(streamed)]
    costs = args.results.parent / "cost.json"
    if costs.exists():
        sections += ["## Cost", *cost_table.tables(costs)]
    (args.results.parent / "tables.md").write_text("\n\n".join(sections) + "\n")
    tried = ["# All settings that were run", "Means of the seeds.", of_settings(every)]
    (args.results.parent / "tried.md").write_text("\n\n".join(tried) + "\n")


if __name__ == "__main__":
    main()
