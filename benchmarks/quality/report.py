"""Makes tables and pictures of the study's result lines.

Run `python benchmarks/quality/report.py` after `run.py`. For every set and model it
writes a table of the test AUC, method by share of the full table's parameters, to
`tables.md` beside the results, and a picture of AUC against parameters as PNG and SVG.
Where a combination was run with several settings, the best on the validation pairs
counts; its seeds give mean and spread.
"""

import argparse
import collections
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from run import RESULTS

SETTINGS = ("epochs", "batch_size", "learning_rate", "weight_decay")


def best_lines(path):
    """Returns the lines of the best settings by (data, model, method, share).

    Settings are compared by the least seed, with which all have been run.
    """
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in map(json.loads, path.read_text().splitlines()):
        key = tuple(line[name] for name in ("data", "model", "method", "share"))
        found[key][tuple(line[name] for name in SETTINGS)].append(line)
    return {
        key: max(by_settings.values(), key=_validation)
        for key, by_settings in found.items()
    }


def _validation(lines):
    return max(min(lines, key=lambda line: line["seed"])["validation"])


def _test(lines, segment="all"):
    return np.array([line["test"][segment]["auc"] for line in lines])


def table(results):
    """The Markdown table of one set and model."""
    shares = sorted({share for _, share in results}, reverse=True)
    methods = list(dict.fromkeys(method for method, _ in results))
    text = [
        "| | " + " | ".join(f"{share:.4g}" for share in shares) + " |",
        "|---|" + "--:|" * len(shares),
    ]
    for method in methods:
        cells = [method]
        for share in shares:
            lines = results.get((method, share))
            cell = ""
            if lines:
                auc = _test(lines)
                cell = f"{auc.mean():.4f}"
                if len(auc) > 1:
                    cell += f" ± {auc.std(ddof=1):.4f}"
            cells.append(cell)
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)


def plot(results, title, path):
    """Draws AUC against parameters, a line for each method."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    by_method = collections.defaultdict(list)
    for (method, _), lines in results.items():
        sizes = lines[0]["parameters"]
        auc = _test(lines)
        by_method[method].append(
            (sizes["users"] + sizes["items"], auc.mean(), auc.min(), auc.max())
        )
    for method, points in by_method.items():
        size, mean, low, high = np.array(sorted(points)).T
        axes.errorbar(
            size, mean, yerr=[mean - low, high - mean], marker="o", label=method
        )
    axes.set_xscale("log")
    axes.set_xlabel("parameters of the embeddings")
    axes.set_ylabel("AUC on the test pairs (mean, least and greatest of the seeds)")
    axes.set_title(title)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(f"{path}.png", dpi=120)
    # Without the date, so that equal figures give an equal file.
    figure.savefig(f"{path}.svg", metadata={"Date": None})
    plt.close(figure)


def main():
    """Writes tables and pictures beside the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    groups = collections.defaultdict(dict)
    for (data, model, method, share), lines in best_lines(args.results).items():
        groups[data, model][method, share] = lines
    sections = []
    for (data, model), results in groups.items():
        seeds = sorted({len(lines) for lines in results.values()})
        title = f"{data}, {model.upper()}"
        sections += [
            f"## {title}",
            "Test AUC by share of the full table's parameters, mean ± standard "
            f"deviation of {' or '.join(map(str, seeds))} seeds.",
            table(results),
        ]
        plot(results, title, args.results.parent / f"{data}-{model}")
    (args.results.parent / "tables.md").write_text("\n\n".join(sections) + "\n")


if __name__ == "__main__":
    main()
