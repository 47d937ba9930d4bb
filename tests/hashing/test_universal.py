"""The k universal hashes against exact integer arithmetic in Python."""

import random

import numpy as np
import pytest
import tensorflow as tf

import tfrs_dhe.hashing.constants
import tfrs_dhe.hashing.universal
from tfrs_dhe.hashing import mix_keys, uniform, universal_hash

FAMILIES = ["multiply_shift", "carter_wegman"]
NUM_BUCKETS = [2, 3, 10, 10**6, 2**31 - 1]
P = 2**31 - 1
MASK = 2**64 - 1

# Beginnings, ends and middles of the 64 bits, of 32-bit halves and 30-bit limbs.
EDGES = [0, 1, 2, -1, -2, P, P + 1, 2 * P, P**2, -P, 2**63 - 1, -(2**63), 1 - 2**63]
for exponent in (7, 8, 30, 31, 32, 53, 60, 61, 62):
    EDGES += [s * 2**exponent + d for s in (-1, 1) for d in (-1, 0, 1)]


def finalize(z):
    """The finalizer of SplitMix64, written from its publication."""
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) % 2**64
    return z ^ z >> 31


def random_numbers(seed, count):
    """SplitMix64, one state after the other."""
    numbers = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) % 2**64
        numbers.append(finalize(seed))
    return numbers


def grouped(numbers, size):
    return [numbers[i : i + size] for i in range(0, len(numbers), size)]


def expected_hashes(key, num_hashes, num_buckets, hash_family, mix=True, seed=0):
    """The formulas in Python integers, which never overflow."""
    key %= 2**64
    if mix:
        key = finalize(key)
    if hash_family == "multiply_shift":
        high, low = divmod(key, 2**32)
        return [
            ((high + a) * (low + a_prime) + b) % 2**64 // 2**32 * num_buckets // 2**32
            + 1
            for a, a_prime, b in grouped(random_numbers(seed, 3 * num_hashes), 3)
        ]
    x0, x1, x2 = key % 2**30, key // 2**30 % 2**30, key // 2**60
    return [
        ((a0 % (P - 1) + 1) * x0 + a1 % P * x1 + a2 % P * x2 + b % P) % P % num_buckets
        + 1
        for a0, a1, a2, b in grouped(random_numbers(seed, 4 * num_hashes), 4)
    ]


def random_keys(count, seed=0, bits=64):
    generator = random.Random(seed)
    return [generator.getrandbits(bits) for _ in range(count)]


def signed(keys):
    return [(key + 2**63) % 2**64 - 2**63 for key in keys]


def int64(keys):
    return tf.constant(signed(keys), tf.int64)


@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_equals_exact_arithmetic(hash_family, mix, num_buckets):
    keys = EDGES + random_keys(300) + random_keys(100, bits=31)
    # Keys that the paper's formula, or its outer remainder, could mix up.
    keys += [x + shift for x in keys for shift in (P, num_buckets)]
    for seed in (0, 2**63 + 11):
        hashes = universal_hash(
            int64(keys), 6, num_buckets, hash_family=hash_family, mix=mix, seed=seed
        )
        assert hashes.dtype == tf.int32
        assert hashes.numpy().tolist() == [
            expected_hashes(key, 6, num_buckets, hash_family, mix, seed) for key in keys
        ]


@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
def test_carter_wegman_is_the_papers_formula_below_2_to_the_30(num_buckets):
    keys = [0, 1, 2, 2**30 - 1, *random_keys(500, bits=30)]
    constants = grouped(random_numbers(3, 4 * 8), 4)
    a = [numbers[0] % (P - 1) + 1 for numbers in constants]
    b = [numbers[3] % P for numbers in constants]
    hashes = universal_hash(
        int64(keys), 8, num_buckets, hash_family="carter_wegman", mix=False, seed=3
    )
    assert hashes.numpy().tolist() == [
        [(a[i] * x + b[i]) % P % num_buckets + 1 for i in range(8)] for x in keys
    ]


