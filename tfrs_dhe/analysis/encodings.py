"""What the DHE paper wants of an encoding, measured."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.analysis import _ids, _plots, _text
from tfrs_dhe.analysis.reference_encodings import Encode, reference_encodings
from tfrs_dhe.layers.dense_hash_encoding import DenseHashEncoding

#: A pair is more similar than others if its similarity is off the mean by more.
MAX_DEVIATION = 0.25
#: High-dimensional: so many times the `log2 n` numbers that could tell n ids apart.
MIN_WIDTH_FACTOR = 4
#: High entropy: at least this part of what the values could carry.
MIN_ENTROPY_SHARE = 0.5

_CHUNK = 512


@dataclass(frozen=True, eq=False)
class EncodingProperties(_plots.Plotted):
    """Figures of an encoding on a set of ids; `encoding_properties` makes it.

    The similarity of two ids is the cosine of their encodings, less the mean of all.

    Attributes:
      name: Of the encoding.
      num_ids: n.
      num_shared: How many ids share their encoding with another.
      similarity_mean: Of pairs with distinct encodings.
      similarity_deviation: Standard deviation over these pairs.
      similarity_range: Least and largest similarity of these pairs.
      width: Numbers of an encoding.
      effective_width: `(sum l)^2 / sum l^2` of the eigenvalues of the covariance of the
        ids that were compared: among how many directions their variance is spread.
      entropy: Shannon entropy of a dimension in bits, the mean of all dimensions.
      entropy_range: Its least and largest value.
      max_entropy: What a dimension could carry, `log2 min(n, number of values)`.
    """

    name: str
    num_ids: int
    num_shared: int
    similarity_mean: float
    similarity_deviation: float
    similarity_range: tuple[float, float]
    width: int
    effective_width: float
    entropy: float
    entropy_range: tuple[float, float]
    max_entropy: float

    @property
    def is_unique(self) -> bool:
        """U: no two ids share an encoding."""
        return self.num_shared == 0

    @property
    def is_equally_similar(self) -> bool:
        """E-S: no pair's similarity is off the mean by more than 0.25."""
        least, largest = self.similarity_range
        mean = self.similarity_mean
        return max(largest - mean, mean - least) <= MAX_DEVIATION

    @property
    def is_high_dimensional(self) -> bool:
        """H-D: at least 4 log2 n numbers."""
        return self.width >= MIN_WIDTH_FACTOR * math.log2(max(self.num_ids, 2))

    @property
    def has_high_entropy(self) -> bool:
        """H-S: a dimension carries at least half of what its values could.

        A constant, which could carry nothing, has no high entropy either.
        """
        return self.entropy >= MIN_ENTROPY_SHARE * self.max_entropy > 0

    @property
    def marks(self) -> tuple[bool, bool, bool, bool]:
        """U, E-S, H-D and H-S."""
        return (
            self.is_unique,
            self.is_equally_similar,
            self.is_high_dimensional,
            self.has_high_entropy,
        )

    def __str__(self) -> str:
        return str(EncodingComparison((self,)))

    def _draw(self, title: str | None) -> Any:
        return EncodingComparison((self,))._draw(title)


