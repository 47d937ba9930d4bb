from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from tfrs_dhe import mach

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 3, 7)).astype(np.float32) * 3
BUCKETS = RNG.integers(7, size=(5, 3))
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 3.0], np.float32)

every_weight = pytest.mark.parametrize("weights", [None, WEIGHTS])
every_smoothing = pytest.mark.parametrize("smoothing", [0.0, 0.1])


def weighted_sum(losses: np.ndarray, weights: Any) -> float:
    return float((losses * (1.0 if weights is None else weights)).sum())


def check(actual: tf.Tensor, expected: float) -> None:
    assert actual.dtype == tf.float32
    assert actual.shape == []
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def compiled(function: Any) -> Any:
    return tf.function(function, jit_compile=True)


@every_weight
@every_smoothing
def test_multiclass(weights: Any, smoothing: float) -> None:
    """- sum_i w_i sum_r sum_b y_irb log P_irb, with the label smoothed."""
    losses = np.zeros(5)
    for i in range(5):
        for r in range(3):
            label = np.full(7, smoothing / 7)
            label[BUCKETS[i, r]] += 1 - smoothing
            losses[i] -= label @ special.log_softmax(LOGITS[i, r].astype(np.float64))
    arguments = (tf.constant(LOGITS), tf.constant(BUCKETS), weights, smoothing)
    expected = weighted_sum(losses, weights)
    check(mach.multiclass_loss(*arguments), expected)
    check(compiled(lambda: mach.multiclass_loss(*arguments))(), expected)


def test_repetitions_do_not_touch_each_other() -> None:
    """The gradient is what each repetition has alone."""
    logits = tf.constant(LOGITS)

    def gradient(part: slice) -> np.ndarray:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = mach.multiclass_loss(logits[:, part], BUCKETS[:, part])
        return tape.gradient(loss, logits).numpy()[:, part]

    whole = gradient(slice(None))
    for r in range(3):
        alone = gradient(slice(r, r + 1))[:, 0]
        # Exponentials differ in their last bit by their place in memory.
        np.testing.assert_allclose(alone, whole[:, r], rtol=0, atol=2**-23)


LABEL_LISTS = [[0, 4], [2], [], [1, 1, 3], [4]]


def merged_by_hand(table: np.ndarray) -> np.ndarray:
    merged = np.zeros((5, 3, 7))
    for i, labels in enumerate(LABEL_LISTS):
        for label in labels:
            for r in range(3):
                merged[i, r, table[label, r]] = 1
    return merged


def label_forms() -> dict[str, tuple[Any, Any]]:
    """The same lists of labels: ragged, and padded with a mask."""
    table = RNG.integers(7, size=(5, 3))
    table[3] = table[1]  # two labels of an example share all buckets
    ragged = tf.RaggedTensor.from_row_lengths(
        tf.gather(
            table, tf.constant([label for labels in LABEL_LISTS for label in labels])
        ),
        [len(labels) for labels in LABEL_LISTS],
    )
    mask = tf.sequence_mask(ragged.row_lengths(), 3)
    padded = ragged.to_tensor(6, shape=[5, 3, 3])
    return {"table": table, "ragged": (ragged, None), "padded": (padded, mask)}


@pytest.mark.parametrize("form", ["ragged", "padded"])
def test_merged_labels(form: str) -> None:
    forms = label_forms()
    buckets, mask = forms[form]
    expected = merged_by_hand(forms["table"])
    merged = mach.merge_labels(buckets, 7, mask)
    assert merged.dtype == tf.float32
    np.testing.assert_array_equal(merged, expected)
    graph = tf.function(lambda: mach.merge_labels(buckets, 7, mask))
    np.testing.assert_array_equal(graph(), expected)


def test_merged_labels_of_padded_lists_compile() -> None:
    buckets, mask = label_forms()["padded"]
    merge = compiled(lambda b, m: mach.merge_labels(b, 7, m))
    np.testing.assert_array_equal(
        merge(buckets, mask), mach.merge_labels(buckets, 7, mask)
    )


def test_merged_labels_without_mask_all_count() -> None:
    merged = mach.merge_labels(tf.constant([[[0], [1]], [[1], [1]]]), 3)
    assert merged.numpy().tolist() == [[[1, 1, 0]], [[0, 1, 0]]]
    assert mach.merge_labels(tf.zeros([0, 2, 3], tf.int32), 7).shape == [0, 3, 7]


def test_merged_labels_of_a_head_from_ragged_ids() -> None:
    ids = tf.ragged.constant([["a", "b"], [], ["c"]])
    buckets = mach.bucket_ids(ids, 7, 3)
    merged = mach.merge_labels(buckets, 7).numpy()
    a, b, c = mach.bucket_ids(["a", "b", "c"], 7, 3).numpy()
    for r in range(3):
        assert set(np.flatnonzero(merged[0, r])) == {a[r], b[r]}
        assert not merged[1, r].any()
        assert np.flatnonzero(merged[2, r]) == [c[r]]


