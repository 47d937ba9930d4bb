"""What is kept of a stream of ids, and `sketch_ids`, which reads one."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tfrs_dhe.analysis import _ids
from tfrs_dhe.analysis.count_min_sketch import CountMinSketch
from tfrs_dhe.analysis.distinct_sample import DistinctSample
from tfrs_dhe.analysis.heavy_hitters import HeavyHitters

_FORMAT = 1

#: Points of the curve of growth for each chunk of a stream.
_GROWTH_STEPS = 8


class IdSketch:
    """A stream of ids in a few MB, however long it is and however many ids it has.

    Three summaries see every id: a `CountMinSketch` (how often any id occurred, at
    most), `HeavyHitters` (which occurred most) and a `DistinctSample` (how many there
    are, and how many occurred once, twice, ...). `distribution` says what they know;
    `compare_ids` compares two.

    Example:
    >>> sketch = IdSketch().update(tf.constant(["a", "b", "a"]))
    >>> sketch.num_occurrences, sketch.sample.num_ids, sketch.heavy.ids()
    (3, 2.0, [b'a', b'b'])

    Args:
      capacity: Ids of the sample; up to that many distinct ids, all is exact.
      num_heavy_hitters: Ids that are kept by name.
      width: Counters in a row of the count-min sketch.
      depth: Rows of the count-min sketch.
      seed: Integer in [0, 2^64). Sketches that are merged or compared need the same.
      mask_value: An id that pads lists and is not counted.

    Attributes:
      counts: The `CountMinSketch`.
      heavy: The `HeavyHitters`.
      sample: The `DistinctSample`.
      growth: Pairs of occurrences seen and ids among them.

    Raises:
      ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        capacity: int = 2**16,
        num_heavy_hitters: int = 1024,
        width: int = 2**16,
        depth: int = 4,
        seed: int = 0,
        mask_value: str | int | None = None,
    ) -> None:
        self.counts = CountMinSketch(width, depth, seed)
        self.heavy = HeavyHitters(num_heavy_hitters)
        self.sample = DistinctSample(capacity, seed)
        self.mask_value = mask_value
        self.growth: list[tuple[int, float]] = []
        self.num_occurrences = 0

    def update(self, ids: Any) -> "IdSketch":
        """Counts ids.

        Args:
          ids: A `tf.data.Dataset` of ids or batches of them of any shape, dense or
            ragged; or a tensor, array or list of ids. Strings or integers.

        Returns:
          The sketch itself.

        Raises:
          ValueError: If they are something else, or strings where the ids before were
            integers, or the other way round.
        """
        for keys, names in _ids.chunks(ids, self.mask_value):
            self._check_kind("ids", "strings" if names.dtype == object else "integers")
            distinct, counts = np.unique(keys, return_counts=True)
            self.counts.update(distinct, counts)
            self.heavy.update(keys, names)
            self._grow(keys)
        return self

    @property
    def kind(self) -> str | None:
        """`"strings"` or `"integers"`; None where no id is held by name."""
        names = self.heavy.ids()
        if not names:
            return None
        return "strings" if isinstance(names[0], bytes) else "integers"

    def _check_kind(self, name: str, kind: str | None) -> None:
        # "7" and 7 have other keys: each would be new to the other.
        if kind and self.kind and kind != self.kind:
            raise ValueError(
                f"`{name}` must be {self.kind}, as the ids before. Received {kind}; "
                "make one of the other."
            )

    def _grow(self, keys: np.ndarray) -> None:
        """Adds keys to the sample, and notes how many ids came within them."""
        first = self.sample.first_occurrences(keys)
        before, level = self.sample.num_ids, self.sample.level
        self.sample.update(keys)
        for end in np.linspace(0, len(keys), _GROWTH_STEPS + 1).astype(int)[1:-1]:
            came = int(np.searchsorted(first, end)) * 2**level
            self.growth.append((self.num_occurrences + int(end), before + came))
        self.num_occurrences += len(keys)
        self.growth.append((self.num_occurrences, self.sample.num_ids))

    def merge(self, other: "IdSketch") -> "IdSketch":
        """Adds what another sketch with the same arguments counted.

        Returns:
          The sketch itself.

        Raises:
          ValueError: If its arguments are others, or its ids of another type. The
            sketch is as it was then.
        """
        if self._arguments() != other._arguments():
            raise ValueError(
                "`other` must be a sketch of the same arguments: "
                f"{self._arguments()}. Received: {other._arguments()}."
            )
        self._check_kind("other", other.kind)
        self.counts.merge(other.counts)
        self.heavy.merge(other.heavy)
        self.sample.merge(other.sample)
        self.num_occurrences += other.num_occurrences
        self.growth.append((self.num_occurrences, self.sample.num_ids))
        return self

    def _arguments(self) -> dict[str, Any]:
        return {
            "capacity": self.sample.capacity,
            "num_heavy_hitters": self.heavy.capacity,
            "width": self.counts.width,
            "depth": self.counts.depth,
            "seed": self.sample.seed,
            "mask_value": self.mask_value,
        }

    def save(self, path: str | Path) -> None:
        """Writes the sketch to a file of NumPy, to be compared with later.

        Args:
          path: Of the file, `.npz`. Folders are made.
        """
        arrays = {
            "format": np.array(_FORMAT),
            "arguments": np.array(
                [
                    self.sample.capacity,
                    self.heavy.capacity,
                    self.counts.width,
                    self.counts.depth,
                ]
            ),
            "seed": np.array(self.sample.seed, np.uint64),
            "mask_value": np.array("" if self.mask_value is None else self.mask_value),
            "has_mask": np.array(self.mask_value is not None),
            "counters": self.counts.counters,
            "keys": self.sample.keys,
            "counts": self.sample.counts,
            "level": np.array(self.sample.level),
            "growth": np.array(self.growth).reshape(-1, 2),
            "num_occurrences": np.array(self.num_occurrences),
        }
        heavy = {f"heavy_{key}": value for key, value in self.heavy.state().items()}
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays, **heavy)

    @classmethod
    def load(cls, path: str | Path) -> "IdSketch":
        """Reads what `save` wrote.

        Args:
          path: The file.

        Returns:
          A sketch that goes on where that one was.

        Raises:
          ValueError: If the file is of another format, or not whole.
        """
        state = _read_arrays(path)
        if not np.array_equal(state.get("format", -1), _FORMAT):
            raise _not_a_sketch(path)
        capacity, heavy, width, depth = state["arguments"].tolist()
        mask = state["mask_value"].item() if state["has_mask"] else None
        sketch = cls(capacity, heavy, width, depth, int(state["seed"]), mask)
        sketch.counts.counters = state["counters"]
        sketch.sample.keys, sketch.sample.counts = state["keys"], state["counts"]
        sketch.sample.level = int(state["level"])
        sketch.heavy.restore(
            {
                key.removeprefix("heavy_"): value
                for key, value in state.items()
                if key.startswith("heavy_")
            }
        )
        sketch.growth = [(int(n), float(ids)) for n, ids in state["growth"]]
        sketch.num_occurrences = int(state["num_occurrences"])
        return sketch


def _read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    # An array alone is no archive (AttributeError, TypeError); what is cut off, empty
    # or of something else fails in one of the other ways.
    except (
        AttributeError,
        EOFError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _not_a_sketch(path) from error


def _not_a_sketch(path: str | Path) -> ValueError:
    return ValueError(
        "`path` must be a whole file that `IdSketch.save` of this version wrote. "
        f"Received: {path}."
    )


def sketch_ids(ids: Any, **arguments: Any) -> IdSketch:
    """Reads a stream of ids once and returns what is kept of it.

    Example:
    >>> sketch_ids(tf.data.Dataset.from_tensor_slices([3, 4, 3])).num_occurrences
    3

    Args:
      ids: See `IdSketch.update`.
      **arguments: Those of `IdSketch`.

    Returns:
      An `IdSketch` of at least one occurrence.

    Raises:
      ValueError: If there is no id, or an argument does not fit.
    """
    sketch = IdSketch(**arguments).update(ids)
    if not sketch.num_occurrences:
        raise ValueError("`ids` must be at least one. Received none.")
    return sketch
