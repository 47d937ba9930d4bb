"""`compare_seeds`: whether models that differ by their seed learn the same."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe.analysis import _ids, _plots, _text
from tfrs_dhe.layers import _arguments

_BATCH_SIZE = 1024


@dataclass(frozen=True)
class SeedPair:
    """How much two models agree.

    Attributes:
      first: Its number in the list.
      second: Its number in the list.
      neighbors: Share of the k nearest ids that both have, the mean over all ids.
      alignment: Linear centred kernel alignment of the embeddings, 1 where they differ
        by a rotation and a scale at most, 0 where nothing of one is in the other.
    """

    first: int
    second: int
    neighbors: float
    alignment: float


@dataclass(frozen=True)
class SeedSensitivity(_plots.Plotted):
    """What `compare_seeds` returns; `print` shows it.

    `plot` draws, for each pair, the nearest ids in common and the alignment.

    Attributes:
      num_ids: n.
      k: How many of the nearest ids were compared.
      pairs: Each pair of models.
      expected_neighbors: The share that two have in common by chance, `k / (n - 1)`.
    """

    num_ids: int
    k: int
    pairs: tuple[SeedPair, ...]
    expected_neighbors: float

    def __str__(self) -> str:
        rows = [
            [f"{p.first} and {p.second}", f"{p.neighbors:.1%}", f"{p.alignment:.3f}"]
            for p in self.pairs
        ]
        head = ["models", f"{self.k} nearest in common", "alignment"]
        return (
            f"{self.num_ids:,} ids; by chance {self.expected_neighbors:.1%} of the "
            f"nearest are in common\n{_text.table(head, rows)}"
        )

    def _draw(self, title: str | None) -> Any:
        """Draws what each pair of models has in common."""
        figure = _plots.new_figure(10, 4)
        figure.suptitle(title or f"Models of other seeds, {self.num_ids:,} ids")
        common, aligned = figure.subplots(1, 2)
        names = [f"{p.first} and {p.second}" for p in self.pairs]
        common.bar(names, [p.neighbors * 100 for p in self.pairs], label="in common")
        common.axhline(
            self.expected_neighbors * 100,
            color="black",
            linestyle=":",
            label="by chance",
        )
        common.set(ylabel=f"% of the {self.k} nearest ids")
        aligned.bar(names, [p.alignment for p in self.pairs], label="alignment")
        aligned.set(ylabel="alignment of embeddings, 0 to 1", ylim=(0, 1))
        for axes in (common, aligned):
            axes.set(xlabel="models compared, by their place in the list")
        _plots.legend_below(common, aligned)
        return figure


def compare_seeds(layers: Sequence[Any], ids: Any, k: int = 10) -> SeedSensitivity:
    """Compares embeddings of models that were trained with different seeds.

    The seed of a deep hash embedding decides which ids are alike by chance before
    training. What two models agree on comes from the data; what only one says of an id
    is chance.

    Example:
    >>> from tfrs_dhe.layers import DeepHashEmbedding
    >>> models = [DeepHashEmbedding(4, 8, seed=seed) for seed in (0, 1)]
    >>> agreement = compare_seeds(models, np.arange(30), k=5)
    >>> len(agreement.pairs), round(agreement.expected_neighbors, 2)
    (1, 0.17)

    Args:
      layers: At least two, from ids [n] to embeddings [n, d]: layers, called with
        training=False where they take that, or functions.
      ids: Distinct strings or integers [n], more than k.
      k: How many of the nearest ids are compared.

    Returns:
      A `SeedSensitivity`.

    Raises:
      ValueError: If there are fewer than two layers or no more than k ids, ids are not
        distinct, or embeddings not finite.

    References:
      Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML
      2019, section 3 (alignment).
    """
    tensor = _ids.tensor("ids", ids)
    _arguments.check_positive_integer("k", k)
    if len(layers) < 2:
        raise ValueError(f"`layers` must be at least two. Received: {len(layers)}.")
    if k >= len(tensor):
        raise ValueError(f"`ids` must be more than k = {k}. Received: {len(tensor)}.")
    num_distinct = len(tf.unique(tensor).y)
    if num_distinct < len(tensor):
        # An id would be the nearest of itself.
        raise ValueError(
            f"`ids` must be distinct. Received: {len(tensor)}, {num_distinct} of them "
            "distinct."
        )
    embeddings = [_embed(layer, tensor) for layer in layers]
    for i, rows in enumerate(embeddings):
        _ids.check_finite(f"layers[{i}]", rows)
    nearest = [_nearest(rows, k) for rows in embeddings]
    pairs = tuple(
        SeedPair(
            i,
            j,
            float((nearest[i] & nearest[j]).sum(axis=1).mean() / k),
            _alignment(embeddings[i], embeddings[j]),
        )
        for i, j in itertools.combinations(range(len(layers)), 2)
    )
    return SeedSensitivity(len(tensor), k, pairs, k / (len(tensor) - 1))


def _embed(layer: Any, ids: Any) -> np.ndarray:
    # A function takes no flag; batch normalization needs it.
    flags = {"training": False} if hasattr(layer, "trainable") else {}
    parts = [
        np.asarray(layer(ids[i : i + _BATCH_SIZE], **flags), np.float64)
        for i in range(0, len(ids), _BATCH_SIZE)
    ]
    return np.concatenate(parts)


def _nearest(rows: np.ndarray, k: int) -> np.ndarray:
    """Returns for every id which others are its k nearest by cosine: [n, n]."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(norms > 0, norms, 1)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    found = np.zeros(cosines.shape, bool)
    np.put_along_axis(found, order, True, axis=1)
    return found


def _alignment(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    own = np.linalg.norm(first.T @ first) * np.linalg.norm(second.T @ second)
    return float(np.linalg.norm(first.T @ second) ** 2 / own) if own else 0.0
