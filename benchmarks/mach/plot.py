"""Makes the tables and the pictures of the MACH benchmarks from their results.

Run `python benchmarks/mach/plot.py` after `sessions.py`, `co_occurrence.py`, `xc.py`,
`planned.py` and `decode.py`. It writes `results/tables.md`, and pictures beside it.
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import xc_tables
from xc_methods import SETS

from tfrs_dhe.analysis._plots import save as save_picture

RESULTS = Path(__file__).parent / "results"
SOFTMAX = "full"
SOFTMAX_TIED = "full_tied"
# Label, marker and colour of what belongs to one line of the picture.
FAMILIES = {
    "full": ("softmax over all classes", "*", "black"),
    "sampled_full": ("sampled softmax, a row for each", "<", "tab:pink"),
    "full_tied": ("softmax over all, on the tower's rows", "*", "tab:red"),
    "in_batch_full": ("a row for each, in-batch", "v", "tab:purple"),
    "in_batch_tied": ("the tower's rows, in-batch", "P", "tab:olive"),
    "in_batch_narrow": ("narrow rows, in-batch", "s", "tab:gray"),
    "in_batch_mach": ("hashed rows, in-batch", "o", "tab:blue"),
    "tied_mach": ("tower's rows + hashed rows, in-batch", "o", "tab:red"),
    "one_mach": ("one hashed table for tower and head", "o", "tab:green"),
    "paper": ("softmax per repetition (the paper)", "^", "tab:orange"),
}


def lines(name):
    """Returns the result lines of one benchmark."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_head(rows):
    """Returns the lines of each head's seeds, by its name."""
    found = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row)
    return found


def recalls_of(seeds):
    """Returns the recall of every seed of a head."""
    return [row["test"]["recall"] for row in seeds]


def sessions_table(rows):
    """The Markdown table of the session benchmark."""
    heads = by_head(rows)
    text = [
        "| head | loss | R x B | head parameters | learning rate | dropout | epochs "
        "| seeds | CPU s | recall@20 | of softmax | of tied softmax | MRR@20 "
        "| frequent items | other items |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    references = [heads.get(name) for name in (SOFTMAX, SOFTMAX_TIED)]
    for name, seeds in heads.items():
        row = seeds[0]
        forms = [key for key, value in row["test"].items() if isinstance(value, dict)]
        for form in (None, *forms):
            tests = [line["test"][form] if form else line["test"] for line in seeds]
            recall, mrr, frequent, others = (
                [test[key] for test in tests]
                for key in ("recall", "mrr", "recall_frequent", "recall_rare")
            )
            shares = [
                f"{100 * np.mean(recall) / np.mean(recalls_of(reference)):.1f} %"
                if reference
                else ""
                for reference in references
            ]
            size = (
                f"{row['num_repetitions']} x {row['num_buckets']:,}"
                if row.get("num_repetitions")
                else ""
            )
            cells = [
                f"{name}, {form}" if form else name,
                row.get("loss", ""),
                size,
                f"{row['head_parameters']:,}",
                str(row.get("learning_rate", "")),
                str(row.get("dropout", "")),
                str(row.get("epochs", "")),
                str(len(seeds)) if "seed" in row else "",
                f"{np.mean([line['cpu_seconds'] for line in seeds]):,.0f}",
                mean_of(recall, 4),
                *shares,
                mean_of(mrr, 4),
                mean_of(frequent, 3),
                mean_of(others, 3),
            ]
            text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)