@dataclass(frozen=True, eq=False)
class EncodingComparison(_plots.Plotted):
    """Properties of several encodings on the same ids; `compare_encodings` makes it.

    `plot` draws similarities of pairs and the entropy of dimensions.

    Attributes:
      rows: Of each encoding.
    """

    rows: tuple[EncodingProperties, ...]

    def __getitem__(self, name: str) -> EncodingProperties:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{name!r} is none of {[row.name for row in self.rows]}")

    def markdown(self) -> str:
        """Returns the table in Markdown."""
        return _text.markdown(_HEADER, [_cells(row) for row in self.rows])

    def __str__(self) -> str:
        lines = [
            f"{self.rows[0].num_ids:,} ids",
            _text.table(_HEADER, [_cells(row) for row in self.rows]),
            "U: no two ids share an encoding. E-S: no pair's similarity is off the "
            f"mean by more than {MAX_DEVIATION:g}.",
            f"H-D: {MIN_WIDTH_FACTOR} log2 n numbers or more. H-S: half of the entropy "
            "that its values could carry, or more.",
        ]
        return "\n".join(lines)

    def _draw(self, title: str | None) -> Any:
        """Draws the similarities of pairs and the entropy of dimensions."""
        title = title or "Similarity of pairs of ids"
        figure = _plots.new_figure(11, 4)
        figure.suptitle(f"{title}, and entropy; {self.rows[0].num_ids:,} ids")
        similarity, entropy = figure.subplots(1, 2)
        names = [row.name for row in self.rows]
        places = np.arange(len(names))[::-1]
        mean = np.array([row.similarity_mean for row in self.rows])
        deviation = np.array([row.similarity_deviation for row in self.rows])
        least, largest = np.array([row.similarity_range for row in self.rows]).T
        similarity.hlines(
            places, least, largest, linewidth=1.5, label="least to largest"
        )
        similarity.hlines(
            places,
            mean - deviation,
            mean + deviation,
            linewidth=8,
            alpha=0.5,
            label="± 1 standard deviation",
        )
        similarity.plot(mean, places, "o", color="black", label="mean")
        similarity.set_yticks(places, names)
        similarity.set(
            xlabel="cosine of two ids' centred encodings",
            ylabel="encoding",
            xlim=(-1.3, 1.3),
        )
        similarity.set_xticks([-1, -0.5, 0, 0.5, 1])
        similarity.margins(y=0.15)
        measured = entropy.barh(
            places + 0.2, [row.entropy for row in self.rows], 0.4, label="measured"
        )
        entropy.bar_label(measured, fmt="%.3g", fontsize="small", padding=2)
        entropy.barh(
            places - 0.2,
            [row.max_entropy for row in self.rows],
            0.4,
            color="lightgrey",
            label="at most, for its number of values",
        )
        entropy.set_yticks(places, names)
        entropy.set(xlabel="Shannon entropy of a dimension, bits", ylabel="encoding")
        entropy.margins(x=0.1)
        _plots.legend_below(similarity, entropy, ncols=3)
        return figure


_HEADER = (
    "encoding", "U", "E-S", "H-D", "H-S", "shared", "similarity", "from", "to",
    "width", "effective", "entropy, bits", "at most",
)  # fmt: skip


def _cells(row: EncodingProperties) -> list[str]:
    least, largest = row.similarity_range
    return [
        row.name,
        *("yes" if mark else "no" for mark in row.marks),
        f"{row.num_shared:,}",
        f"{row.similarity_mean:.3f} ± {row.similarity_deviation:.3f}",
        f"{least:.2f}",
        f"{largest:.2f}",
        f"{row.width:,}",
        f"{row.effective_width:,.1f}",
        f"{row.entropy:.3f}",
        f"{row.max_entropy:.3f}",
    ]


def encoding_properties(
    encoding: Any, ids: Any, *, name: str | None = None, num_compared: int = 1000
) -> EncodingProperties:
    """Measures uniqueness, equal similarity, dimensionality and entropy of an encoding.

    Example:
    >>> layer = DenseHashEncoding(num_hashes=512)
    >>> properties = encoding_properties(layer, [f"user_{i}" for i in range(500)])
    >>> properties.marks
    (True, True, True, True)

    Args:
      encoding: A layer or function from keys, tf.int64 [n], to floats [n, width]; or a
        layer with such an `encoding`, as `DeepHashEmbedding`.
      ids: Distinct strings or integers [n], at least two.
      name: In the table; by default that of the layer or function.
      num_compared: How many of the ids are compared with one another, pair by pair.

    Returns:
      An `EncodingProperties`.

    Raises:
      ValueError: If ids are no list of distinct ids, or the encoding gives something
        else than finite floats [n, width].

    References:
      Kang et al., KDD 2021, section 3.1.
    """
    encode = getattr(encoding, "encoding", encoding)
    if not callable(encode):
        raise ValueError(
            "`encoding` must be a layer or function from integers [n] to floats "
            f"[n, width]. Received: {encoding!r}."
        )
    own_name = getattr(encode, "name", getattr(encode, "__name__", "encoding"))

    def encode_keys(positions: np.ndarray, keys: np.ndarray) -> np.ndarray:
        return np.asarray(encode(tf.constant(keys)))

    return _measure(name or own_name, encode_keys, _distinct_keys(ids), num_compared)


