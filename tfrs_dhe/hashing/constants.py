"""Hash constants from a seed, the same on every machine and version for ever.

Random generators of frameworks change between versions, and TensorFlow's own
stateless one differs between eager and XLA. A model whose hash constants moved
would silently exchange the embeddings of all ids, so they come from SplitMix64
in exact integer arithmetic.
"""

import functools
import hashlib

import numpy as np

MASK_64 = 0xFFFF_FFFF_FFFF_FFFF

#: Increment and finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable
#: pseudorandom number generators", OOPSLA 2014, figure 16 with variant 13 of
#: Stafford's mixers).
GOLDEN_GAMMA = 0x9E37_79B9_7F4A_7C15
MIX_SHIFTS = (30, 27, 31)
MIX_MULTIPLIERS = (0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB)


def splitmix64(seed: int, count: int) -> list[int]:
    """Returns the first `count` outputs of SplitMix64 started at `seed`.

    Example:
    >>> [hex(x) for x in splitmix64(0, 2)]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']

    Args:
      seed: Start state, an integer in [0, 2^64).
      count: How many numbers to return.

    Returns:
      `count` integers in [0, 2^64).
    """
    seed = check_seed(seed)
    numbers = []
    for i in range(1, count + 1):
        z = (seed + i * GOLDEN_GAMMA) & MASK_64
        z = ((z ^ (z >> MIX_SHIFTS[0])) * MIX_MULTIPLIERS[0]) & MASK_64
        z = ((z ^ (z >> MIX_SHIFTS[1])) * MIX_MULTIPLIERS[1]) & MASK_64
        numbers.append(z ^ (z >> MIX_SHIFTS[2]))
    return numbers


def derive_seed(seed: int, name: str) -> int:
    """Returns a seed for the part of a model that is called `name`.

    Features that share a network, or repetitions that must be independent, need
    unrelated constants that follow from one seed.

    Example:
    >>> derive_seed(0, "user_id") == derive_seed(0, "movie_id")
    False

    Args:
      seed: The common seed, an integer in [0, 2^64).
      name: Any text.

    Returns:
      An integer in [0, 2^64).
    """
    seed = check_seed(seed)
    digest = hashlib.sha256(seed.to_bytes(8, "little") + name.encode()).digest()
    return int.from_bytes(digest[:8], "little")


def is_integer(value: object) -> bool:
    """Returns whether `value` is a Python or NumPy integer; bools are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_seed(seed: int) -> int:
    """Returns `seed`, or raises a ValueError if it is not an integer in [0, 2^64)."""
    if not is_integer(seed) or not 0 <= seed <= MASK_64:
        raise ValueError(
            "`seed` must be an integer from 0 to 2**64 - 1. "
            f"Received: seed={seed!r}. The hash functions follow from it, so it "
            "cannot be None."
        )
    return int(seed)


def _frozen(array: np.ndarray) -> np.ndarray:
    """Returns a read-only copy: the callers' results are cached and shared."""
    array = array.copy()
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=256)
def multiply_shift_constants(seed: int, num_hashes: int) -> np.ndarray:
    """Returns the constants of pair-multiply-shift hashes.

    Args:
      seed: Integer in [0, 2^64).
      num_hashes: k.

    Returns:
      uint64 [3, k]: rows a, a', b, uniform on [0, 2^64).
    """
    numbers = splitmix64(seed, 3 * num_hashes)
    # Hash i takes its three numbers together, so the first k of a longer list
    # of hashes are the same hashes.
    return _frozen(np.array(numbers, dtype=np.uint64).reshape(num_hashes, 3).T)


@functools.lru_cache(maxsize=256)
def carter_wegman_constants(seed: int, num_hashes: int, prime: int) -> np.ndarray:
    """Returns the constants of Carter-Wegman hashes over three limbs.

    Args:
      seed: Integer in [0, 2^64).
      num_hashes: k.
      prime: p.

    Returns:
      uint64 [4, k]: rows a_0 in [1, p), and a_1, a_2, b in [0, p). A zero a_0
      would make a hash blind to every key below 2^30.
    """
    numbers = np.array(splitmix64(seed, 4 * num_hashes), dtype=object)
    a0, a1, a2, b = numbers.reshape(num_hashes, 4).T
    # A 64-bit number modulo a 31-bit one is uniform up to 2^-33.
    rows = [a0 % (prime - 1) + 1, a1 % prime, a2 % prime, b % prime]
    return _frozen(np.array(rows, dtype=np.uint64))
