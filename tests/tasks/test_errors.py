"""Errors name the argument, what came and what to do."""

from typing import Any

import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import MACHHead
from tfrs_dhe.tasks import MACHRetrieval

QUERIES = tf.ones([2, 3])
IDS = tf.constant(["a", "b"])


def make_task(**options: Any) -> Any:
    return MACHRetrieval(MACHHead(4, 2), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "sigmoid"}, "`objective` must be one of .*'sigmoid'"),
        ({"loss": "in_batch"}, "chosen by `objective`. Received: 'in_batch'"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` .*Received: 1\.0"),
        ({"temperature": 0}, "`temperature` must be positive. Received: 0"),
        (
            {"num_hard_negatives": 0, "objective": "in_batch"},
            "`num_hard_negatives` must be at least 1.*Received: 0",
        ),
        (
            {"loss": keras.losses.CategoricalCrossentropy(), "label_smoothing": 0.1},
            "give it to that one",
        ),
        ({"metrics": keras.metrics.Mean()}, "belong in `batch_metrics`.*Mean"),
        ({"num_hard_negatives": 3}, "`num_hard_negatives` has no meaning for"),
        ({"remove_accidental_hits": True}, "only for 'in_batch'. Received: .*=True"),
        ({"mask_value": ""}, "only for 'multilabel'"),
        (
            {"temperature": 0.5, "objective": "multilabel"},
            "only for 'softmax' and 'in_batch'",
        ),
    ],
)
def test_constructor(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**options)


def test_head_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"`head` must be a layers.MACHHead"):
        MACHRetrieval(keras.layers.Dense(8))


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({}, {"candidate_embeddings": QUERIES}, r"task\(query_embeddings, candidate_"),
        ({}, {"candidate_ids": None}, "`candidate_ids` must be given"),
        (
            {"objective": "multilabel"},
            {"candidate_ids": tf.SparseTensor([[0, 0]], ["a"], [2, 1])},
            "`candidate_ids` must be dense or ragged",
        ),
        ({}, {"query_embeddings": tf.ones([2, 2, 3])}, r"\[batch, d\].*\(2, 2, 3\)"),
        ({}, {"candidate_ids": IDS[:, tf.newaxis]}, r"\[batch\] for .*\(2, 1\)"),
        ({}, {"candidate_ids": tf.ones([2])}, "Received dtype float32"),
        ({}, {"sample_weight": tf.ones([2, 1])}, "`sample_weight`"),
        # A loss of the user's would spread the one weight, too.
        (
            {"loss": keras.losses.CategoricalCrossentropy(reduction="sum")},
            {"sample_weight": tf.ones([1])},
            r"`sample_weight`.*\(2,\).*\(1,\)",
        ),
        (
            {},
            {"candidate_sampling_probability": tf.ones([2])},
            "`candidate_sampling_probability` has no meaning for objective='softmax'",
        ),
        ({}, {"score_mask": tf.ones([2, 2], tf.bool)}, "`score_mask` has no meaning"),
        ({}, {"candidate_mask": tf.ones([2, 2])}, "`candidate_mask` has no meaning"),
        ({"objective": "multilabel"}, {}, r"\[batch, labels\].*\(2,\)"),
        (
            {"objective": "multilabel", "mask_value": 0},
            {"candidate_ids": IDS[:, tf.newaxis]},
            "`mask_value` must be of the type of the ids.*=0 .*dtype string",
        ),
        (
            {"objective": "multilabel", "mask_value": ""},
            {"candidate_ids": tf.ragged.constant([["a"], []])},
            "no padding",
        ),
        # One mask would be that of all examples.
        (
            {"objective": "multilabel", "mask_value": ""},
            {
                "candidate_ids": IDS[:, tf.newaxis],
                "candidate_mask": tf.constant([[True]]),
            },
            r"`candidate_mask` must have the shape \(2, 1\)",
        ),
        (
            {"objective": "in_batch"},
            {"candidate_sampling_probability": tf.ones([2, 1])},
            r"\[num_candidates\]. Received shape \(2, 1\)",
        ),
        (
            {"loss": keras.losses.CategoricalCrossentropy(reduction="none")},
            {},
            r"`loss` must return a scalar.*\(4,\)",
        ),
    ],
)
def test_call(options: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    arguments = {"query_embeddings": QUERIES, "candidate_ids": IDS, **arguments}
    with pytest.raises(ValueError, match=message):
        make_task(**options)(**arguments)


@pytest.mark.parametrize(
    ("objective", "ids"),
    [
        ("softmax", tf.constant(["a"])),
        ("softmax", tf.constant(["a", "b", "c"])),
        ("multilabel", tf.constant([["a"], ["b"], ["c"]])),
        ("multilabel", tf.ragged.constant([["a", "b"]])),
        ("in_batch", tf.constant(["a"])),
    ],
)
def test_ids_of_another_number(objective: str, ids: Any) -> None:
    task = make_task(objective=objective)

    def loss(queries: tf.Tensor, ids: Any) -> tf.Tensor:
        return task(queries, candidate_ids=ids)

    # A graph that knows the size of its batch finds it as it is made.
    for function in (loss, tf.function(loss)):
        with pytest.raises(ValueError, match="`candidate_ids` needs"):
            function(QUERIES, ids)
    of_any_size = tf.function(loss, input_signature=specs_of_any_size(QUERIES, ids))
    with pytest.raises(tf.errors.InvalidArgumentError, match="`candidate_ids` needs"):
        of_any_size(QUERIES, ids)


def specs_of_any_size(queries: tf.Tensor, ids: Any) -> list[tf.TypeSpec]:
    shape = [None] * ids.shape.rank
    spec = tf.RaggedTensorSpec if isinstance(ids, tf.RaggedTensor) else tf.TensorSpec
    return [tf.TensorSpec([None, queries.shape[1]]), spec(shape, ids.dtype)]


@pytest.mark.parametrize("objective", ["softmax", "multilabel"])
def test_false_and_none_are_not_set(objective: str) -> None:
    """A call written for all objectives may say so."""
    ids = IDS if objective == "softmax" else IDS[:, tf.newaxis]
    make_task(objective=objective, remove_accidental_hits=False)(
        QUERIES, None, None, None, ids, True, True, None
    )
