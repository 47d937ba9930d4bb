"""What is particular to the dict-of-features form."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe.layers import (
    DeepHashEmbedding,
    DeepHashEmbeddingCollection,
    DenseHashEncoding,
)

IDS = {"user": tf.constant(["a", "b", "c"]), "movie": tf.constant([7, 8, 7])}


def make(**options: Any) -> DeepHashEmbeddingCollection:
    defaults = {"hidden_dim": 8, "num_hidden_layers": 2, "num_hashes": 32}
    return DeepHashEmbeddingCollection(["user", "movie"], 4, **{**defaults, **options})


def test_a_network_each_is_a_deep_hash_embedding_each() -> None:
    collection = make(seed=3)
    outputs = collection(IDS, training=False)
    for name, ids in IDS.items():
        layer = DeepHashEmbedding(
            4, 8, num_hidden_layers=2, num_hashes=32, seed=hashing.derive_seed(3, name)
        )
        layer(ids, training=False)
        own = getattr(collection, f"feature_{name}")
        layer.set_weights(own.get_weights())
        np.testing.assert_array_equal(outputs[name], layer(ids, training=False))


def test_shared_network_sees_each_feature_by_its_own_hashes() -> None:
    collection = make(shared_network=True, seed=3)
    outputs = collection(IDS, training=False)
    for name, ids in IDS.items():
        encoding = DenseHashEncoding(32, seed=hashing.derive_seed(3, name))
        expected = collection.shared.network(
            encoding(hashing.int64_keys(ids)), training=False
        )
        np.testing.assert_allclose(outputs[name], expected, rtol=0, atol=1e-6)


def test_same_value_of_two_features_is_not_the_same_input() -> None:
    collection = make(shared_network=True)
    outputs = collection({name: tf.constant([7]) for name in IDS}, training=False)
    assert np.abs(outputs["user"] - outputs["movie"]).max() > 1e-3


def test_shared_network_normalizes_all_features_as_one_batch() -> None:
    collection = make(shared_network=True)
    collection(IDS, training=False)
    network = collection.shared.network
    encodings = [
        DenseHashEncoding(32, seed=hashing.derive_seed(0, name))(
            hashing.int64_keys(IDS[name])
        )
        for name in ("user", "movie")
    ]
    before = collection.get_weights()
    expected = network(tf.concat(encodings, axis=0), training=True)
    collection.set_weights(before)
    outputs = collection(IDS, training=True)
    np.testing.assert_allclose(
        tf.concat([outputs["user"], outputs["movie"]], axis=0), expected, atol=1e-5
    )


def test_lists_and_ragged_features_keep_their_shapes() -> None:
    for shared in (False, True):
        collection = make(shared_network=shared)
        outputs = collection(
            {
                "user": tf.constant(["a", "b"]),
                "movie": tf.ragged.constant([["x"], ["y", "z"]]),
            },
            training=False,
        )
        assert outputs["user"].shape == (2, 4)
        assert outputs["movie"].row_lengths().numpy().tolist() == [1, 2]
        lists = {"user": tf.zeros([2, 5], tf.int64), "movie": tf.zeros([2], tf.int64)}
        outputs = collection(lists, training=False)
        assert outputs["user"].shape == (2, 5, 4)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("arguments", "budget"),
    [
        ({"parameter_budget": 20_000}, 20_000),
        ({"parameter_budget": 0.25, "table_shape": (4000, 4)}, 4000),
    ],
)
def test_budget_is_of_the_whole_collection(
    shared: bool, arguments: dict[str, Any], budget: int
) -> None:
    collection = make(hidden_dim=None, shared_network=shared, **arguments)
    collection(IDS, training=False)
    assert 0.95 * budget <= collection.count_params() <= budget


def test_deduplicate_in_a_shared_network() -> None:
    once = make(shared_network=True, deduplicate=True)
    whole = make(shared_network=True)
    for layer in (once, whole):
        layer(IDS, training=False)
    whole.set_weights(once.get_weights())
    actual, expected = once(IDS, training=True), whole(IDS, training=True)
    for name in IDS:
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "inputs", [{"user": IDS["user"]}, {**IDS, "more": IDS["movie"]}, IDS["user"]]
)
def test_other_features_than_named(inputs: Any) -> None:
    with pytest.raises(ValueError, match="one entry for each of `feature_names`"):
        make()(inputs)


@pytest.mark.parametrize("names", [[], ["a", "a"], "user"])
def test_bad_names(names: Any) -> None:
    with pytest.raises(ValueError, match="`feature_names` must be a list"):
        DeepHashEmbeddingCollection(names, 4, hidden_dim=8)


def test_a_name_that_is_taken() -> None:
    with pytest.raises(ValueError, match="`feature_names` must not have 'names'"):
        DeepHashEmbeddingCollection(["user", "names"], 4, hidden_dim=8)


def test_float_ids() -> None:
    with pytest.raises(ValueError, match="`ids` must be integers"):
        make()({"user": tf.constant([1.0]), "movie": tf.constant([1])})
    with pytest.raises(ValueError, match="`ids` must be integers"):
        make(shared_network=True)({"user": tf.ones([1]), "movie": tf.constant([1])})
