"""What there is to run: each combination of a grid once."""

import dataclasses
import itertools

from data import SETS
from methods import FEATURES, METHODS
from training import MODELS

SHARES = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)
#: Methods whose size is what it is; they run at a share of 1 alone.
ONE_SIZE = ("table", "dedicated", "means")


@dataclasses.dataclass(frozen=True)
class Run:
    """Settings of a run."""

    data: str
    model: str
    method: str
    share: float
    seed: int = 0
    epochs: int = 6
    batch_size: int = 4096
    learning_rate: float = 0.002
    weight_decay: float = 0.1

    @property
    def name(self):
        """What tells the run from the others of a grid."""
        return f"{self.data} {self.model} {self.method} {self.share:.4g} #{self.seed}"


def runs(choices, settings):
    """Returns the runs of a grid.

    Args:
      choices: A list each for data, model, method, share and seed.
      settings: Other settings of `Run`, the same for all.
    """
    names = ("data", "model", "method", "share", "seed")
    grid = itertools.product(*(choices[name] for name in names))
    return [
        Run(**dict(zip(names, values, strict=True)), **settings)
        for values in grid
        if values[2].removesuffix(FEATURES) not in ONE_SIZE or values[3] == 1
    ]


FULL = {
    "data": SETS,
    "model": MODELS,
    "method": ("means", *METHODS),
    "share": SHARES,
    "seed": (0, 1, 2),
}
QUICK = {
    "data": ("ml-1m",),
    "model": ("gmf",),
    "method": ("means", "table", "hashing_trick", "deep_hash"),
    "share": (1, 1 / 16),
    "seed": (0,),
}
