"""CityHash64 of strings of more than 32 bytes, as graph arithmetic in uint64.

Names follow the published algorithm: a..h and u..z are 64-bit words, one per
string of the batch, so each is a tensor of shape [batch_size]. Sums and
products wrap around at 2^64, as the algorithm wants.
"""

from collections.abc import Callable

import tensorflow as tf

#: Up to this many bytes TensorFlow's own Fingerprint op is CityHash64.
SHORT_BYTES = 32
_MEDIUM_BYTES = 64
_CHUNK_BYTES = 64
_WORD_BYTES = 8
_CHUNK_WORDS = _CHUNK_BYTES // _WORD_BYTES

_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F
_PAIR_MULTIPLIER = 0x9DDFEA08EB382D69

_Pair = tuple[tf.Tensor, tf.Tensor]
_State = tuple[tf.Tensor, ...]


# A function of its own, for two reasons: in eager code the loops would otherwise
# run op by op from Python, and, inlined into a branch that is not taken, its
# hundreds of nodes would still cost a short batch their passing over.
@tf.function(
    input_signature=[
        tf.TensorSpec([None], tf.string),
        tf.TensorSpec([None], tf.int64),
    ],
    autograph=False,
    experimental_attributes={"_noinline": True},
)
def replace_long(strings: tf.Tensor, hashes: tf.Tensor) -> tf.Tensor:
    """Replaces the hashes of all strings of more than 32 bytes.

    Args:
      strings: tf.string [batch_size].
      hashes: tf.int64 [batch_size], correct for the strings of up to 32 bytes.

    Returns:
      tf.int64 [batch_size], CityHash64 of every string.
    """
    lengths = tf.strings.length(strings)
    is_chunked = lengths > _MEDIUM_BYTES
    is_medium = tf.logical_and(lengths > SHORT_BYTES, tf.logical_not(is_chunked))
    hashes = _replace_where(is_medium, _hash_medium, strings, lengths, hashes)
    return _replace_where(is_chunked, _hash_chunked, strings, lengths, hashes)


def _replace_where(
    mask: tf.Tensor,
    hash_function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    strings: tf.Tensor,
    lengths: tf.Tensor,
    hashes: tf.Tensor,
) -> tf.Tensor:
    """Hashes the strings under the mask, if any, and leaves the others alone."""

    def replace() -> tf.Tensor:
        rows = tf.where(mask)
        selected = tf.gather_nd(strings, rows)
        new_hashes = hash_function(selected, tf.gather_nd(lengths, rows))
        return tf.tensor_scatter_nd_update(
            hashes, rows, tf.bitcast(new_hashes, tf.int64)
        )

    return tf.cond(tf.reduce_any(mask), replace, lambda: hashes)


