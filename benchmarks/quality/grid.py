"""What there is to run: each combination of a grid once."""

import dataclasses
import itertools

from data import NEW, SETS, SYNTHETIC
from methods import FEATURES, METHODS
from training import MODELS

SHARES = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)
#: Methods whose size is what it is; they run at a share of 1 alone, as those do that
#: are one of them with something changed ("dedicated, row_dropout=0.1").
ONE_SIZE = (
    "table",
    "table_trained_unknown",
    "dedicated",
    "dedicated_beside",
    "means",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """Settings of a run.

    Attributes:
      schedule: Of the learning rate: "constant", or "cosine", which rises to it in the
        first epoch and falls to zero at the last.
      teacher: Weight, in the labels, of what a full table has learned from the same
        pairs (distillation, as of Hinton et al., 2015).
      distilled: Passes over the ids that learn the rows of that table
        (`tfrs_dhe.models.distill_embeddings`), in place of epochs over the pairs.
      id_dropout: The share of ids that are replaced by new ones then.
    """

    data: str
    model: str
    method: str
    share: float
    seed: int = 0
    epochs: int = 15
    batch_size: int = 4096
    learning_rate: float = 0.005
    weight_decay: float = 0.1
    schedule: str = "constant"
    teacher: float = 0.0
    distilled: int = 0
    id_dropout: float = 0.0

    @property
    def name(self):
        """What tells the run from the others of a grid."""
        return f"{self.data} {self.model} {self.method} {self.share:.4g} #{self.seed}"

    @property
    def folder_name(self):
        """What tells the run from all others, as the name of a folder."""
        return "-".join(map(str, dataclasses.astuple(self))).replace("/", "_")


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
        if values[3] == 1 or not _has_one_size(values[2])
    ]


def _has_one_size(method):
    return method.removesuffix(FEATURES).partition(",")[0] in ONE_SIZE


def tries(run):
    """Returns the runs that a run's settings are chosen from, the same for all."""
    return [dataclasses.replace(run, **settings) for settings in TRIES]


FULL = {
    "data": SETS,
    "model": MODELS,
    "method": ("means", *METHODS),
    "share": SHARES,
    "seed": (0, 1, 2),
}
#: The effort that goes into tuning a method at a size, on the first seed: these, and
#: the best of them with each of the other schedules and lengths.
TRIES = (
    {"learning_rate": 0.005, "weight_decay": 0.3},
    {"learning_rate": 0.005, "weight_decay": 0.1},
    {"learning_rate": 0.005, "weight_decay": 0.03},
    {"learning_rate": 0.005, "weight_decay": 1.0},
    {"learning_rate": 0.002, "weight_decay": 0.1},
)
OTHER_SCHEDULES = (
    {"epochs": 45},
    {"schedule": "cosine"},
    {"schedule": "cosine", "epochs": 30},
)
#: Other trainings: after a teacher.
TRAININGS = (
    {"teacher": 0.5},
    {"teacher": 1.0},
    {"distilled": 150},
    {"distilled": 150, "id_dropout": 0.1},
)
QUICK = {
    "data": (SYNTHETIC + NEW,),
    "model": ("gmf",),
    "method": (
        "means",
        "table",
        "hashing_trick",
        "deep_hash+features",
        "dedicated",
        "dedicated+features",
    ),
    "share": (1, 1 / 4),
    "seed": (0,),
}
QUICK_SETTINGS = {"epochs": 3, "batch_size": 1024, "weight_decay": 0.1}
