"""Tables and pictures of sets with labels, of decoding and of the planner."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import ticker
from xc_methods import MACH

from tfrs_dhe import mach

ROUNDED = {"int8": 8, "int4": 4}
#: Aggregations that the planner's figures are compared by.
FORMS = ("unbiased_mean", "min", "mean_log_probability")
#: What a head is called, its marker and its colour.
STYLES = {
    "full": ("a row each: softmax, or one-vs-all", "*", "black"),
    "full, int8": ("the same in 8 bits", "P", "dimgray"),
    "full, int4": ("the same in 4 bits", "X", "darkgray"),
    "narrow": ("narrow rows", "s", "tab:gray"),
    "in_batch": ("a row each, in-batch", "v", "tab:purple"),
    "sampled": ("a row each, sampled softmax", "<", "tab:pink"),
    "joint": ("MACH, joint loss", "o", "tab:blue"),
    MACH: ("MACH, as in the paper", "^", "tab:orange"),
    "balanced": ("MACH, balanced buckets", "^", "tab:olive"),
}


def table(head, rows):
    """A Markdown table; columns after the first are to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def deviation(values):
    """Standard deviation of the seeds' values, 0 for one seed."""
    return np.std(values, ddof=1) if len(values) > 1 else 0.0


def spread(values, digits=2):
    """Mean and standard deviation of the seeds' values."""
    return f"{np.mean(values):.{digits}f} ± {deviation(values):.{digits}f}"


