"""`Plan`: what a choice of B and R costs, and what it can tell apart."""

import math
from dataclasses import dataclass

from tfrs_dhe.mach import buckets, collisions

#: Bytes of a number, by the name of its type.
DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Plan:
    """Figures of a MACH head with R repetitions of B buckets; `mach.plan` makes it.

    The head has `R B (d + 1)` parameters, kernel and bias; a full softmax over K
    classes has `K (d + 1)`.

    Example:
    >>> p = Plan(num_classes=1000, embedding_dim=9, num_buckets=50, num_repetitions=4)
    >>> p.parameters, p.softmax_parameters, p.times_smaller
    (2000, 10000, 5.0)
    >>> p.costs_more_than_softmax
    False

    Attributes:
      num_classes: K.
      embedding_dim: d, width of the input of the head.
      num_buckets: B.
      num_repetitions: R.
      dtype: Type of the parameters.
      optimizer_slots: Numbers that the optimizer keeps for a parameter.
      class_distribution: Words for the distribution of the classes.
      heavy_hitter_probability: p_i of the likeliest class.
      other_square_sum: Sum of p_k^2 over all other classes.
    """

    num_classes: int
    embedding_dim: int
    num_buckets: int
    num_repetitions: int
    dtype: str = "float32"
    optimizer_slots: int = 0
    class_distribution: str = "not given"
    heavy_hitter_probability: float = math.nan
    other_square_sum: float = math.nan

    @property
    def num_outputs(self) -> int:
        """R B, which takes the place of K."""
        return self.num_repetitions * self.num_buckets

    @property
    def parameters(self) -> int:
        """R B d weights and R B biases."""
        return self.num_outputs * (self.embedding_dim + 1)

    @property
    def softmax_parameters(self) -> int:
        """K d weights and K biases of the full softmax."""
        return self.num_classes * (self.embedding_dim + 1)

    @property
    def bytes(self) -> int:
        """Bytes of the parameters."""
        return self.parameters * DTYPE_BYTES[self.dtype]

    @property
    def softmax_bytes(self) -> int:
        """Bytes of the full softmax's parameters."""
        return self.softmax_parameters * DTYPE_BYTES[self.dtype]

    @property
    def training_bytes(self) -> int:
        """Bytes of the parameters and of what the optimizer keeps for them."""
        return self.bytes * (1 + self.optimizer_slots)

    @property
    def softmax_training_bytes(self) -> int:
        """The same of the full softmax."""
        return self.softmax_bytes * (1 + self.optimizer_slots)

    @property
    def times_smaller(self) -> float:
        """K / (R B), the softmax's parameters over MACH's."""
        return self.num_classes / self.num_outputs

    @property
    def costs_more_than_softmax(self) -> bool:
        """Whether R B >= K: the head saves nothing."""
        return self.num_outputs >= self.num_classes

    @property
    def table_dtype(self) -> str:
        """Smallest type for the numbers of the buckets."""
        return str(buckets.bucket_dtype(self.num_buckets).name)

    @property
    def table_bytes(self) -> int:
        """Bytes of the buckets of all classes, which an index keeps to serve them."""
        size: int = buckets.bucket_dtype(self.num_buckets).size
        return self.num_classes * self.num_repetitions * size

    @property
    def expected_indistinguishable_pairs(self) -> float:
        """K (K-1) / 2 B^-R, exact for 2-universal hashes."""
        return collisions.expected_pairs(*self._hashing)

    @property
    def expected_classes_with_twin(self) -> float:
        """K (1 - (1 - B^-R)^(K-1)), exact for independent hashes."""
        return collisions.expected_classes_with_twin(*self._hashing)

    @property
    def indistinguishable_bound(self) -> float:
        """The paper's bound on the probability that any two classes are equal."""
        return collisions.union_bound(*self._hashing)

    @property
    def indistinguishable_probability(self) -> float:
        """That probability itself, for independent hashes."""
        return collisions.any_pair_probability(*self._hashing)

    def paper_repetitions(self, probability: float = 0.01) -> int:
        """Returns the R of the paper's formula for this K and B.

        Args:
          probability: delta, how likely any two classes may be indistinguishable.

        Returns:
          The smallest R with R >= 2 log(K / sqrt(delta)) / log B.
        """
        return collisions.paper_repetitions(
            self.num_classes, self.num_buckets, probability
        )

    @property
    def variance(self) -> float:
        """Sum of p_k^2 over the other classes, over R (B-1).

        Variance of the unbiased estimate of the heavy hitter's probability.
        """
        return self.other_square_sum / (self.num_repetitions * (self.num_buckets - 1))

    @property
    def standard_deviation(self) -> float:
        """Square root of the variance: the noise."""
        return math.sqrt(self.variance)

    @property
    def snr(self) -> float:
        """Signal over noise: the heavy hitter's p_i over the standard deviation."""
        if self.standard_deviation == 0:
            return math.inf
        return self.heavy_hitter_probability / self.standard_deviation

    @property
    def _hashing(self) -> tuple[int, int, int]:
        return self.num_classes, self.num_buckets, self.num_repetitions

    def __str__(self) -> str:
        sizes = [
            ("", "MACH", "full softmax"),
            ("outputs (R B and K)", f"{self.num_outputs:,}", f"{self.num_classes:,}"),
            ("parameters", f"{self.parameters:,}", f"{self.softmax_parameters:,}"),
            (
                f"memory, {self.dtype}",
                _memory(self.bytes),
                _memory(self.softmax_bytes),
            ),
            (
                f"the same with {self.optimizer_slots} optimizer slots",
                _memory(self.training_bytes),
                _memory(self.softmax_training_bytes),
            ),
            (
                f"bucket table of an index, {self.table_dtype}",
                _memory(self.table_bytes),
                "none",
            ),
        ]
        if not self.optimizer_slots:
            del sizes[4]
        if self.costs_more_than_softmax:
            verdict = (
                f"MACH costs {_number(1 / self.times_smaller)} times the full softmax: "
                f"R B = {self.num_outputs:,} >= K = {self.num_classes:,}. "
                "Use the softmax."
            )
        else:
            verdict = f"MACH is {_number(self.times_smaller)} times smaller."
        same = [
            ("expected pairs", self.expected_indistinguishable_pairs),
            ("expected classes in such a pair", self.expected_classes_with_twin),
            ("probability of any, union bound", self.indistinguishable_bound),
            ("probability of any", self.indistinguishable_probability),
        ]
        noise = [
            ("signal, probability of the heavy hitter", self.heavy_hitter_probability),
            ("noise, standard deviation of the estimate", self.standard_deviation),
            ("signal / noise", self.snr),
        ]
        lines = [
            f"MACH with R = {self.num_repetitions:,} repetitions of "
            f"B = {self.num_buckets:,} buckets",
            f"for K = {self.num_classes:,} classes and embeddings of "
            f"{self.embedding_dim:,} numbers",
            "",
            *_aligned(sizes),
            f"  {verdict}",
            "",
            "Classes that share all their buckets with another",
            *_aligned([(name, f"{value:.3g}") for name, value in same]),
        ]
        if not math.isnan(self.other_square_sum):
            lines += [
                "",
                "Unbiased estimate of a class's probability, classes "
                + self.class_distribution,
                *_aligned([(name, f"{value:.3g}") for name, value in noise]),
            ]
        return "\n".join(lines)


def _aligned(rows: list[tuple[str, str]] | list[tuple[str, str, str]]) -> list[str]:
    """Returns rows of text: names to the left, at one width, values to the right."""
    columns = [*zip(*rows, strict=True)]
    widths = [max(map(len, column), default=0) for column in columns]
    widths[0] = max(widths[0], 44)
    return [
        "  "
        + row[0].ljust(widths[0])
        + "".join(
            "  " + cell.rjust(max(width, 14))
            for cell, width in zip(row[1:], widths[1:], strict=True)
        )
        for row in rows
    ]


def _memory(count: int) -> str:
    """Returns bytes in the largest unit that fits, with three digits."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        # What would be rounded to 1000 of the smaller unit is 1 of this.
        if count >= 0.9995 * size:
            return f"{_number(count / size)} {unit}"
    return f"{count} B"


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
