"""How wide an embedding network may be for a number of parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

#: A network uses at least this share of its budget.
MIN_SHARE_USED = 0.95


@dataclass(frozen=True)
class NetworkShape:
    """What the number of parameters of an embedding network depends on.

    Attributes:
      input_dim: Width of the encoding, side features included.
      output_dim: Width of the embedding.
      num_hidden_layers: h.
      bias_per_unit: 1 if the hidden Dense layers have a bias, else 0.
      normalization_per_unit: Weights of the normalization per hidden unit: 4 for
        batch (scale, offset and the two moving statistics), 2 for layer, 0.
    """

    input_dim: int
    output_dim: int
    num_hidden_layers: int
    bias_per_unit: int
    normalization_per_unit: int

    def count(self, hidden_dims: Sequence[int]) -> int:
        """Returns the number of parameters with these hidden widths."""
        total, width = 0, self.input_dim
        for units in hidden_dims:
            total += (width + self.bias_per_unit + self.normalization_per_unit) * units
            width = units
        return total + (width + 1) * self.output_dim

    def fit(self, budget: int) -> tuple[int, ...]:
        """Returns the widest hidden layers whose parameters stay in the budget.

        All hidden layers have one width, as in the paper, unless the budget is
        so small that the step from one width to the next is more than 5 % of it;
        then the last hidden layer takes what is left.

        Args:
          budget: Number of parameters.

        Returns:
          h hidden widths.

        Raises:
          ValueError: If no network uses between 95 % and 100 % of the budget.
        """
        width = self._widest_uniform(budget)
        if width < 1:
            smallest = self.count((1,) * self.num_hidden_layers)
            raise ValueError(
                f"`parameter_budget` is {budget}, but the smallest network for "
                f"inputs of width {self.input_dim} and {self.num_hidden_layers} "
                f"hidden layers has {smallest} parameters. Give a larger budget, "
                "or lower `num_hashes`, which is most of the input's width."
            )
        hidden_dims = [width] * self.num_hidden_layers
        if self.count(hidden_dims) < MIN_SHARE_USED * budget:
            before = self.count(hidden_dims)
            hidden_dims[-1] += 1
            per_unit = self.count(hidden_dims) - before
            hidden_dims[-1] += (budget - before) // per_unit - 1
        used = self.count(hidden_dims)
        if used < MIN_SHARE_USED * budget:
            hidden_dims[-1] += 1
            raise ValueError(
                f"No network has between 95 % and 100 % of the `parameter_budget` "
                f"of {budget} parameters: the nearest sizes are {used} and "
                f"{self.count(hidden_dims)}. Give one of these."
            )
        return tuple(hidden_dims)

    def _widest_uniform(self, budget: int) -> int:
        too_wide = 1
        while self.count((too_wide,) * self.num_hidden_layers) <= budget:
            too_wide *= 2
        width = 0
        while too_wide - width > 1:
            middle = (width + too_wide) // 2
            if self.count((middle,) * self.num_hidden_layers) <= budget:
                width = middle
            else:
                too_wide = middle
        return width