@every_weight
@every_smoothing
def test_multilabel(weights: Any, smoothing: float) -> None:
    """- sum_i w_i sum_rb y log s(z) + (1 - y) log(1 - s(z))."""
    labels = merged_by_hand(label_forms()["table"])
    y = labels * (1 - smoothing) + smoothing / 2
    z = LOGITS.astype(np.float64)
    losses = -(y * special.log_expit(z) + (1 - y) * special.log_expit(-z))
    arguments = (tf.constant(LOGITS), tf.constant(labels), weights, smoothing)
    expected = weighted_sum(losses.sum(axis=(1, 2)), weights)
    check(mach.multilabel_loss(*arguments), expected)
    check(compiled(lambda: mach.multilabel_loss(*arguments))(), expected)


SCORES = RNG.normal(size=(5, 8)).astype(np.float32) * 2
KEYS = np.array([1, 2, 1, 4, 5, 2, 9, 9])  # 0 and 2 are one class; 5 repeats 1
PROBABILITIES = np.array([0.5, 0.1, 0.5, 0.2, 0.1, 0.1, 0.9, 0.9], np.float32)
MASK = RNG.random((5, 8)) < 0.7


def in_batch_by_hand(
    keys: Any = None,
    probabilities: Any = None,
    temperature: float = 1.0,
    hard: int | None = None,
    mask: Any = None,
    smoothing: float = 0.0,
) -> np.ndarray:
    losses = []
    for i, row in enumerate(SCORES.astype(np.float64) / temperature):
        scores = row - (0 if probabilities is None else np.log(probabilities))
        negatives = [
            scores[j]
            for j in range(8)
            if j != i
            and (keys is None or keys[j] != keys[i])
            and (mask is None or mask[i, j])
        ]
        negatives = sorted(negatives, reverse=True)[:hard]
        columns = np.array([scores[i], *negatives])
        label = np.full(len(columns), smoothing / len(columns))
        label[0] += 1 - smoothing
        losses.append(-label @ special.log_softmax(columns))
    return np.array(losses)


@every_weight
@every_smoothing
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keys": KEYS},
        {"probabilities": PROBABILITIES},
        {"temperature": 0.1},
        {"hard": 2},
        {"hard": 100},
        {"mask": MASK},
        {
            "keys": KEYS,
            "probabilities": PROBABILITIES,
            "temperature": 0.7,
            "hard": 3,
            "mask": MASK,
        },
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_in_batch(options: dict[str, Any], weights: Any, smoothing: float) -> None:
    names = {
        "keys": "candidate_keys",
        "probabilities": "sampling_probability",
        "temperature": "temperature",
        "hard": "num_hard_negatives",
        "mask": "score_mask",
    }
    expected = weighted_sum(in_batch_by_hand(**options, smoothing=smoothing), weights)
    arguments = {names[name]: value for name, value in options.items()}

    def loss() -> tf.Tensor:
        return mach.in_batch_loss(tf.constant(SCORES), weights, smoothing, **arguments)

    check(loss(), expected)
    check(tf.function(loss)(), expected)
    check(compiled(loss)(), expected)


