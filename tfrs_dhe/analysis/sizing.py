"""`size_models`: what a distribution of ids means for MACH and for embeddings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrs_dhe import mach
from tfrs_dhe.analysis import _plots
from tfrs_dhe.analysis.distribution import Distribution
from tfrs_dhe.layers import _arguments, _materialization_report
from tfrs_dhe.layers._materialization_report import MaterializationReport
from tfrs_dhe.layers._parameter_budget import NetworkShape

#: Standard deviations that a class has to stand above the noise of MACH's estimate.
_STANDS_OUT = 2.0


@dataclass(frozen=True)
class NetworkSize:
    """A deep hash embedding of a share of the table it replaces.

    Attributes:
      parameters: The number that the network has.
      table_parameters: The number that the table has, n d.
      num_hashes: k.
      hidden_dims: Widths of the hidden layers, h of them.
    """

    parameters: int
    table_parameters: int
    num_hashes: int
    hidden_dims: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Sizing(_plots.Plotted):
    """What `size_models` returns; `print` shows it.

    `plot` draws the traffic that rows serve against their memory.

    Attributes:
      distribution: Of which ids.
      embedding_dim: d.
      plan: MACH for these classes and their frequencies, None where no plan fits.
      plan_problem: Why none fits, "" otherwise.
      num_standing_out: How many classes have a frequency of at least two standard
        deviations of the noise of the plan's estimate: those a model that knows
        nothing of its input would tell from the others.
      network: The deep hash embedding, None where none fits the budget.
      network_problem: Why none fits, "" otherwise.
      rows: What rows for the most frequent ids serve and cost.
      num_rows: How many rows are worth it: the fewest that serve `coverage`.
      coverage: The share of occurrences that rows should serve.
    """

    distribution: Distribution = field(repr=False)
    embedding_dim: int
    plan: mach.Plan | None
    plan_problem: str
    num_standing_out: int
    network: NetworkSize | None
    network_problem: str
    rows: MaterializationReport
    num_rows: int
    coverage: float

    def __str__(self) -> str:
        return "\n\n".join([self._mach(), self._network(), self._rows()])

    def _mach(self) -> str:
        if self.plan is None:
            return f"As classes of MACH: {self.plan_problem}"
        return (
            f"As classes:\n{self.plan}\n"
            f"  {self.num_standing_out:,} classes stand out by their frequency alone: "
            f"{_STANDS_OUT:g} standard deviations of the noise or more. What the input "
            "says of a class comes on top."
        )

    def _network(self) -> str:
        if self.network is None:
            return f"As inputs, deep hash embedding: {self.network_problem}"
        size = self.network
        widths = " -> ".join(f"{width:,}" for width in size.hidden_dims)
        share = size.parameters / size.table_parameters
        return (
            f"As inputs, deep hash embedding: {size.parameters:,} parameters, "
            f"{share:.2f} of a table's {size.table_parameters:,}:\n"
            f"  k = {size.num_hashes:,} hashes -> {widths} -> {self.embedding_dim:,}"
        )

    def _rows(self) -> str:
        share = self.num_rows / max(self.distribution.num_ids, 1)
        return (
            f"Rows worth materializing: {self.num_rows:,} ({share:.1%} of the ids) "
            f"serve {self.coverage:.0%} of the traffic.\n{self.rows}"
        )

    def _draw(self, title: str | None) -> Any:
        """Draws the traffic that rows serve against their memory."""
        title = title or "Rows and the traffic they serve"
        figure = _plots.new_figure()
        axes = figure.subplots()
        most = self.rows.num_ids
        numbers = np.unique(np.geomspace(1, most, 100).astype(int))
        shares = [self.distribution.head_coverage(int(n)) * 100 for n in numbers]
        for dtype, num_bytes in self.rows.coverage[-1].num_bytes.items():
            sizes = numbers * num_bytes / most / 1e6
            axes.semilogx(sizes, shares, label=f"rows of {dtype}")
        axes.axhline(
            self.coverage * 100,
            color="grey",
            linestyle=":",
            label=f"asked for, {self.coverage:.0%}",
        )
        axes.set(
            xlabel="MB of rows, keys and their index",
            ylabel="% of traffic",
            title=title,
        )
        axes.legend()
        return figure


def size_models(
    distribution: Distribution,
    embedding_dim: int,
    *,
    softmax_share: float = 0.25,
    table_share: float = 0.25,
    coverage: float = 0.9,
    num_hashes: int = 256,
    num_hidden_layers: int = 3,
    **plan_arguments: Any,
) -> Sizing:
    """Says what a distribution of ids means for the models of this package.

    - For MACH: B and R by `mach.plan` with the observed frequencies, and how many
      classes stand out from the noise of its estimate. Few heavy hitters and a flat
      rest are what it is fit for; a flat distribution needs an input that says much.
    - For a deep hash embedding: its layers at a share of the table.
    - For `materialize`: how many rows serve most of the traffic, and their memory.

    Example:
    >>> from tfrs_dhe.analysis import describe_ids
    >>> ids = np.random.default_rng(0).zipf(1.3, 20_000) % 100_000
    >>> sizes = size_models(describe_ids(ids), embedding_dim=32)
    >>> sizes.plan.num_repetitions, sizes.num_rows < sizes.distribution.num_ids
    (4, True)

    Args:
      distribution: From `describe_ids`.
      embedding_dim: d, of the embeddings and of the input of the head.
      softmax_share: Size of MACH's head as a share of the full softmax.
      table_share: Size of the deep hash embedding as a share of the table.
      coverage: Share of the traffic that rows should serve, in (0, 1].
      num_hashes: k of the deep hash embedding.
      num_hidden_layers: h of the deep hash embedding.
      **plan_arguments: Others of `mach.plan`; a budget or target takes the place of
        `softmax_share`.

    Returns:
      A `Sizing`. What fits no plan or network says why.

    Raises:
      ValueError: If an argument is out of range or there are fewer than two ids.
    """
    _arguments.check_positive_integer("embedding_dim", embedding_dim)
    counts = distribution.counts()
    if len(counts) < 2:
        raise ValueError(
            f"`distribution` must be of at least two ids. Received: {len(counts)}."
        )
    plan, plan_problem = _plan(counts, embedding_dim, softmax_share, plan_arguments)
    standing_out = 0
    if plan is not None:
        floor = _STANDS_OUT * plan.standard_deviation * counts.sum()
        standing_out = int(np.count_nonzero(counts >= floor))
    network, network_problem = _network(
        len(counts), embedding_dim, table_share, num_hashes, num_hidden_layers
    )
    num_rows = min(distribution.ids_for_coverage(coverage), len(counts))
    rows = _materialization_report.report(
        None,
        embedding_dim,
        None,
        counts,
        _row_numbers(len(counts), num_rows),
        "hash_table",
    )
    return Sizing(
        distribution=distribution,
        embedding_dim=embedding_dim,
        plan=plan,
        plan_problem=plan_problem,
        num_standing_out=standing_out,
        network=network,
        network_problem=network_problem,
        rows=rows,
        num_rows=num_rows,
        coverage=coverage,
    )


def _plan(
    counts: np.ndarray, embedding_dim: int, softmax_share: float, others: dict[str, Any]
) -> tuple[mach.Plan | None, str]:
    chosen_by = {
        "parameter_budget",
        "byte_budget",
        "softmax_share",
        "max_indistinguishable_probability",
        "max_standard_deviation",
        "min_snr",
        "num_buckets",
    }
    arguments = dict(others)
    if not chosen_by & set(others):
        arguments["softmax_share"] = softmax_share
    try:
        plan = mach.plan(
            len(counts), embedding_dim, class_distribution=counts, **arguments
        )
    except ValueError as error:
        return None, str(error)
    return plan, ""


def _network(
    num_ids: int, dim: int, share: float, num_hashes: int, num_layers: int
) -> tuple[NetworkSize | None, str]:
    budget = _arguments.resolve_budget(share, (num_ids, dim))
    assert budget is not None  # a share was given
    # As `DeepHashEmbedding` is by default: batch normalization, no bias before it.
    shape = NetworkShape(num_hashes, dim, num_layers, 0, 4)
    try:
        hidden = shape.fit(budget)
    except ValueError as error:
        return None, str(error)
    return NetworkSize(shape.count(hidden), num_ids * dim, num_hashes, hidden), ""


def _row_numbers(num_ids: int, worth: int) -> Sequence[int]:
    powers = [10**i for i in range(1, math.ceil(math.log10(num_ids) + 1))]
    return sorted({*(n for n in powers if n < num_ids), worth, num_ids})