def compare_encodings(
    ids: Any,
    encoding: Any = None,
    *,
    num_buckets: int | None = None,
    num_compared: int = 1000,
) -> EncodingComparison:
    """Measures an encoding beside those that the DHE paper compares with.

    Example:
    >>> table = compare_encodings(np.arange(300), num_buckets=100)
    >>> [row.name for row in table.rows if all(row.marks)]
    ['dense hash']

    Args:
      ids: Distinct strings or integers [n]; the encodings of one-hot kind take n^2
        numbers, so some thousand ids are enough.
      encoding: See `encoding_properties`; by default a `DenseHashEncoding` with the
        paper's 1024 hashes.
      num_buckets: Of the hashed one-hot encodings; by default a quarter of n.
      num_compared: See `encoding_properties`.

    Returns:
      An `EncodingComparison`, the given encoding last.

    Raises:
      ValueError: As `encoding_properties`, and if `num_buckets` is out of range.

    References:
      Kang et al., KDD 2021, section 3.1 and table 2.
    """
    keys = _distinct_keys(ids)
    references = reference_encodings(len(keys), num_buckets or max(len(keys) // 4, 2))
    rows = [
        _measure(name, encode, keys, num_compared)
        for name, encode in references.items()
    ]
    if encoding is None:
        encoding = DenseHashEncoding(name="dense hash")
    rows.append(encoding_properties(encoding, ids, num_compared=num_compared))
    return EncodingComparison(tuple(rows))


def _distinct_keys(ids: Any) -> np.ndarray:
    keys: np.ndarray = hashing.int64_keys(_ids.tensor("ids", ids)).numpy()
    if len(keys) < 2 or len(np.unique(keys)) < len(keys):
        raise ValueError(
            "`ids` must be at least two, all distinct. Received: "
            f"{len(keys)} ids, {len(np.unique(keys))} of them distinct."
        )
    return keys


def _measure(
    name: str, encode: Encode, keys: np.ndarray, num_compared: int
) -> EncodingProperties:
    if num_compared < 2:
        raise ValueError(
            f"`num_compared` must be at least 2. Received: {num_compared}."
        )
    n = len(keys)
    digests: dict[bytes, int] = {}
    chunks = []
    for start in range(0, n, _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, n))
        rows = _checked(encode(positions, keys[positions]), len(positions))
        for row in rows:
            digest = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            digests[digest] = digests.get(digest, 0) + 1
        chunks.append(rows)
    encodings = np.concatenate(chunks)
    entropies, num_values = _entropies(encodings)
    chosen = np.linspace(0, n - 1, min(num_compared, n)).astype(int)
    centred = (encodings - encodings.mean(axis=0, dtype=np.float64))[chosen]
    similarity, effective = _similarities(centred, encodings[chosen])
    if len(similarity):
        figures = (similarity.mean(), similarity.std())
        limits = (similarity.min(), similarity.max())
    else:  # all encodings are equal
        figures, limits = (math.nan, math.nan), (math.nan, math.nan)
    return EncodingProperties(
        name=name,
        num_ids=n,
        num_shared=sum(count for count in digests.values() if count > 1),
        similarity_mean=float(figures[0]),
        similarity_deviation=float(figures[1]),
        similarity_range=(float(limits[0]), float(limits[1])),
        width=encodings.shape[1],
        effective_width=effective,
        entropy=float(entropies.mean()),
        entropy_range=(float(entropies.min()), float(entropies.max())),
        max_entropy=math.log2(min(n, num_values)),
    )


def _checked(rows: Any, count: int) -> np.ndarray:
    rows = np.asarray(rows)
    fits = rows.ndim == 2 and len(rows) == count and rows.dtype.kind == "f"
    if not fits or not np.isfinite(rows).all():
        raise ValueError(
            f"`encoding` must give finite floats of shape [{count}, width] for "
            f"{count} ids. Received: shape {rows.shape}, dtype {rows.dtype}."
        )
    return np.ascontiguousarray(rows)


def _entropies(encodings: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the entropy of each dimension in bits, and how many values there are."""
    n = len(encodings)
    entropies = []
    for column in encodings.T:
        shares = np.unique(column, return_counts=True)[1] / n
        entropies.append(-float(shares @ np.log2(shares)))
    return np.array(entropies), len(np.unique(encodings))


def _similarities(centred: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the similarities of pairs of distinct encodings, and the spread."""
    gram = centred @ centred.T
    trace = float(np.trace(gram))
    effective = trace**2 / float(np.sum(gram**2)) if trace else 0.0
    norms = np.sqrt(np.diag(gram))
    with np.errstate(invalid="ignore", divide="ignore"):
        # What lies at the mean of all has no direction: similar to none.
        cosines = np.nan_to_num(gram / norms / norms[:, np.newaxis])
    groups = np.unique(raw, axis=0, return_inverse=True)[1].reshape(-1)
    first, second = np.triu_indices(len(raw), k=1)
    apart = groups[first] != groups[second]
    return cosines[first, second][apart], effective