def test_in_batch_gradient_is_finite_where_all_negatives_are_hits() -> None:
    scores = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = mach.in_batch_loss(
            scores, label_smoothing=0.1, candidate_keys=tf.constant([7, 7])
        )
    assert loss.numpy() == 0.0
    assert tape.gradient(loss, scores).numpy().tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_losses_of_half_precision_are_those_of_float32(dtype: tf.DType) -> None:
    """Logits of half precision are exact in float32, and so is the loss of them."""
    logits, scores = tf.cast(LOGITS, dtype), tf.cast(SCORES, dtype)
    labels = tf.constant(merged_by_hand(label_forms()["table"]))

    def losses(x: tf.Tensor, s: tf.Tensor) -> list[tf.Tensor]:
        return [
            mach.multiclass_loss(x, BUCKETS),
            mach.multilabel_loss(x, labels),
            mach.in_batch_loss(s, temperature=0.05),
        ]

    half = losses(logits, scores)
    single = losses(tf.cast(logits, tf.float32), tf.cast(scores, tf.float32))
    for a, b in zip(half, single, strict=True):
        assert a.dtype == tf.float32
        assert a.numpy() == b.numpy()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"`logits` must have the shape.*\(2, 3\)"):
        mach.multiclass_loss(tf.zeros([2, 3]), tf.zeros([2, 3], tf.int32))
    with pytest.raises(ValueError, match=r"`label_smoothing` must be in.*1.0"):
        mach.multilabel_loss(LOGITS, LOGITS, label_smoothing=1.0)
    # [batch, 1] would be spread over [batch, batch].
    with pytest.raises(ValueError, match=r"`sample_weight`.*\(5, 1\)"):
        mach.multiclass_loss(LOGITS, BUCKETS, WEIGHTS[:, np.newaxis])
    # One weight would be taken for all five.
    with pytest.raises(ValueError, match=r"`sample_weight`.*\(5,\).*\(1,\)"):
        mach.multiclass_loss(LOGITS, BUCKETS, WEIGHTS[:1])
    with pytest.raises(ValueError, match=r"`scores` must have the shape"):
        mach.in_batch_loss(tf.zeros([2, 3, 4]))
    with pytest.raises(ValueError, match=r"`temperature` must be positive.*0"):
        mach.in_batch_loss(SCORES, temperature=0.0)
    with pytest.raises(ValueError, match=r"`num_hard_negatives`.*positive.*0"):
        mach.in_batch_loss(SCORES, num_hard_negatives=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be positive"):
        mach.in_batch_loss(SCORES, sampling_probability=np.zeros(8))
    with pytest.raises(tf.errors.InvalidArgumentError, match="a column for each"):
        mach.in_batch_loss(SCORES[:, :4])
    ragged = tf.RaggedTensor.from_row_lengths(np.zeros([1, 2], np.int32), [1])
    with pytest.raises(ValueError, match="`mask` is for padded labels"):
        mach.merge_labels(ragged, 4, mask=tf.constant([[True]]))
    with pytest.raises(ValueError, match=r"`buckets` must have the shape.*\(2, 3\)"):
        mach.merge_labels(tf.zeros([2, 3], tf.int32), 4)


def test_weights_of_another_shape_are_an_error_in_a_graph() -> None:
    unknown = tf.TensorSpec(None, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32), unknown])
    def loss(losses: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        logits = tf.stack([losses, -losses], axis=1)[:, tf.newaxis]
        buckets = tf.zeros_like(losses, tf.int32)[:, tf.newaxis]
        return mach.multiclass_loss(logits, buckets, weights)

    expected = 2 * np.log1p(np.exp(-2)) + 3 * np.log1p(np.exp(-4))
    actual = loss(tf.constant([1.0, 2.0]), tf.constant([2.0, 3.0]))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    for weights in ([2.0], [[2.0, 2.0], [2.0, 2.0]]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="`sample_weight`"):
            loss(tf.constant([1.0, 2.0]), tf.constant(weights))


SQUARE = np.float32([[0, 2, 1], [3, 1, 2], [1, 0, 1]])
OF_LABELS = tf.constant([[[0], [1], [2]], [[3], [0], [1]]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # One key would make all candidates accidental hits, and the loss 0.
        ("candidate_keys", np.array([7])),
        ("candidate_keys", np.array([[7], [8], [9]])),
        ("sampling_probability", np.array([0.1])),
        ("sampling_probability", np.array([[0.1], [0.2], [0.3]])),
        ("score_mask", np.array([True, False, True])),
        ("score_mask", np.array([[True], [False], [True]])),
    ],
)
def test_arguments_are_not_spread_over_scores(name: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must have the shape"):
        mach.in_batch_loss(SQUARE, **{name: value})

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None]),
            tf.TensorSpec([None] * value.ndim, value.dtype),
        ]
    )
    def loss(scores: tf.Tensor, argument: tf.Tensor) -> tf.Tensor:
        return mach.in_batch_loss(scores, **{name: argument})

    # What has the wrong rank is found as the graph is made.
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=f"`{name}`"):
        loss(SQUARE, value)


def masked_labels(mask: tf.Tensor) -> tf.Tensor:
    return mach.merge_labels(OF_LABELS, 4, mask)


def loss_of_labels(labels: tf.Tensor) -> tf.Tensor:
    return mach.multilabel_loss(tf.zeros([2, 1, 4]), labels)


def loss_of_masked_scores(score_mask: tf.Tensor) -> tf.Tensor:
    return mach.in_batch_loss(SQUARE, score_mask=score_mask)


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [
        (masked_labels, "mask", np.array([[True, False, True]] * 2)),
        (loss_of_labels, "labels", np.float32([[[1, 0, 0, 1]]] * 2)),
        (loss_of_masked_scores, "score_mask", np.tri(3, dtype=bool)),
    ],
)
def test_ranks_that_a_graph_does_not_know_are_checked_when_run(
    function: Callable[[tf.Tensor], tf.Tensor], name: str, value: np.ndarray
) -> None:
    """What has fewer or more dimensions would be spread over the others."""
    graph = tf.function(function, input_signature=[tf.TensorSpec(None, value.dtype)])
    np.testing.assert_array_equal(graph(value), function(tf.constant(value)))
    for other in (value[0], value[np.newaxis], value.flat[0]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"`{name}`"):
            graph(other)


@pytest.mark.parametrize("shape", [(3, 2), (1, 1), (6,), (2, 1)])
def test_masks_of_labels_have_their_shape(shape: tuple[int, ...]) -> None:
    """The six values of a transposed mask would be those of other labels."""
    with pytest.raises(ValueError, match=r"`mask` must have the shape \(2, 3\)"):
        mach.merge_labels(OF_LABELS, 4, tf.ones(shape, tf.bool))


def test_labels_of_one_example_are_not_those_of_all() -> None:
    spec = tf.TensorSpec([None, 1, 4])
    loss = tf.function(mach.multilabel_loss, input_signature=[spec, spec])
    with pytest.raises(ValueError, match=r"`labels` must have the shape \(3, 1, 4\)"):
        mach.multilabel_loss(tf.zeros([3, 1, 4]), tf.ones([1, 1, 4]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="shape of `labels`"):
        loss(tf.zeros([3, 1, 4]), tf.ones([1, 1, 4]))
