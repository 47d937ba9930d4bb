"""`plan`: how many buckets and repetitions MACH should have."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfrs_dhe.hashing import constants, universal
from tfrs_dhe.mach import class_distribution as distributions
from tfrs_dhe.mach import collisions
from tfrs_dhe.mach.plan_figures import DTYPE_BYTES, Plan

#: Where a plan is chosen and no other target is given, any two classes are
#: indistinguishable with at most this probability.
MAX_INDISTINGUISHABLE_PROBABILITY = 0.01


def plan(
    num_classes: int,
    embedding_dim: int,
    *,
    num_buckets: int | None = None,
    num_repetitions: int | None = None,
    parameter_budget: int | None = None,
    byte_budget: int | None = None,
    softmax_share: float | None = None,
    max_indistinguishable_probability: float | None = None,
    max_standard_deviation: float | None = None,
    min_snr: float | None = None,
    class_distribution: Any = "uniform",
    heavy_hitter_probability: float | None = None,
    min_repetitions: int = 4,
    dtype: str = "float32",
    optimizer_slots: int = 0,
) -> Plan:
    """Chooses B and R for K classes, or gives the figures of a given choice.

    Give one of

    - a budget: `parameter_budget`, `byte_budget` or `softmax_share`. All of it is
      used;
    - error targets: `max_indistinguishable_probability`, `max_standard_deviation`,
      `min_snr`. As few buckets are used as meet them, and fewer outputs than
      classes where that is possible;
    - both, to have the best that the budget allows and an error where it does not
      meet the targets;
    - `num_buckets` and `num_repetitions`, for their figures.

    The rule. Memory is R B; the variance of a class's estimate falls with
    R (B - 1), so for the same memory it says nothing against few repetitions, and
    each of few is a sharper softmax: four repetitions won over sixteen of the same
    memory (recall@20 .090 against .077, next item of 60,416, one seed). So R is
    the smallest from `min_repetitions` on with which the targets hold: on the
    probability that two classes are indistinguishable, 0.01 unless given, and on
    the noise. Fewer than four were not measured. With `num_buckets` given, more
    repetitions are more memory, and R is the largest within the budget.

    Example:
    >>> p = plan(1_000_000, 128, softmax_share=0.02)
    >>> p.num_repetitions, p.num_buckets
    (4, 5000)
    >>> print(p)
    MACH with R = 4 repetitions of B = 5,000 buckets
    for K = 1,000,000 classes and embeddings of 128 numbers
    <BLANKLINE>
                                                              MACH    full softmax
      outputs (R B and K)                                   20,000       1,000,000
      parameters                                         2,580,000     129,000,000
      memory, float32                                      10.3 MB          516 MB
      bucket table of an index, uint16                        8 MB            none
      MACH is 50 times smaller.
    <BLANKLINE>
    Classes that share all their buckets with another
      expected pairs                                        0.0008
      expected classes in such a pair                       0.0016
      probability of any, union bound                       0.0008
      probability of any                                    0.0008
    <BLANKLINE>
    Unbiased estimate of a class's probability, classes uniform
      signal, probability of the heavy hitter                1e-06
      noise, standard deviation of the estimate           7.07e-06
      signal / noise                                         0.141

    Args:
      num_classes: K, at least 2.
      embedding_dim: d, width of the input of the head.
      num_buckets: B, where it is not to be chosen.
      num_repetitions: R, where it is not to be chosen.
      parameter_budget: Number of parameters that the head may have, at most.
      byte_budget: Bytes that these and the optimizer's slots may take, at most.
        The bucket table of an index is not among them.
      softmax_share: Share of the full softmax's parameters, above 0 and at most 1.
      max_indistinguishable_probability: delta in (0, 1]; the union bound on the
        probability that any two classes share all buckets may not be above it. 1
        is no target.
      max_standard_deviation: Of the unbiased estimate of the heavy hitter's
        probability.
      min_snr: Smallest signal to noise: the heavy hitter's probability over that
        standard deviation.
      class_distribution: What an input says about its class: probabilities or
        counts [K], `"uniform"`, or the exponent s >= 0 of a Zipf distribution,
        whose class k has a share of k^-s.
      heavy_hitter_probability: Probability of the likeliest class, if not that of
        the distribution; the others then share the rest in their proportions.
      min_repetitions: The smallest R to choose.
      dtype: Type of the parameters: float64, float32, bfloat16 or float16.
      optimizer_slots: Numbers that the optimizer keeps for every parameter: 2 for
        Adam, 1 for Adagrad or momentum.

    Returns:
      The plan. `costs_more_than_softmax` is true where R B >= K.

    Raises:
      ValueError: If an argument is out of range, there is nothing to choose by, or
        the targets cannot be met within the budget.

    References:
      Medini et al., "Extreme Classification in Log Memory using Count-Min
      Sketch", NeurIPS 2019, section 3 and theorem 2 (R = O(log K)).
    """
    num_classes = _integer("num_classes", num_classes, 2)
    _integer("embedding_dim", embedding_dim, 1)
    _integer("optimizer_slots", optimizer_slots, 0)
    # Python's own integers, as powers of NumPy's wrap around.
    min_repetitions = _integer("min_repetitions", min_repetitions, 1)
    if num_buckets is not None:
        most = universal.MAX_NUM_BUCKETS
        num_buckets = _integer("num_buckets", num_buckets, 2, most)
    if num_repetitions is not None:
        num_repetitions = _integer("num_repetitions", num_repetitions, 1)
    if dtype not in DTYPE_BYTES:
        raise ValueError(
            f"`dtype` must be one of {tuple(DTYPE_BYTES)}. Received: {dtype!r}."
        )
    hitter = distributions.heavy_hitter(
        class_distribution, num_classes, heavy_hitter_probability
    )
    figures = Plan(
        num_classes=num_classes,
        embedding_dim=int(embedding_dim),
        num_buckets=num_buckets or 2,
        num_repetitions=num_repetitions or 1,
        dtype=dtype,
        optimizer_slots=int(optimizer_slots),
        class_distribution=hitter.description,
        heavy_hitter_probability=hitter.probability,
        other_square_sum=hitter.other_square_sum,
    )
    max_outputs = _max_outputs(figures, parameter_budget, byte_budget, softmax_share)
    targets = {
        "max_indistinguishable_probability": max_indistinguishable_probability,
        "max_standard_deviation": max_standard_deviation,
        "min_snr": min_snr,
    }
    given = [name for name, value in targets.items() if value is not None]
    for name in given:
        targets[name] = _check_target(name, targets[name])
    if num_buckets is not None and num_repetitions is not None:
        if given or max_outputs is not None:
            raise ValueError(
                "`num_buckets` and `num_repetitions` leave nothing to choose. Give "
                "one of them or none with a budget or with targets, or both alone."
            )
        return figures
    if not given and max_outputs is None:
        raise ValueError(
            "`plan` needs something to choose by: a budget (`parameter_budget`, "
            "`byte_budget` or `softmax_share`), targets (`min_snr`, "
            "`max_standard_deviation` or `max_indistinguishable_probability`), or "
            "both `num_buckets` and `num_repetitions`."
        )
    choice = _Choice(
        figures,
        targets["max_indistinguishable_probability"]
        or MAX_INDISTINGUISHABLE_PROBABILITY,
        _max_variance(
            hitter.probability, targets["max_standard_deviation"], targets["min_snr"]
        ),
        min_repetitions if num_repetitions is None else num_repetitions,
        fixed_buckets=num_buckets,
        fixed_repetitions=num_repetitions,
    )
    return choice.smallest() if max_outputs is None else choice.best(max_outputs)


@dataclass(frozen=True)
class _Choice:
    """The B and R that targets and fixed values allow."""

    figures: Plan
    max_probability: float
    max_variance: float
    min_repetitions: int
    fixed_buckets: int | None
    fixed_repetitions: int | None

    def best(self, max_outputs: int) -> Plan:
        """Returns the plan that uses the budget, or raises a ValueError."""
        if self.fixed_buckets is not None:
            sizes = [(max_outputs // self.fixed_buckets, self.fixed_buckets)]
        else:
            most = universal.MAX_NUM_BUCKETS
            sizes = [(r, min(max_outputs // r, most)) for r in self._repetitions()]
        for num_repetitions, num_buckets in sizes:
            if num_repetitions >= self.min_repetitions and num_buckets >= 2:
                plan = self._plan(num_repetitions, num_buckets)
                if self._meets(plan):
                    return plan
        least = min(self._minimal_plans(), key=lambda plan: plan.num_outputs)
        raise ValueError(
            f"The budget allows {max_outputs:,} outputs, and no B and R within it have "
            f"{self._describe()}. The smallest head that does has "
            f"R = {least.num_repetitions:,} and B = {least.num_buckets:,}: "
            f"{least.parameters:,} parameters, {least.training_bytes:,} bytes, "
            f"{least.num_outputs / least.num_classes:.3g} of the full softmax. Raise "
            "the budget or relax the targets."
        )

    def smallest(self) -> Plan:
        """Returns the plan with the fewest repetitions that saves memory.

        If none saves any, that with the fewest outputs.
        """
        plans = list(self._minimal_plans())
        saving = (plan for plan in plans if not plan.costs_more_than_softmax)
        least = min(plans, key=lambda plan: plan.num_outputs)
        return next(saving, least)

    def _minimal_plans(self) -> Iterator[Plan]:
        """Yields the smallest plans that meet the targets, by repetitions."""
        if self.fixed_buckets is not None:
            num_repetitions = max(
                self.min_repetitions,
                collisions.repetitions_needed(
                    self.figures.num_classes, self.fixed_buckets, self.max_probability
                ),
            )
            yield self._quiet(self._plan(num_repetitions, self.fixed_buckets))
            return
        too_many = None
        for num_repetitions in self._repetitions():
            num_buckets = collisions.buckets_needed(
                self.figures.num_classes, num_repetitions, self.max_probability
            )
            plan = self._quiet(self._plan(num_repetitions, num_buckets))
            if plan.num_buckets <= universal.MAX_NUM_BUCKETS:
                yield plan
            else:
                too_many = plan
        if too_many is not None and self.fixed_repetitions is not None:
            raise ValueError(
                f"R = {too_many.num_repetitions} needs B = {too_many.num_buckets:,} "
                f"buckets to have {self._describe()}, but a hash has at most "
                f"{universal.MAX_NUM_BUCKETS:,}. Raise `num_repetitions` or relax "
                "the targets."
            )

    def _repetitions(self) -> range:
        """Returns the R to try.

        From `enough` on, two buckets tell the classes apart, and only the variance
        is left, for which R (B - 1) = R B - R counts: what twice as many
        repetitions lose is more than the rounding of B can give back.
        """
        if self.fixed_repetitions is not None:
            return range(self.fixed_repetitions, self.fixed_repetitions + 1)
        two_suffice = collisions.repetitions_needed(
            self.figures.num_classes, 2, self.max_probability
        )
        enough = max(self.min_repetitions, two_suffice)
        return range(self.min_repetitions, 2 * enough + 1)

    def _plan(self, num_repetitions: int, num_buckets: int) -> Plan:
        return replace(
            self.figures, num_repetitions=num_repetitions, num_buckets=num_buckets
        )

    def _meets(self, plan: Plan) -> bool:
        needed = collisions.buckets_needed(
            plan.num_classes, plan.num_repetitions, self.max_probability
        )
        return plan.num_buckets >= needed and plan.variance <= self.max_variance

    def _quiet(self, plan: Plan) -> Plan:
        """Returns the plan with as many more buckets as the variance needs.

        Where B is fixed, with more repetitions.
        """
        if plan.variance <= self.max_variance:
            return plan
        needed = plan.other_square_sum / self.max_variance  # of R (B - 1)
        if self.fixed_buckets is not None:
            field, least = "num_repetitions", needed / (plan.num_buckets - 1)
        else:
            field, least = "num_buckets", needed / plan.num_repetitions + 1
        size = max(getattr(plan, field), math.floor(least))
        # Division rounds, so the last step is taken by the variance itself.
        while (plan := replace(plan, **{field: size})).variance > self.max_variance:
            size += 1
        return plan

    def _describe(self) -> str:
        words = (
            "classes indistinguishable with a probability of at most "
            f"{self.max_probability:g}"
        )
        if self.max_variance < math.inf:
            words += (
                " and estimates with a standard deviation of at most "
                f"{math.sqrt(self.max_variance):.3g}"
            )
        fewest = "exactly" if self.fixed_repetitions is not None else "at least"
        words += f", with {fewest} {self.min_repetitions} repetitions"
        if self.fixed_buckets is not None:
            words += f" of {self.fixed_buckets:,} buckets"
        return words


def _max_outputs(
    figures: Plan,
    parameter_budget: int | None,
    byte_budget: int | None,
    softmax_share: float | None,
) -> int | None:
    """Returns the largest R B within the budget, None if there is none."""
    budgets = {
        "parameter_budget": parameter_budget,
        "byte_budget": byte_budget,
        "softmax_share": softmax_share,
    }
    given = {name: value for name, value in budgets.items() if value is not None}
    if len(given) > 1:
        raise ValueError(
            f"Give one budget, not several. Received: {', '.join(map(repr, given))}."
        )
    per_output = figures.embedding_dim + 1
    if parameter_budget is not None:
        return _integer("parameter_budget", parameter_budget, 1) // per_output
    if byte_budget is not None:
        size = DTYPE_BYTES[figures.dtype] * (1 + figures.optimizer_slots)
        return _integer("byte_budget", byte_budget, 1) // (per_output * size)
    if softmax_share is None:
        return None
    if not _is_number(softmax_share) or not 0 < softmax_share <= 1:
        raise ValueError(
            "`softmax_share` is a share of the full softmax, above 0 and at most 1. "
            f"Received: {softmax_share!r}."
        )
    return int(figures.num_classes * softmax_share)


def _max_variance(
    signal: float, max_standard_deviation: float | None, min_snr: float | None
) -> float:
    limits = [math.inf]
    if max_standard_deviation is not None:
        limits.append(max_standard_deviation**2)
    if min_snr is not None:
        limits.append((signal / min_snr) ** 2)
    return min(limits)


def _check_target(name: str, value: Any) -> float:
    most = 1.0 if name == "max_indistinguishable_probability" else math.inf
    if not _is_number(value) or not (0 < value <= most and math.isfinite(value)):
        limit = "in (0, 1]" if most == 1 else "positive and finite"
        raise ValueError(f"`{name}` must be {limit}. Received: {value!r}.")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _integer(name: str, value: Any, least: int, most: float = math.inf) -> int:
    if not constants.is_integer(value) or not least <= value <= most:
        limit = "" if most == math.inf else f" and at most {most:,}"
        raise ValueError(
            f"`{name}` must be an integer of at least {least}{limit}. "
            f"Received: {value!r}."
        )
    return int(value)
