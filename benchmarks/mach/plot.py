"""Makes the tables and the pictures of the MACH benchmarks from their results.

Run `python benchmarks/mach/plot.py` after `sessions.py`, `co_occurrence.py`, `xc.py`,
`planned.py` and `decode.py`. It writes `results/tables.md`, and pictures beside it.
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
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


def sessions_table(rows):
    """The Markdown table of the session benchmark."""
    by_name = {row["name"]: row for row in rows}
    text = [
        "| head | loss | R x B | head parameters | learning rate | dropout | epochs "
        "| CPU s | recall@20 | of softmax | of tied softmax | MRR@20 | frequent items "
        "| other items |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    references = [by_name.get(name) for name in (SOFTMAX, SOFTMAX_TIED)]
    for row in rows:
        forms = {"": row["test"]}
        forms |= {
            f", {name}": value
            for name, value in row["test"].items()
            if isinstance(value, dict)
        }
        for form, result in forms.items():
            shares = [
                f"{100 * result['recall'] / reference['test']['recall']:.1f} %"
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
                row["name"] + form,
                row.get("loss", ""),
                size,
                f"{row['head_parameters']:,}",
                str(row.get("learning_rate", "")),
                str(row.get("dropout", "")),
                str(row.get("epochs", "")),
                f"{row['cpu_seconds']:,.0f}",
                f"{result['recall']:.4f}",
                *shares,
                f"{result['mrr']:.4f}",
                f"{result['recall_frequent']:.3f}",
                f"{result['recall_rare']:.3f}",
            ]
            text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)


def validation_table(rows):
    """The Markdown table of the recall on validation sessions after each epoch."""
    rows = [row for row in rows if "validation" in row]
    num_epochs = max(len(row["validation"]) for row in rows)
    text = [
        "| head | " + " | ".join(str(epoch + 1) for epoch in range(num_epochs)) + " |",
        "|---|" + "--:|" * num_epochs,
    ]
    for row in rows:
        recalls = [f"{epoch['recall']:.4f}" for epoch in row["validation"]]
        recalls += [""] * (num_epochs - len(recalls))
        text.append("| " + " | ".join([row["name"], *recalls]) + " |")
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
    rows = [row for row in rows if " " not in row["name"]]
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for family, (label, marker, colour) in FAMILIES.items():
        of_family = [
            row
            for row in rows
            if row["name"] == family or row["name"].startswith(family + "_")
        ]
        if family == SOFTMAX:
            of_family = [row for row in of_family if row["name"] == SOFTMAX]
        if not of_family:
            continue
        of_family.sort(key=lambda row: row["head_parameters"])
        axes.plot(
            [row["head_parameters"] for row in of_family],
            [row["test"]["recall"] for row in of_family],
            marker=marker,
            color=colour,
            label=label,
            linestyle="" if family == "paper" else "-",
            markersize=12 if marker == "*" else 6,
        )
    by_name = {row["name"]: row for row in rows}
    if "co_occurrence" in by_name:
        axes.axhline(
            by_name["co_occurrence"]["test"]["recall"],
            color="tab:gray",
            linestyle=":",
            label="counts of co-occurrence",
        )
    for name in (SOFTMAX, SOFTMAX_TIED):
        if name in by_name:
            axes.axhline(
                0.95 * by_name[name]["test"]["recall"],
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
