"""`explain_embedding`: what a deep hash embedding makes of an id."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.analysis import _ids, _plots, _text
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding

_BATCH_SIZE = 1024
#: Other ids, or other side features, that take the place of the id's own.
_NUM_REPLACEMENTS = 100


@dataclass(frozen=True)
class Neighbor:
    """An id near another one.

    Attributes:
      id: Bytes or an integer.
      similarity: Cosine.
    """

    id: Any
    similarity: float


@dataclass(frozen=True)
class InputEffect:
    """What an input of the layer does to the embedding.

    Attributes:
      name: Of the side feature, or `"id"`.
      change: How far the embedding moves when the input is that of other candidates,
        the mean over these, as a part of its length.
      kept: Share of the nearest ids that stay among the nearest.
    """

    name: str
    change: float
    kept: float


@dataclass(frozen=True, eq=False)
class EmbeddingExplanation(_plots.Plotted):
    """What `explain_embedding` returns; `print` shows it.

    `plot` draws both similarities of all candidates, and the effects.

    Attributes:
      id: Bytes or an integer.
      num_candidates: How many other ids it was compared with.
      by_embedding: The nearest ids by the cosine of embeddings.
      by_encoding: The nearest by the cosine of encodings, what hashing alone makes of
        them.
      overlap: How many ids are in both.
      expected_overlap: How many would be by chance, `k^2 / n`.
      correlation: Of the two cosines over all candidates. Near zero where the network
        learned; near one where it passes the hashes on.
      effects: Of the id and of each side feature.
      similarities: Cosines of encodings and of embeddings [2, n].
    """

    id: Any
    num_candidates: int
    by_embedding: tuple[Neighbor, ...]
    by_encoding: tuple[Neighbor, ...]
    overlap: int
    expected_overlap: float
    correlation: float
    effects: tuple[InputEffect, ...]
    similarities: np.ndarray

    def __str__(self) -> str:
        rows = [
            [
                _text.name(near.id),
                f"{near.similarity:.3f}",
                _text.name(hashed.id),
                f"{hashed.similarity:.3f}",
            ]
            for near, hashed in zip(self.by_embedding, self.by_encoding, strict=True)
        ]
        head = ["by embedding", "cosine", "by encoding", "cosine"]
        lines = [
            f"{_text.name(self.id)} among {self.num_candidates:,} ids",
            *("  " + line for line in _text.table(head, rows).split("\n")),
            f"  in both: {self.overlap}, by chance {self.expected_overlap:.2g}; "
            f"correlation of the cosines {self.correlation:.3f}",
        ]
        effects = [[e.name, f"{e.change:.2f}", f"{e.kept:.0%}"] for e in self.effects]
        head = ["replaced by others'", "moves by", "nearest ids kept"]
        lines += ["  " + line for line in _text.table(head, effects).split("\n")]
        return "\n".join(lines)

    def _draw(self, title: str | None) -> Any:
        """Draws both similarities of all candidates, and the effects."""
        figure = _plots.new_figure(10, 4.2)
        figure.suptitle(title or f"Embedding of {_text.short(self.id, 60)}")
        points, bars = figure.subplots(1, 2)
        points.scatter(*self.similarities, s=6, alpha=0.5, label="another id")
        nearest = min(near.similarity for near in self.by_embedding)
        points.axhline(
            nearest,
            linestyle=":",
            color="black",
            label=f"the {len(self.by_embedding)} nearest by embedding are above",
        )
        points.set(
            xlabel="cosine of encodings",
            ylabel="cosine of embeddings",
            title=f"Correlation {self.correlation:.2f}",
        )
        names = [effect.name for effect in self.effects]
        bars.barh(
            names[::-1],
            [effect.change for effect in self.effects][::-1],
            label="mean over replacements by those of other ids",
        )
        bars.set(
            xlabel="movement of the embedding, as a part of its length",
            ylabel="input that is replaced",
            title="Effect of the inputs",
        )
        _plots.legend_below(points, bars)
        return figure


def explain_embedding(
    layer: Any,
    identifier: Any,
    candidates: Any,
    *,
    side_features: Any = None,
    k: int = 10,
) -> EmbeddingExplanation:
    """Compares an id with others before and after the network, and by its inputs.

    Encodings of any two ids are about equally similar. So what is near an id by its
    embedding and not by its encoding was learned; and an untrained network keeps the
    order of the encodings.

    Example:
    >>> layer = DeepHashEmbedding(8, 16, num_hidden_layers=2, num_hashes=64)
    >>> explanation = explain_embedding(layer, 3, np.arange(50), k=5)
    >>> [effect.name for effect in explanation.effects], explanation.num_candidates
    (['id'], 49)

    Args:
      layer: A `DeepHashEmbedding`.
      identifier: The id.
      candidates: Distinct ids [n + 1], the id among them.
      side_features: Of the candidates, if the layer has any: numbers [n + 1, s] or a
        dict of such; with a dict, features have an effect each.
      k: How many of the nearest ids.

    Returns:
      An `EmbeddingExplanation`.

    Raises:
      ValueError: If `identifier` is not among the candidates, these are not distinct or
        no more than k, or the layer is no `DeepHashEmbedding` or its embeddings are not
        finite.

    References:
      Kang et al., KDD 2021, section 3.1 (equal similarity) and 3.3 (side features).
    """
    if not isinstance(layer, DeepHashEmbedding):
        raise ValueError(
            f"`layer` must be a layers.DeepHashEmbedding. Received: {layer!r}."
        )
    ids = _ids.tensor("candidates", candidates)
    keys = hashing.int64_keys(ids).numpy()
    at = _place(ids, identifier, keys)
    _arguments.check_positive_integer("k", k)
    if len(np.unique(keys)) < len(keys) or k >= len(keys):
        raise ValueError(
            f"`candidates` must be distinct and more than k = {k}. Received: "
            f"{len(keys)}, {len(np.unique(keys))} of them distinct."
        )
    embeddings = _embed(layer, ids, side_features)
    _ids.check_finite("layer", embeddings)
    encodings = np.concatenate(
        [
            np.asarray(
                layer.encoding(tf.constant(keys[i : i + _BATCH_SIZE])), np.float64
            )
            for i in range(0, len(keys), _BATCH_SIZE)
        ]
    )
    others = np.delete(np.arange(len(keys)), at)
    hashed = _cosines(encodings[at], encodings)[others]
    learned = _cosines(embeddings[at], embeddings)[others]
    nearest = others[_largest(learned, k)]
    nearest_hashed = others[_largest(hashed, k)]
    effects = [
        _effect(name, layer, at, embeddings, nearest, *replaced)
        for name, replaced in _replacements(ids, at, side_features)
    ]
    names = ids.numpy()
    return EmbeddingExplanation(
        id=_ids.plain(names[at]),
        num_candidates=len(others),
        by_embedding=_neighbors(names, nearest, embeddings, at),
        by_encoding=_neighbors(names, nearest_hashed, encodings, at),
        overlap=len(np.intersect1d(nearest, nearest_hashed)),
        expected_overlap=k * k / len(others),
        correlation=_correlation(hashed, learned),
        effects=tuple(effects),
        similarities=np.stack([hashed, learned]),
    )


def _place(ids: tf.Tensor, identifier: Any, keys: np.ndarray) -> int:
    key = hashing.int64_keys(_ids.tensor("identifier", [identifier])).numpy()[0]
    found = np.flatnonzero(keys == key)
    if not len(found):
        raise ValueError(
            "`identifier` must be one of the `candidates`. Received: "
            f"{_text.name(identifier)}."
        )
    return int(found[0])


def _embed(layer: Any, ids: tf.Tensor, side_features: Any) -> np.ndarray:
    rows = []
    for start in range(0, len(ids), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        features = _take(side_features, part)
        rows.append(np.asarray(layer(ids[part], features, training=False), np.float64))
    return np.concatenate(rows)


def _take(side_features: Any, rows: Any) -> Any:
    if side_features is None:
        return None
    if isinstance(side_features, Mapping):
        return {name: np.asarray(value)[rows] for name, value in side_features.items()}
    return np.asarray(side_features)[rows]


def _replacements(
    ids: tf.Tensor, at: int, side_features: Any
) -> list[tuple[str, tuple[tf.Tensor, Any]]]:
    """Returns inputs in which one is that of other candidates, by its name."""
    others = np.delete(np.arange(len(ids)), at)
    # Spread over the candidates, the same ones every time.
    chosen = others[
        np.linspace(0, len(others) - 1, min(_NUM_REPLACEMENTS, len(others))).astype(int)
    ]
    own = np.full(len(chosen), at)
    same_id = tf.gather(ids, own)
    inputs = [("id", (tf.gather(ids, chosen), _take(side_features, own)))]
    if isinstance(side_features, Mapping):
        for name in side_features:
            mixed = dict(_take(side_features, own))
            mixed[name] = np.asarray(side_features[name])[chosen]
            inputs.append((str(name), (same_id, mixed)))
    elif side_features is not None:
        inputs.append(("side features", (same_id, _take(side_features, chosen))))
    return inputs


def _effect(
    name: str,
    layer: Any,
    at: int,
    embeddings: np.ndarray,
    nearest: np.ndarray,
    ids: tf.Tensor,
    side_features: Any,
) -> InputEffect:
    replaced = _embed(layer, ids, side_features)
    own = embeddings[at]
    change = np.linalg.norm(replaced - own, axis=1).mean() / np.linalg.norm(own)
    others = np.delete(np.arange(len(embeddings)), at)
    kept = [
        len(
            np.intersect1d(
                nearest,
                others[_largest(_cosines(row, embeddings)[others], len(nearest))],
            )
        )
        for row in replaced
    ]
    return InputEffect(name, float(change), float(np.mean(kept) / len(nearest)))


def _cosines(row: np.ndarray, rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(row)
    cosines: np.ndarray = np.divide(
        rows @ row, norms, out=np.zeros(len(rows)), where=norms > 0
    )
    return cosines


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-values, kind="stable")[:k]


def _neighbors(
    names: np.ndarray, places: np.ndarray, rows: np.ndarray, at: int
) -> tuple[Neighbor, ...]:
    cosines = _cosines(rows[at], rows)
    return tuple(Neighbor(_ids.plain(names[i]), float(cosines[i])) for i in places)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