def served_bytes(line, form):
    """Bytes of a head as served: its weights, and what finds a class's buckets."""
    num_labels, dim = line["num_labels"], line["row_dim"]
    if form in ROUNDED:
        # A scale and a bias for each row.
        return num_labels * (-(-dim * ROUNDED[form] // 8) + 8)
    size = 4 * line["head_parameters"]
    if line["shape"] is not None:
        num_repetitions, num_buckets = line["shape"]
        size += num_labels * num_repetitions * mach.bucket_dtype(num_buckets).size
    return size


def forms(line):
    """Yields the names of a line's rows in a table, and their forms."""
    yield line["method"], line["form"]
    for form in line["test"][0]:
        if form in ROUNDED:
            yield f"{line['method']}, {form}", form


def logarithmic(axis):
    """Scales an x axis, with plain numbers at 1, 2 and 5."""
    axis.axes.set_xscale("log")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def set_table(rows):
    """The heads of a set."""
    full = next((line for line in rows if line["method"] == "full"), None)
    cells = []
    for line in rows:
        for name, form in forms(line):
            tests = [test[form] for test in line["test"]]
            precision = np.array([test["precision"] for test in tests])
            smaller = ""
            if full is not None:
                size = full["head_parameters"] / line["head_parameters"]
                smaller = f"{size:.1f}"
            seconds = np.mean(line["cpu_seconds"]) / line["epochs"]
            cells.append(
                [
                    name,
                    f"{line['head_parameters']:,}",
                    smaller,
                    f"{served_bytes(line, form) / 1e3:,.0f}",
                    *(spread(precision[:, place]) for place in range(3)),
                    *(
                        spread([test[kind] for test in tests], 1)
                        for kind in ("frequent", "other")
                    ),
                    form if line["method"].startswith(MACH) else "",
                    str(line["learning_rate"]),
                    str(line["dropout"]),
                    str(line["epochs"]),
                    f"{seconds:.2f}",
                ]
            )
    return table(
        [
            *("head", "parameters", "times smaller", "kB served"),
            *("P@1", "P@3", "P@5", "frequent labels", "other labels"),
            *("aggregation", "rate", "dropout", "epochs", "CPU s an epoch"),
        ],
        cells,
    )


def aggregation_table(rows):
    """P@1 and P@5 of MACH's heads by every aggregation."""
    cells = []
    for line in rows:
        if line["method"].startswith(MACH):
            values = []
            for form in mach.AGGREGATIONS:
                found = [test[form]["precision"] for test in line["test"]]
                first, _, fifth = np.mean(found, axis=0)
                values.append(f"{first:.1f} / {fifth:.1f}")
            cells.append([line["set"], line["method"], *values])
    return table(["set", "head", *mach.AGGREGATIONS], cells)


def _is_planned(line):
    """Whether a line is of a head of MACH with the hashes that the planner is about."""
    return line["method"].startswith(MACH) and not line["balanced"]


def collision_table(rows):
    """Trained heads of MACH beside what the planner says of them."""
    full = {
        line["set"]: np.mean(
            [test["float32"]["precision"] for test in line["test"]], axis=0
        )
        for line in rows
        if line["method"] == "full"
    }
    cells = []
    for line in rows:
        if _is_planned(line) and line["set"] in full:
            num_repetitions, num_buckets = line["shape"]
            plan = mach.plan(
                line["num_labels"],
                line["row_dim"],
                num_buckets=num_buckets,
                num_repetitions=num_repetitions,
            )
            found = [test[line["form"]]["precision"] for test in line["test"]]
            first, _, fifth = np.mean(found, axis=0) / full[line["set"]]
            cells.append(
                [
                    line["set"],
                    f"{num_repetitions} x {num_buckets:,}",
                    f"{plan.times_smaller:.1f}",
                    f"{plan.expected_indistinguishable_pairs:.2g}",
                    f"{plan.expected_classes_with_twin:.2g}",
                    f"{100 * first:.1f} %",
                    f"{100 * fifth:.1f} %",
                ]
            )
    return table(
        [
            *("set", "R x B", "times smaller", "planned pairs", "planned with twin"),
            *("P@1 of the full head's", "P@5"),
        ],
        cells,
    )


def tuning_table(rows):
    """What was tried."""
    rows = sorted(
        rows,
        key=lambda r: (r["set"], r["family"], r["learning_rate"], r["dropout"]),
    )
    return table(
        ["set", "head", "rate", "dropout", "epochs", "validation P@1", "CPU s"],
        [
            [
                row["set"],
                row["family"],
                str(row["learning_rate"]),
                str(row["dropout"]),
                str(row["epochs"]),
                f"{row['validation']:.2f}",
                f"{row['cpu_seconds']:.0f}",
            ]
            for row in rows
        ],
    )


def xc_sections(rows, tries):
    """All of it, as parts of a Markdown file."""
    sections = []
    for name in dict.fromkeys(row["set"] for row in rows):
        of_set = [row for row in rows if row["set"] == name]
        sections += [f"## {name}", set_table(of_set)]
    sections += ["## Aggregations: P@1 / P@5", aggregation_table(rows)]
    sections += ["## Trained heads and the planner", collision_table(rows)]
    return [*sections, "## Tuning on labels", tuning_table(tries)]


def plot_xc(rows, path):
    """P@1 against bytes as served, a panel for each set."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    figure, panels = plt.subplots(
        1, len(names), figsize=(4.6 * len(names), 4.2), squeeze=False
    )
    for axes, name in zip(panels[0], names, strict=True):
        for line in rows:
            if line["set"] != name:
                continue
            for label, form in forms(line):
                style = MACH if label.startswith(MACH) else label
                if line["balanced"]:
                    style = "balanced"
                words, marker, colour = STYLES[style]
                values = [test[form]["precision"][0] for test in line["test"]]
                axes.errorbar(
                    served_bytes(line, form) / 1e3,
                    np.mean(values),
                    deviation(values),
                    marker=marker,
                    color=colour,
                    linestyle="",
                    capsize=2,
                    label=words,
                )
                # Balanced buckets are beside others of the same shape.
                if line["method"].startswith(MACH) and not line["balanced"]:
                    axes.annotate(
                        "{}x{}".format(*line["shape"]),
                        (served_bytes(line, form) / 1e3, np.mean(values)),
                        xytext=(4, -9),
                        textcoords="offset points",
                        fontsize=7,
                    )
        logarithmic(axes.xaxis)
        axes.set_xlabel("kB of the head as served")
        axes.set_title(name)
    panels[0, 0].set_ylabel("P@1, percent")
    found = {}
    for axes in panels[0]:
        handles, words = axes.get_legend_handles_labels()
        found |= dict(zip(words, handles, strict=True))
    figure.legend(found.values(), found.keys(), loc="lower center", ncol=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, dpi=120)


def decode_table(figures):
    """Bytes and times to decode."""
    return table(
        ["set", "head", "kB served", "ms, one query", "ms, 256 queries"],
        [
            [
                line["set"],
                line["head"],
                f"{line['bytes'] / 1e3:,.0f}",
                f"{line['milliseconds']['1']:.3f}",
                f"{line['milliseconds']['256']:.2f}",
            ]
            for line in figures["lines"]
        ],
    )


def planned_sections(figures, rows):
    """The planner's figures beside what was counted."""
    pairs = table(
        ["K", "R x B", "planned pairs", "counted pairs", "standard error"],
        [
            [
                f"{row['num_classes']:,}",
                "{} x {:,}".format(*row["shape"]),
                f"{row['planned']:.1f}",
                f"{np.mean(row['counted']):.1f}",
                f"{np.std(row['counted'], ddof=1) / len(row['counted']) ** 0.5:.1f}",
            ]
            for row in figures["pairs"]
        ],
    )
    trained = trained_precision(rows)
    cells = []
    for row in figures["errors"]:
        shape = tuple(row["shape"])
        measured = trained.get(shape)
        cells.append(
            [
                "{} x {:,}".format(*shape),
                f"{row['planned_error']:.4f}",
                spread(row["error"], 4),
                f"{100 * np.mean(row['planned_changes']):.1f}",
                *(f"{100 * np.mean(row['changes'][form]):.1f}" for form in FORMS),
                *(f"{100 * np.mean(row['precision'][form]):.1f}" for form in FORMS),
                "" if measured is None else spread(measured, 1),
            ]
        )
    errors = table(
        [
            *("R x B", "planned error", "error"),
            "first class changed, %: planned",
            *FORMS,
            *(f"P@1, exact buckets: {form}" for form in FORMS),
            "P@1, trained",
        ],
        cells,
    )
    note = (
        f"{figures['examples']} test examples of xc-wordnet; P@1 of the softmax on "
        f"them: {100 * figures['precision']:.1f}. The trained heads are those of the "
        "table above, on all test examples."
    )
    return [
        *("## Pairs of classes that share all buckets", pairs),
        *("## Errors by hashing alone", note, errors),
    ]


def trained_precision(rows):
    """P@1 of MACH's heads on xc-wordnet, {shape: values of the seeds}."""
    return {
        tuple(line["shape"]): [
            test[line["form"]]["precision"][0] for test in line["test"]
        ]
        for line in rows
        if line["set"] == "xc-wordnet" and _is_planned(line)
    }


def plot_planned(figures, path):
    """Errors against the planner's, and how often they change the first class."""
    figure, (left, middle) = plt.subplots(1, 2, figsize=(9.5, 4.2))
    errors = figures["errors"]
    markers = dict(zip((2, 4, 8), "os^", strict=True))
    for num_repetitions, marker in markers.items():
        of = [row for row in errors if row["shape"][0] == num_repetitions]
        for row in of:
            left.errorbar(
                row["planned_error"],
                np.mean(row["error"]),
                deviation(row["error"]),
                marker=marker,
                color="tab:blue",
                capsize=2,
                label=f"R = {num_repetitions}" if row is of[0] else None,
            )
    planned = [row["planned_error"] for row in errors]
    ends = [min(planned), max(planned)]
    left.plot(ends, ends, color="black", linewidth=0.8, label="as planned")
    left.set(
        yscale="log",
        xlabel="planned standard deviation",
        ylabel="measured error of the likeliest class",
        title="Error of the unbiased mean",
    )
    logarithmic(left.xaxis)
    left.legend(fontsize=8)
    colours = dict(zip(FORMS, ("tab:orange", "tab:green", "tab:blue"), strict=True))
    of = [row for row in errors if row["shape"][0] == 4]
    outputs = [np.prod(row["shape"]) for row in of]
    middle.plot(
        outputs,
        [100 * np.mean(row["planned_changes"]) for row in of],
        "k--",
        label="normal noise of the planned size",
    )
    for form, colour in colours.items():
        middle.plot(
            outputs,
            [100 * np.mean(row["changes"][form]) for row in of],
            marker="s",
            color=colour,
            label=form,
        )
    middle.set(
        xlabel="R B, with R = 4",
        ylabel="examples, percent",
        title="First class is another",
    )
    logarithmic(middle.xaxis)
    middle.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