def _hash_medium(strings: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """CityHash64 of strings of 33 to 64 bytes, [batch_size] -> uint64."""
    # The first and the last 32 bytes; they overlap where fewer than 64 exist.
    half = _MEDIUM_BYTES // 2
    head = _words(strings, tf.zeros_like(lengths), half)
    tail = _words(strings, lengths - half, half)

    multiplier = _word(_K2) + _as_word(lengths) * _word(2)
    a = head[0] * _word(_K2)
    b = head[1]
    e = head[2] * _word(_K2)
    f = head[3] * _word(9)
    d, c = tail[0], tail[1]
    h = tail[2] * multiplier
    g = tail[3]

    ag = a + g
    ef = e + f
    u = _rotate(ag, 43) + (_rotate(b, 30) + c) * _word(9)
    v = tf.bitwise.bitwise_xor(ag, d) + f + _word(1)
    w = _swap_bytes((u + v) * multiplier) + h
    x = _rotate(ef, 42) + c
    y = (_swap_bytes((v + w) * multiplier) + g) * multiplier
    z = ef + c
    a = _swap_bytes((x + z) * multiplier + y) + b
    return _fold((z + a) * multiplier + d + h) * multiplier + x


def _hash_chunked(strings: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """CityHash64 of strings of more than 64 bytes, [batch_size] -> uint64.

    The last 64 bytes begin the state; then all chunks of 64 bytes are mixed into
    it but the last one, whether that is whole or not.
    """
    state = _initial_state(strings, lengths)
    num_chunks = (lengths - 1) // _CHUNK_BYTES
    x, y, z, v1, v2, w1, w2 = _mix_all_chunks(strings, num_chunks, state)
    return _mix_pair(
        _mix_pair(v1, w1) + _fold(y) * _word(_K1) + z,
        _mix_pair(v2, w2) + x,
    )


def _initial_state(strings: tf.Tensor, lengths: tf.Tensor) -> _State:
    """The state x, y, z, v1, v2, w1, w2 before the first chunk."""
    (first,) = _words(strings, tf.zeros_like(lengths), _WORD_BYTES)
    tail = _words(strings, lengths - _CHUNK_BYTES, _CHUNK_BYTES)
    length = _as_word(lengths)
    x = tail[3]
    y = tail[6] + tail[1]
    z = _mix_pair(tail[2] + length, tail[5])
    v1, v2 = _mix_four(tail[:4], length, z)
    w1, w2 = _mix_four(tail[4:], y + _word(_K1), x)
    return x * _word(_K1) + first, y, z, v1, v2, w1, w2


def _mix_all_chunks(strings: tf.Tensor, num_chunks: tf.Tensor, state: _State) -> _State:
    """Mixes the first `num_chunks` chunks of each string into its state.

    Strings of different lengths share a loop without waiting for each other: a
    string's chunks are taken in runs of 1, 2, 4, ..., one run per bit that is
    set in their number. A run has one length for all strings that take part, so
    nothing is padded or masked, and one long string costs the others nothing.

    Args:
      strings: tf.string [batch_size].
      num_chunks: tf.int32 [batch_size], at least 1.
      state: Seven tensors, tf.uint64 [batch_size].

    Returns:
      The new state.
    """
    most_chunks = tf.reduce_max(num_chunks)

    def has_runs(run: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
        del table
        # `run` has 64 bits, lest doubling it overflow before it is compared.
        return run <= tf.cast(most_chunks, tf.int64)

    def mix_run(run: tf.Tensor, table: tf.Tensor) -> _Pair:
        run_chunks = tf.cast(run, tf.int32)
        takes_part = tf.bitwise.bitwise_and(num_chunks, run_chunks) > 0

        def mix() -> tf.Tensor:
            rows = tf.where(takes_part)
            # The lower bits of the number of chunks are behind this string.
            start = tf.bitwise.bitwise_and(
                tf.gather_nd(num_chunks, rows), run_chunks - 1
            )
            words = _chunk_words(tf.gather_nd(strings, rows), start, run_chunks)
            mixed = _mix_chunks(words, run_chunks, tf.gather_nd(table, rows))
            return tf.tensor_scatter_nd_update(table, rows, mixed)

        return run * 2, tf.cond(tf.reduce_any(takes_part), mix, lambda: table)

    # One row per string, since rows are what a run picks and puts back.
    _, table = tf.while_loop(
        has_runs,
        mix_run,
        (tf.constant(1, tf.int64), tf.stack(state, axis=1)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, len(state)])),
    )
    return tuple(tf.unstack(table, axis=1))


def _chunk_words(
    strings: tf.Tensor, start: tf.Tensor, run_chunks: tf.Tensor
) -> tf.Tensor:
    """Words of `run_chunks` chunks from chunk `start` on.

    Returns:
      tf.uint64 [batch_size, run_chunks, 8].
    """
    num_bytes = tf.fill(tf.shape(start), run_chunks * _CHUNK_BYTES)
    runs = tf.strings.substr(strings, start * _CHUNK_BYTES, num_bytes)
    words = tf.bitcast(tf.io.decode_raw(runs, tf.int64), tf.uint64)
    return tf.reshape(words, [-1, run_chunks, _CHUNK_WORDS])


def _mix_chunks(words: tf.Tensor, run_chunks: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Mixes words [batch_size, run_chunks, 8] into states [batch_size, 7]."""

    def has_chunks(chunk: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        del state
        return chunk < run_chunks

    def mix_chunk(chunk: tf.Tensor, *state: tf.Tensor) -> _State:
        chunk_words = tf.unstack(words[:, chunk], axis=1)
        return (chunk + 1, *_mix_chunk(chunk_words, state))

    _, *mixed = tf.while_loop(
        has_chunks, mix_chunk, (tf.constant(0), *tf.unstack(table, axis=1))
    )
    return tf.stack(mixed, axis=1)


def _mix_chunk(words: list[tf.Tensor], state: _State) -> _State:
    """Mixes the eight words of a chunk, each [batch_size], into the state."""
    x, y, z, v1, v2, w1, w2 = state
    k1 = _word(_K1)
    x = tf.bitwise.bitwise_xor(_rotate(x + y + v1 + words[1], 37) * k1, w2)
    y = _rotate(y + v2 + words[6], 42) * k1 + v1 + words[5]
    z = _rotate(z + w1, 33) * k1
    v1, v2 = _mix_four(words[:4], v2 * k1, x + w1)
    w1, w2 = _mix_four(words[4:], z + w2, y + words[2])
    # x and z change places from chunk to chunk.
    return z, y, x, v1, v2, w1, w2


def _mix_four(words: list[tf.Tensor], a: tf.Tensor, b: tf.Tensor) -> _Pair:
    """Mixes four words (32 bytes) into a pair of seeds."""
    first, second, third, fourth = words
    a += first
    partial = a + second + third
    b = _rotate(b + a + fourth, 21) + _rotate(partial, 44) + a
    return partial + fourth, b


def _mix_pair(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Reduces two words to one."""
    multiplier = _word(_PAIR_MULTIPLIER)
    a = _fold(tf.bitwise.bitwise_xor(first, second) * multiplier)
    b = _fold(tf.bitwise.bitwise_xor(second, a) * multiplier)
    return b * multiplier


def _fold(word: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(word, tf.bitwise.right_shift(word, _word(47)))


def _rotate(word: tf.Tensor, num_bits: int) -> tf.Tensor:
    """Rotates to the right."""
    return tf.bitwise.bitwise_or(
        tf.bitwise.right_shift(word, _word(num_bits)),
        tf.bitwise.left_shift(word, _word(64 - num_bits)),
    )


def _swap_bytes(word: tf.Tensor) -> tf.Tensor:
    """Reverses the order of the eight bytes."""
    # Shifts cost less than a bitcast to bytes and a reversal of the last axis.
    for num_bits, mask in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF)):
        shift, low = _word(num_bits), _word(mask)
        word = tf.bitwise.bitwise_or(
            tf.bitwise.bitwise_and(tf.bitwise.right_shift(word, shift), low),
            tf.bitwise.left_shift(tf.bitwise.bitwise_and(word, low), shift),
        )
    return _rotate(word, 32)


def _words(strings: tf.Tensor, positions: tf.Tensor, num_bytes: int) -> list[tf.Tensor]:
    """Little-endian words of the `num_bytes` bytes from `positions` on."""
    parts = tf.strings.substr(
        strings, positions, tf.fill(tf.shape(positions), num_bytes)
    )
    words = tf.bitcast(tf.io.decode_raw(parts, tf.int64), tf.uint64)
    num_words = num_bytes // _WORD_BYTES
    return tf.unstack(tf.reshape(words, [-1, num_words]), axis=1)


def _as_word(lengths: tf.Tensor) -> tf.Tensor:
    return tf.cast(lengths, tf.uint64)


def _word(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)
