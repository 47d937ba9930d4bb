"""Describes the ids and classes of public data sets; writes a page with pictures.

    python benchmarks/analysis/distributions.py --data ../shared/data \
        --output docs/analysis/distributions

The folder has the data sets by the names in `SETS`, as they are published.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrs_dhe import analysis
from tfrs_dhe.analysis import _text

EMBEDDING_DIM = 64


@dataclass(frozen=True)
class Ids:
    """Ids in the columns of a file; see `analysis.read_ids`."""

    data_set: str
    name: str
    files: tuple[str, ...]
    columns: str
    arguments: dict[str, Any]

    @property
    def slug(self) -> str:
        """Name of the picture."""
        return f"{self.data_set}_{self.name}".replace(" ", "_")


def both(data_set: str, file: str, **arguments: Any) -> list[Ids]:
    """Returns users and items of a file with a line for each rating."""
    return [
        Ids(data_set, name, (file,), column, arguments)
        for name, column in (("users", "0"), ("items", "1"))
    ]


def labels(data_set: str, prefix: str, name: str = "labels") -> Ids:
    """Returns the labels of a data set of the Extreme Classification Repository."""
    files = (f"{prefix}_train.txt", f"{prefix}_test.txt")
    arguments = {"separator": " ", "within": ",", "skip_lines": 1}
    return Ids(data_set, name, files, "0", arguments)


SETS = [
    *both("ml-1m", "ratings.tsv"),
    *both("movietweetings-100k", "ratings.dat", separator="::"),
    Ids("gowalla", "items", ("train.txt", "test.txt"), "1:", {}),
    *both("amazon-book", "interactions.tsv"),
    *both("ciao", "ratings.tsv"),
    Ids("sessions-nowplaying", "items", ("train_sessions.txt",), ":", {}),
    labels("xc-bibtex", "bibtex"),
    labels("xc-delicious", "delicious"),
    labels("xc-wordnet", "direct", "direct labels"),
    labels("xc-wordnet", "ancestors", "labels with ancestors"),
]

HEADER = [
    "set", "occurrences", "ids", "Zipf exponent", "gap", "top 10", "top 1,000",
    "heavy hitters", "once", "next is new", "new with 10% more",
]  # fmt: skip
SIZE_HEADER = [
    "set", "R", "B", "times smaller", "signal / noise", "standing out",
    "network, parameters", "rows for 90%", "of the ids",
]  # fmt: skip


def describe(data: Path, ids: Ids) -> analysis.Distribution:
    """Returns the distribution of all files, read one after the other."""
    sketch = analysis.IdSketch()
    for file in ids.files:
        sketch.update(
            analysis.read_ids(data / ids.data_set / file, ids.columns, **ids.arguments)
        )
    return analysis.describe_ids(sketch)


def row_of(ids: Ids, found: analysis.Distribution) -> list[str]:
    """Returns the line of a distribution in the table."""
    new, error = found.expected_new_ids(0.1)
    return [
        f"{ids.data_set}, {ids.name}",
        f"{found.num_occurrences:,}",
        f"{found.num_ids:,.0f}"
        + ("" if found.is_exact else f" ± {found.num_ids_error:,.0f}"),
        f"{found.zipf.exponent:.2f}",
        f"{found.zipf.gap:.1%}",
        f"{found.head_coverage(10):.1%}",
        f"{found.head_coverage(1000):.1%}",
        f"{found.num_heavy_hitters():,}",
        f"{found.singleton_share:.1%}",
        f"{found.new_id_probability:.2%}",
        f"{round(new):,} ± {error:,.0f}",
    ]


def size_row_of(ids: Ids, sizes: analysis.Sizing) -> list[str]:
    """Returns the line of what a distribution means for sizes."""
    plan, network = sizes.plan, sizes.network
    mach = ["no plan", "", "", "", ""]
    if plan is not None:
        mach = [
            f"{plan.num_repetitions}",
            f"{plan.num_buckets:,}",
            _text.number(plan.times_smaller),
            f"{plan.snr:.2f}",
            f"{sizes.num_standing_out:,}",
        ]
    return [
        f"{ids.data_set}, {ids.name}",
        *mach,
        "none" if network is None else f"{network.parameters:,}",
        f"{sizes.num_rows:,}",
        f"{sizes.num_rows / sizes.distribution.num_ids:.1%}",
    ]


def pages(data: Path, output: Path) -> Iterator[tuple[list[str], list[str], str]]:
    """Yields both lines and the section of every set, and draws its picture."""
    for ids in SETS:
        found = describe(data, ids)
        found.plot(output / ids.slug, title=f"{ids.data_set}, {ids.name}")
        sizes = analysis.size_models(found, EMBEDDING_DIM)
        print(f"{ids.data_set}, {ids.name}\n{found}\n")
        section = f"## {ids.data_set}, {ids.name}\n\n![{ids.slug}]({ids.slug}.png)\n"
        yield row_of(ids, found), size_row_of(ids, sizes), section


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    rows, size_rows, sections = zip(*pages(args.data, args.output), strict=True)
    text = [
        "# Distributions of public data sets",
        "",
        "Made by `python benchmarks/analysis/distributions.py --data ../shared/data "
        "--output docs/analysis/distributions`; what the columns mean is in "
        "[Distributions of ids](../distributions.md).",
        "",
        _text.markdown(HEADER, rows),
        "",
        "What they mean for the sizes of models: MACH's head at a quarter of the full "
        f"softmax, embeddings of {EMBEDDING_DIM} numbers, a deep hash embedding at a "
        "quarter of the table, and rows to materialize.",
        "",
        _text.markdown(SIZE_HEADER, size_rows),
        "",
        *sections,
    ]
    (args.output / "README.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