def mean_of(values, digits):
    """Mean of the seeds' values, with their standard deviation where there are more."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return xc_tables.spread(values, digits)


def validation_table(rows):
    """The table of the mean recall on validation sessions after each epoch."""
    heads = by_head(row for row in rows if "validation" in row)
    num_epochs = max(len(seeds[0]["validation"]) for seeds in heads.values())
    text = [
        "| head | " + " | ".join(str(epoch + 1) for epoch in range(num_epochs)) + " |",
        "|---|" + "--:|" * num_epochs,
    ]
    for name, seeds in heads.items():
        found = [[epoch["recall"] for epoch in row["validation"]] for row in seeds]
        recalls = [f"{recall:.4f}" for recall in np.mean(found, axis=0)]
        recalls += [""] * (num_epochs - len(recalls))
        text.append("| " + " | ".join([name, *recalls]) + " |")
    return "\n".join(text)


def tuning_table(rows):
    """The Markdown table of what tuning tried."""
    text = [
        "| head | learning rate | dropout | validation recall@20 | CPU s |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [
            row["name"],
            str(row["learning_rate"]),
            str(row["dropout"]),
            f"{row['validation']:.4f}",
            f"{row['cpu_seconds']:,.0f}",
        ]
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)


def plot_sessions(rows):
    """Recall against the size of the head."""
    # Without runs of other settings than those of their method.
    heads = by_head(row for row in rows if " " not in row["name"])
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for family, (label, marker, colour) in FAMILIES.items():
        of_family = [
            seeds
            for name, seeds in heads.items()
            if name == family or name.startswith(family + "_")
        ]
        if family == SOFTMAX:
            of_family = [heads[SOFTMAX]] if SOFTMAX in heads else []
        if not of_family:
            continue
        of_family.sort(key=lambda seeds: seeds[0]["head_parameters"])
        recalls = [recalls_of(seeds) for seeds in of_family]
        axes.errorbar(
            [seeds[0]["head_parameters"] for seeds in of_family],
            [np.mean(values) for values in recalls],
            [xc_tables.deviation(values) for values in recalls],
            marker=marker,
            color=colour,
            label=label,
            linestyle="" if family == "paper" else "-",
            markersize=12 if marker == "*" else 6,
        )
    if "co_occurrence" in heads:
        axes.axhline(
            np.mean(recalls_of(heads["co_occurrence"])),
            color="tab:gray",
            linestyle=":",
            label="counts of co-occurrence",
        )
    for name in (SOFTMAX, SOFTMAX_TIED):
        if name in heads:
            axes.axhline(
                0.95 * np.mean(recalls_of(heads[name])),
                color=FAMILIES[name][2],
                linestyle="--",
                linewidth=0.8,
                label=f"95 % of {FAMILIES[name][0]}",
            )
    axes.set_xscale("log")
    axes.set_xlabel("parameters of the head")
    axes.set_ylabel("recall@20")
    axes.legend(fontsize=7)
    axes.set_title("Next item among 60,416, the same tower")
    figure.tight_layout()
    save_picture(figure, RESULTS / "sessions")


def main():
    """Writes the table and the pictures."""
    sessions = lines("sessions")
    sections = ["## Next items in sessions", sessions_table(sessions)]
    sections += ["## Recall on the validation sessions by epoch"]
    sections += [validation_table(sessions)]
    found = sorted(
        lines("tuning"),
        key=lambda row: (row["name"], row["learning_rate"], row["dropout"]),
    )
    title = "## Tuning, on the latest third of the sessions, 3 epochs"
    sections += [title, tuning_table(found)]
    labels = sorted(lines("xc"), key=lambda line: list(SETS).index(line["set"]))
    sections += xc_tables.xc_sections(labels, lines("xc_tuning"))
    xc_tables.plot_xc(labels, RESULTS / "xc.png")
    if (RESULTS / "planned.json").exists():
        planned = json.loads((RESULTS / "planned.json").read_text())
        sections += xc_tables.planned_sections(planned, labels)
        xc_tables.plot_planned(planned, RESULTS / "planned.png")
    decode = json.loads((RESULTS / "decode.json").read_text())
    sections += ["## Memory and decoding", xc_tables.decode_table(decode)]
    (RESULTS / "tables.md").write_text("\n\n".join(sections) + "\n")
    plot_sessions(sessions)


if __name__ == "__main__":
    main()
