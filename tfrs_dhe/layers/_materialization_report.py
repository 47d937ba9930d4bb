"""What rows for ids would cost, and how much of the traffic they would serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import _arguments, _compact_rows
from tfrs_dhe.layers._inference_form import InferenceDeepHashEmbedding
from tfrs_dhe.layers._key_index import KEY_INDEXES
from tfrs_dhe.layers._row_errors import RowErrors
from tfrs_dhe.layers.factorized_top_k import _identifiers

#: How many of the most frequent ids the errors are measured on.
_NUM_MEASURED = 1000


@dataclass(frozen=True)
class Coverage:
    """What a number of rows gives.

    Attributes:
      num_rows: How many ids, the most frequent ones, have a row.
      share: Share of the occurrences that are theirs.
      num_bytes: Memory of rows, scales, keys and the index that finds them, for each
        dtype.
    """

    num_rows: int
    share: float
    num_bytes: dict[str, int]


@dataclass(frozen=True)
class MaterializationReport:
    """What `DeepHashEmbedding.materialization_report` returns; `print` shows it.

    Attributes:
      num_ids: How many distinct ids occur.
      coverage: For numbers of rows, in ascending order.
      errors: For each dtype, that of rows against float32; None if no ids were given.
    """

    num_ids: int
    coverage: tuple[Coverage, ...]
    errors: dict[str, RowErrors] | None

    def __str__(self) -> str:
        dtypes = _compact_rows.ROW_DTYPES
        heads = "".join(f"{dtype + ' MB':>14}" for dtype in dtypes)
        lines = [f"{self.num_ids:,} ids", f"{'rows':>12}{'traffic':>10}{heads}"]
        for row in self.coverage:
            sizes = "".join(f"{row.num_bytes[dtype] / 1e6:>14,.2f}" for dtype in dtypes)
            lines.append(f"{row.num_rows:>12,}{row.share:>10.1%}{sizes}")
        if self.errors is not None:
            lines.append("Error of a row against float32:")
            lines += [f"{dtype:>12}  {error}" for dtype, error in self.errors.items()]
        return "\n".join(lines)


def report(
    network: InferenceDeepHashEmbedding | None,
    output_dim: int,
    ids: Any,
    counts: Any,
    num_rows: Sequence[int] | None,
    key_index: str,
) -> MaterializationReport:
    """Returns the report; see `DeepHashEmbedding.materialization_report`.

    Args:
      network: What computes rows, to measure errors; needed with `ids` alone.
      output_dim: Width of a row.
      ids: Ids, one for each occurrence, or None.
      counts: How often each id occurs, or None.
      num_rows: For how many rows to report, or None.
      key_index: What finds rows.
    """
    _arguments.check_one_of("key_index", key_index, tuple(KEY_INDEXES))
    if (ids is None) == (counts is None):
        received = "none" if ids is None else "both"
        raise ValueError(
            "The traffic is given either by `ids`, one for each occurrence, or by "
            f"`counts`, how often each occurs. Received: {received}."
        )
    if network is not None and network.num_side_features:
        raise ValueError(
            "Errors of rows cannot be measured from `ids` alone where embeddings "
            "depend on side features, of which the layer has "
            f"{network.num_side_features} per id. Give `counts`, how often each id "
            "occurs."
        )
    keys, counts = (None, _checked(counts)) if ids is None else _count(ids)
    order = np.argsort(-counts, kind="stable")
    reached = np.cumsum(counts[order])
    coverage = tuple(
        Coverage(
            n,
            float(reached[n - 1] / reached[-1]),
            {
                dtype: _num_bytes(n, output_dim, dtype, key_index)
                for dtype in _compact_rows.ROW_DTYPES
            },
        )
        for n in _sizes(num_rows, len(counts))
    )
    errors = None
    if keys is not None and network is not None:
        errors = _errors(network, keys[order[:_NUM_MEASURED]])
    return MaterializationReport(len(counts), coverage, errors)


def _checked(counts: Any) -> np.ndarray:
    counts = np.asarray(counts)
    is_counts = counts.ndim == 1 and len(counts) and counts.dtype.kind in "iuf"
    if not is_counts or not np.all(counts >= 0) or not 0 < counts.sum() < np.inf:
        raise ValueError(
            "`counts` must be how often each id occurs: a list of numbers from 0, not "
            f"all of them 0. Received: {counts!r}."
        )
    return counts.astype(np.float64)


def _count(ids: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct keys of ids and how often they occur."""
    batches = ids if isinstance(ids, tf.data.Dataset) else [ids]
    counted = [np.unique(_keys(batch), return_counts=True) for batch in batches]
    keys = np.concatenate([keys for keys, _ in counted] or [np.zeros(0, np.int64)])
    if not len(keys):
        raise ValueError("`ids` must be at least one. Received none.")
    distinct, numbers = np.unique(keys, return_inverse=True)
    of_batches = np.concatenate([counts for _, counts in counted])
    return distinct, np.bincount(numbers, weights=of_batches)


def _keys(batch: Any) -> np.ndarray:
    if isinstance(batch, tf.RaggedTensor):
        batch = batch.flat_values
    elif isinstance(batch, dict | tuple):
        raise ValueError(
            "`ids` as a data set must yield ids, single ones or batches. Received "
            f"elements of type {type(batch).__name__}; choose the feature by `map`."
        )
    return hashing.int64_keys(_identifiers.as_tensor("ids", batch)).numpy().reshape(-1)


def _sizes(num_rows: Sequence[int] | None, num_ids: int) -> list[int]:
    if num_rows is None:
        powers = [10**i for i in range(1, 12) if 10**i < num_ids]
        return [*powers, num_ids]
    wrong = [n for n in num_rows if not 1 <= n <= num_ids]
    if wrong or not len(num_rows):
        raise ValueError(
            f"`num_rows` must be numbers of rows from 1 to that of the ids, {num_ids}. "
            f"Received: {list(num_rows)!r}."
        )
    return sorted({int(n) for n in num_rows})


def _num_bytes(num_rows: int, width: int, dtype: str, key_index: str) -> int:
    bytes_per_key = KEY_INDEXES[key_index].BYTES_PER_KEY
    return num_rows * (_compact_rows.bytes_per_row(width, dtype) + bytes_per_key)


def _errors(
    network: InferenceDeepHashEmbedding, keys: np.ndarray
) -> dict[str, RowErrors]:
    exact = tf.cast(network.embed_keys(tf.constant(keys)), tf.float32).numpy()

    def rounded(dtype: str) -> np.ndarray:
        values, scales = _compact_rows.compact(exact, dtype)
        if scales is not None:
            scales = scales[:, np.newaxis]
        return _compact_rows.restore(values, scales, exact.shape[1], dtype, "float32")

    return {
        dtype: RowErrors.of(rounded(dtype), exact) for dtype in _compact_rows.ROW_DTYPES
    }
