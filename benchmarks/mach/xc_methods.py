"""The sets and the methods of the benchmark of extreme classification."""

import dataclasses

#: Aggregations are tried for it alone.
MACH = "mach"


@dataclasses.dataclass(frozen=True)
class Set:
    """A data set, and what is trained on it.

    Attributes:
      files: Start of the names of its training and test file, in its folder.
      single: Whether the losses take one label of an example, drawn in each step, or
        all of them.
      hidden_dim: Width of the trunk.
      batch_size: Examples in a batch.
      num_negatives: Drawn for every batch, where a loss is on sampled classes.
      epochs: The largest number that is tried.
      narrow: Width of the rows of the narrow head, whose size is that of `joint`.
      joint: R and B of MACH's joint loss.
      mach: R and B of heads as in the paper. The first is tuned.
      is_sorted: Whether the training file is in the order of the labels, and so has
        to be shuffled before some are held out.
      tuning_share: Share of the training examples that tuning takes.
    """

    files: str
    single: bool
    hidden_dim: int
    batch_size: int
    num_negatives: int
    epochs: int
    narrow: int
    joint: tuple[int, int]
    mach: tuple[tuple[int, int], ...]
    is_sorted: bool = False
    tuning_share: float = 1.0


SETS = {
    "xc-bibtex": Set(
        files="bibtex",
        single=False,
        hidden_dim=256,
        batch_size=256,
        num_negatives=64,
        epochs=32,
        narrow=49,
        joint=(4, 20),
        mach=((4, 20), (2, 40), (8, 10), (2, 20), (4, 10)),
    ),
    "xc-delicious": Set(
        files="delicious",
        single=False,
        hidden_dim=256,
        batch_size=256,
        num_negatives=256,
        epochs=24,
        narrow=82,
        joint=(4, 100),
        mach=((4, 100), (2, 200), (8, 50), (4, 50)),
    ),
    "xc-wordnet": Set(
        files="direct",
        single=True,
        hidden_dim=64,
        batch_size=512,
        num_negatives=2048,
        epochs=10,
        narrow=15,
        joint=(4, 1280),
        mach=((4, 1280), (2, 2560), (8, 640), (4, 320)),
        is_sorted=True,
        tuning_share=1 / 4,
    ),
}


@dataclasses.dataclass(frozen=True)
class Method:
    """A head and its loss.

    Attributes:
      name: What its result lines are called.
      family: Methods of a family share the settings that tuning found.
      loss: "all" classes: a softmax, or sigmoids where examples have several labels;
        "buckets": the same in every repetition; "in_batch"; "sampled".
      shape: R and B, None for a row for every class.
      row_dim: Width of the rows, None for that of the trunk.
      balanced: Whether every bucket has equally many labels; the papers' hash functions
        are not made so.
    """

    name: str
    family: str
    loss: str
    shape: tuple[int, int] | None = None
    row_dim: int | None = None
    balanced: bool = False


def methods(data):
    """Returns the methods that are compared on a set, by name."""
    found = [
        Method("full", "full", "all"),
        Method("narrow", "narrow", "all", row_dim=data.narrow),
        Method("in_batch", "in_batch", "in_batch"),
        Method("sampled", "sampled", "sampled"),
        # Over all of many classes it would take as long as the full softmax.
        Method("joint", "joint", "in_batch" if data.single else "all", data.joint),
        *(
            Method(
                f"{MACH} {r}x{b}" + (" balanced" if balanced else ""),
                MACH,
                "buckets",
                shape=(r, b),
                balanced=balanced,
            )
            for balanced in (False, True)
            for r, b in data.mach
        ),
    ]
    return {method.name: method for method in found}
