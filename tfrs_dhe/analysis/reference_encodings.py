"""The encodings that a dense hash encoding is compared with."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing

#: From positions [n] in a list of ids and the keys there, both int64, to [n, width].
Encode = Callable[[np.ndarray, np.ndarray], np.ndarray]


def reference_encodings(
    num_ids: int, num_buckets: int, seed: int = 0
) -> dict[str, Encode]:
    """Returns the encodings of the DHE paper's comparison, by name.

    - identity: the position of the id, scaled to [-1, 1]; one number.
    - binary: the binary digits of the position, `ceil(log2 n)` of 0 and 1.
    - one-hot: n numbers, as behind an embedding table.
    - one-hot hash: `num_buckets` numbers, as behind the hashing trick.
    - double one-hot hash: two of these beside one another.

    Example:
    >>> encode = reference_encodings(num_ids=4, num_buckets=2)["binary"]
    >>> encode(np.array([0, 1, 2]), np.array([7, 8, 9])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]

    Args:
      num_ids: n.
      num_buckets: Buckets of a hash.
      seed: Of the hashes.

    Returns:
      Functions from positions and keys [n] to float32 [n, width].

    References:
      Kang et al., KDD 2021, section 3.1 and table 2.
    """
    digits = max(1, int(num_ids - 1).bit_length())

    def identity(positions: np.ndarray, keys: np.ndarray) -> np.ndarray:
        scaled = 2 * positions / max(num_ids - 1, 1) - 1
        return scaled.astype(np.float64)[:, np.newaxis]

    def binary(positions: np.ndarray, keys: np.ndarray) -> np.ndarray:
        return (positions[:, np.newaxis] >> np.arange(digits) & 1).astype(np.float32)

    def one_hot(positions: np.ndarray, keys: np.ndarray) -> np.ndarray:
        return _one_hot(positions, num_ids)

    def hashed(num_hashes: int) -> Encode:
        def encode(positions: np.ndarray, keys: np.ndarray) -> np.ndarray:
            hashes = hashing.universal_hash(
                tf.constant(keys), num_hashes, num_buckets, seed=seed
            ).numpy()
            rows = [_one_hot(column - 1, num_buckets) for column in hashes.T]
            return np.concatenate(rows, axis=1)

        return encode

    return {
        "identity": identity,
        "binary": binary,
        "one-hot": one_hot,
        "one-hot hash": hashed(1),
        "double one-hot hash": hashed(2),
    }


def _one_hot(places: np.ndarray, width: int) -> np.ndarray:
    rows = np.zeros((len(places), width), np.float32)
    rows[np.arange(len(places)), places] = 1
    return rows