def test_carter_wegman_reduces_every_sum_to_its_remainder(monkeypatch):
    # Sums that random constants meet once in 2^31 times or never: p itself, its
    # multiples, and those for which adding the high bits to the low ones once is
    # not enough. 25 makes the greatest sum of the two, 2^32 + 9, for key 2^64 - 1.
    columns = [(1, 0, 0, 0), (1, 0, 0, P - 1), (2, 0, 0, 1), (1, 1, 1, 1)]
    columns += [(P - 1, P - 1, P - 1, b) for b in (*range(50), P - 2, P - 1)]
    monkeypatch.setattr(
        tfrs_dhe.hashing.constants,
        "carter_wegman_constants",
        lambda seed, k, prime: np.array(columns[:k], np.uint64).T,
    )
    keys = [*EDGES, (P - 1) // 2, *range(-40, 0)]
    for num_buckets in (10, P):
        hashes = universal_hash(
            int64(keys),
            len(columns),
            num_buckets,
            hash_family="carter_wegman",
            mix=False,
        )
        limbs = [(x % 2**30, x // 2**30 % 2**30, x % 2**64 // 2**60) for x in keys]
        assert hashes.numpy().tolist() == [
            [
                (a0 * x0 + a1 * x1 + a2 * x2 + b) % P % num_buckets + 1
                for a0, a1, a2, b in columns
            ]
            for x0, x1, x2 in limbs
        ]


# Written down once and for all: other values would exchange the encodings of all
# ids in every trained model. Four hashes of each of the ids, m = 10^6.
GOLDEN_IDS = [0, 1, -1, 2**40 + 7]
GOLDEN = {
    ("multiply_shift", 0): [
        [138860, 693468, 90744, 489553],
        [945534, 352813, 450488, 819321],
        [783483, 906881, 240563, 447989],
        [615178, 86224, 697338, 635703],
    ],
    ("multiply_shift", 20_260_101): [
        [649038, 503393, 516809, 481944],
        [911216, 215652, 817838, 251225],
        [929051, 964202, 783222, 926517],
        [307058, 423654, 819540, 295792],
    ],
    ("carter_wegman", 0): [
        [494721, 305909, 691898, 570205],
        [798491, 724112, 388053, 383943],
        [394860, 924482, 252145, 346781],
        [70418, 737898, 150836, 649717],
    ],
    ("carter_wegman", 20_260_101): [
        [298379, 18165, 457763, 98144],
        [157565, 976119, 821479, 340483],
        [277818, 734707, 478820, 608153],
        [844480, 564198, 438915, 342294],
    ],
}


@pytest.mark.parametrize(("hash_family", "seed"), GOLDEN)
def test_golden_values(hash_family, seed):
    hashes = universal_hash(
        int64(GOLDEN_IDS), 4, 10**6, hash_family=hash_family, seed=seed
    )
    assert hashes.numpy().tolist() == GOLDEN[hash_family, seed]


def test_defaults():
    hashes = universal_hash(int64(GOLDEN_IDS), 4, 10**6)
    assert hashes.numpy().tolist() == GOLDEN["multiply_shift", 0]


@pytest.mark.parametrize("num_buckets", NUM_BUCKETS)
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_hashes_are_from_1_to_m(hash_family, num_buckets):
    hashes = universal_hash(
        int64(random_keys(2000)), 64, num_buckets, hash_family=hash_family
    ).numpy()
    assert hashes.min() >= 1
    assert hashes.max() <= num_buckets
    if num_buckets <= 10:
        assert set(hashes.ravel().tolist()) == set(range(1, num_buckets + 1))
    else:
        # The ends of the range are reached up to what 128,000 values leave out.
        assert hashes.min() < 1 + num_buckets / 10**4
        assert hashes.max() > num_buckets * (1 - 1 / 10**4)


@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_a_number_has_the_same_hashes_whatever_its_type(hash_family, mix):
    def hash_as(keys, dtype):
        ids = tf.constant(keys, dtype)
        return (
            universal_hash(ids, 8, 1000, hash_family=hash_family, mix=mix)
            .numpy()
            .tolist()
        )

    def expected(keys):
        return [expected_hashes(key, 8, 1000, hash_family, mix) for key in keys]

    for dtype in (tf.int8, tf.int16, tf.int32, tf.int64):
        keys = [0, 1, 17, 127, -1, -2, -128]
        assert hash_as(keys, dtype) == expected(keys)
    for dtype in (tf.uint8, tf.uint16, tf.uint32, tf.uint64):
        keys = [0, 1, 17, 127, 128, 255]
        assert hash_as(keys, dtype) == expected(keys)
    keys = [2**31 - 1, -(2**31), 2**31 - 2]
    assert hash_as(keys, tf.int32) == hash_as(keys, tf.int64) == expected(keys)
    keys = [2**31, 2**32 - 1]
    assert hash_as(keys, tf.uint32) == hash_as(keys, tf.int64) == expected(keys)
    keys = [2**63, 2**64 - 1]
    assert hash_as(keys, tf.uint64) == hash_as(signed(keys), tf.int64)
    assert hash_as(keys, tf.uint64) == expected(keys)


def test_python_and_numpy_values():
    expected = [expected_hashes(key, 2, 10, "multiply_shift") for key in (7, 2**40)]
    for ids in ([7, 2**40], np.array([7, 2**40]), (7, 2**40)):
        assert universal_hash(ids, 2, 10).numpy().tolist() == expected
    result = universal_hash(7, np.int64(2), np.int32(10), seed=np.uint64(0))
    assert result.numpy().tolist() == expected[0]


def undo_xor_shift(z, shift):
    """Solves `y ^ (y >> shift) = z`, from the upper bits to the lower ones."""
    y = z
    for _ in range(64 // shift):
        y = z ^ y >> shift
    return y


def undo_finalizer(z):
    z = undo_xor_shift(z, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    z = undo_xor_shift(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    return undo_xor_shift(z, 30)


def test_mix_keys_is_a_bijection():
    keys = [key % 2**64 for key in EDGES] + random_keys(2000)
    mixed = mix_keys(tf.constant(keys, tf.uint64))
    assert mixed.dtype == tf.uint64
    mixed = mixed.numpy().tolist()
    assert mixed == [finalize(key) for key in keys]
    assert [undo_finalizer(z) for z in mixed] == keys
    # Onto as well: what the inverse makes of any number is mixed to that number.
    sources = tf.constant([undo_finalizer(key) for key in keys], tf.uint64)
    assert mix_keys(sources).numpy().tolist() == keys


def test_mix_keys_gives_the_published_numbers_of_splitmix64():
    # The first outputs for seed 0 finalize one and two golden gammas.
    gamma = 0x9E3779B97F4A7C15
    mixed = mix_keys(tf.constant([gamma, 2 * gamma % 2**64], tf.uint64))
    assert mixed.numpy().tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


@pytest.mark.parametrize("hash_family", FAMILIES)
def test_mixing_removes_the_structure_of_consecutive_ids(hash_family):
    def num_differences(mix):
        hashes = universal_hash(
            tf.range(1000, 5097), 64, 10**6, hash_family=hash_family, mix=mix
        )
        steps = np.diff(hashes.numpy(), axis=0)
        return [np.unique(steps[:, i]).size for i in range(64)]

    # A linear hash adds the same each time, but for a carry, the rounding to m
    # values and a wrap around.
    assert max(num_differences(mix=False)) <= 6
    # 4096 differences of random values; some are equal by chance.
    assert min(num_differences(mix=True)) > 4000


@pytest.mark.parametrize("hash_family", FAMILIES)
@pytest.mark.parametrize("num_hashes", [1, 3, 16])
def test_first_hashes_do_not_depend_on_how_many_follow(hash_family, num_hashes):
    ids = int64(EDGES)
    short = universal_hash(ids, num_hashes, 1000, hash_family=hash_family, seed=9)
    long = universal_hash(ids, 2 * num_hashes, 1000, hash_family=hash_family, seed=9)
    np.testing.assert_array_equal(short, long[:, :num_hashes])


@pytest.mark.parametrize("hash_family", FAMILIES)
def test_another_seed_gives_other_hashes(hash_family):
    ids = tf.range(200)
    seeds = [0, 1, 2, 2**32, 2**63, 2**64 - 1]
    hashes = [
        universal_hash(ids, 64, 10**6, hash_family=hash_family, seed=seed).numpy()
        for seed in seeds
    ]
    for i, first in enumerate(hashes):
        for second in hashes[:i]:
            # 12,800 comparisons, each equal with a probability of 10^-6.
            assert (first == second).sum() <= 3


def test_families_give_unrelated_hashes():
    first, second = (
        universal_hash(tf.range(200), 64, 10**6, hash_family=family).numpy()
        for family in FAMILIES
    )
    assert (first == second).sum() <= 3


def encode(ids, hash_family="multiply_shift", mix=True):
    hashes = universal_hash(ids, 8, 10**6, hash_family=hash_family, mix=mix)
    return {"hashes": hashes, "encoding": uniform(hashes, 10**6)}


MODES = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}
SHAPES = [(), (1,), (6,), (2, 3), (3, 1, 2), (0,), (2, 0, 3)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [tf.int8, tf.int32, tf.int64, tf.uint64])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(mode, dtype, shape):
    size = int(np.prod(shape))
    keys = [1, 2, 99, 0, 127, 64][:size]
    for hash_family in FAMILIES:
        result = MODES[mode](lambda ids, family=hash_family: encode(ids, family))(
            tf.reshape(tf.constant(keys, dtype), shape)
        )
        assert result["hashes"].shape == (*shape, 8)
        assert result["hashes"].dtype == tf.int32
        assert result["encoding"].shape == (*shape, 8)
        assert result["encoding"].dtype == tf.float32
        assert result["hashes"].numpy().reshape(-1, 8).tolist() == [
            expected_hashes(key, 8, 10**6, hash_family) for key in keys
        ]


@pytest.mark.parametrize(
    ("shape", "inferred"),
    [
        ([], [8]),
        ([None], [None, 8]),
        ([3, None], [3, None, 8]),
        (None, None),
    ],
)
def test_inferred_shapes(shape, inferred):
    function = tf.function(encode, input_signature=[tf.TensorSpec(shape, tf.int64)])
    outputs = function.get_concrete_function().structured_outputs
    for output in outputs.values():
        # Shapes with unknown sizes are never equal, but their texts are.
        assert repr(output.shape) == repr(tf.TensorShape(inferred))


@pytest.mark.parametrize("shape", [(), (2,), (1, 2), (0, 3)])
def test_unknown_rank(shape):
    function = tf.function(encode, input_signature=[tf.TensorSpec(None, tf.int64)])
    ids = tf.fill(shape, tf.constant(5, tf.int64))
    expected = expected_hashes(5, 8, 10**6, "multiply_shift")
    np.testing.assert_array_equal(
        function(ids)["hashes"], np.full((*shape, 8), expected)
    )


def export(function, path):
    module = tf.Module()
    module.encode = tf.function(
        function, input_signature=[tf.TensorSpec([None], tf.int64, name="ids")]
    )
    tf.saved_model.save(module, path, signatures=module.encode)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    return lambda ids: serve(ids=ids)


@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_bits_are_the_same_in_every_mode_and_after_export(hash_family, mix, tmp_path):
    keys = EDGES + random_keys(4000)
    expected = [expected_hashes(key, 8, 10**6, hash_family, mix) for key in keys]

    def function(ids):
        return encode(ids, hash_family, mix)

    modes = {name: wrap(function) for name, wrap in MODES.items()}
    modes["exported"] = export(function, str(tmp_path / "1"))
    encoding = function(int64(keys))["encoding"].numpy()
    for name, run in modes.items():
        result = run(int64(keys))
        np.testing.assert_array_equal(result["hashes"], expected, err_msg=name)
        np.testing.assert_array_equal(
            result["encoding"].numpy().view(np.int32),
            encoding.view(np.int32),
            err_msg=name,
        )
        assert run(int64([]))["encoding"].shape == (0, 8)


@pytest.mark.parametrize(
    ("ids", "received"),
    [
        (tf.constant([1.0]), "float32"),
        (tf.constant([1.0], tf.float64), "float64"),
        (tf.constant([1.0], tf.bfloat16), "bfloat16"),
        (tf.constant([True]), "bool"),
        (tf.constant(["a"]), "string"),
        (1.5, "float32"),
    ],
)
def test_ids_that_are_no_integers_are_refused(ids, received):
    with pytest.raises(ValueError, match=rf"`ids` must be integers.*{received}"):
        universal_hash(ids, 2, 10)
    with pytest.raises(ValueError, match=rf"`ids` must be integers.*{received}"):
        tf.function(lambda: universal_hash(ids, 2, 10))()


def test_strings_are_sent_to_the_string_hash():
    with pytest.raises(ValueError, match="cityhash64"):
        universal_hash(tf.constant(["a"]), 2, 10)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("num_hashes", value) for value in (0, -1, 1.5, 2.0, None, "2", True)),
        *(("num_buckets", value) for value in (1, 0, -5, 2**31, 10.0, None, "9", True)),
        *(("hash_family", value) for value in ("md5", "", None, "Multiply_shift")),
        *(("seed", value) for value in (-1, 2**64, None, 1.5, "0", True)),
    ],
)
@pytest.mark.parametrize("hash_family", FAMILIES)
def test_arguments_out_of_range_are_refused(hash_family, argument, value):
    arguments = {"num_hashes": 2, "num_buckets": 10, "hash_family": hash_family}
    with pytest.raises(ValueError, match=rf"`{argument}` must be") as raised:
        universal_hash(tf.constant([1]), **{**arguments, argument: value})
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize("hash_family", FAMILIES)
def test_chosen_hash_functions_are_columns_of_all(hash_family: str) -> None:
    ids = tf.constant([0, -1, 2**62])
    everything = universal_hash(ids, 9, 100, hash_family=hash_family)
    chosen = universal_hash(ids, 9, 100, hash_family=hash_family, hash_indices=[7, 0])
    np.testing.assert_array_equal(chosen, everything.numpy()[:, [7, 0]])
