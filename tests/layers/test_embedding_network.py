"""What an embedding network is given beside its inputs."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.layers import DeepHashEmbedding, EmbeddingNetwork

ROWS = tf.constant([[1.0, 0.0], [5.0, 2.0], [100.0, 100.0]])
SPLITS = [0, 2, 3]
RAGGED = tf.RaggedTensor.from_row_splits(ROWS, SPLITS)


def make(**options: Any) -> Any:
    network = EmbeddingNetwork(
        2,
        hidden_dim=3,
        num_hidden_layers=1,
        momentum=0.0,
        kernel_initializer="ones",
        **options,
    )
    network.build((None, 2))
    return network


def statistics(network: Any) -> np.ndarray:
    normalization = network.normalization_0
    return np.array([normalization.moving_mean, normalization.moving_variance])


@pytest.mark.parametrize(
    "options",
    [
        {"row_weights": tf.constant([1.0, 3.0, 0.0])},
        {"mask": tf.constant([True, True, False])},
    ],
)
def test_what_comes_with_ragged_inputs_counts(options: dict[str, tf.Tensor]) -> None:
    ragged_options = {
        name: tf.RaggedTensor.from_row_splits(value, SPLITS)
        for name, value in options.items()
    }
    network, reference = make(), make()
    outputs = network(RAGGED, training=True, **ragged_options)
    expected = reference(ROWS, training=True, **options)
    np.testing.assert_array_equal(outputs.flat_values, expected)
    np.testing.assert_array_equal(statistics(network), statistics(reference))
    # Sums of a row's numbers: 1 and 7, the second once or three times.
    mean = 5.5 if "row_weights" in options else 4.0
    np.testing.assert_allclose(statistics(network)[0], mean)


def test_what_comes_with_ragged_inputs_has_their_rows() -> None:
    with pytest.raises(ValueError, match="`row_weights` and the inputs must both"):
        make()(RAGGED, training=True, row_weights=tf.ones([3]))
    other = tf.RaggedTensor.from_row_splits(tf.ones([3]), [0, 1, 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="different row lengths"):
        make()(RAGGED, training=True, row_weights=other)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_weights_of_rows_are_not_rounded(dtype: str) -> None:
    # 257 is no number of bfloat16, and float16 has none above 65,504.
    count = 257 if dtype == "mixed_bfloat16" else 70_000
    network = make(dtype=dtype)
    rows = tf.constant([[0.0, 0.0], [0.5, 0.5]])
    outputs = network(rows, training=True, row_weights=tf.constant([count, 1.0]))
    assert outputs.dtype == dtype.removeprefix("mixed_")
    share = 1 / (count + 1)
    expected = [[share] * 3, [share * (1 - share)] * 3]
    # The spacing of float32 below 1 is 6e-8; a count of 256 would be off by 1.5e-5.
    np.testing.assert_allclose(statistics(network), expected, rtol=1e-5, atol=6e-8)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_equal_ids_count_as_often_as_they_occur(dtype: str) -> None:
    count = 259 if dtype == "mixed_bfloat16" else 70_000
    ids = tf.concat([tf.fill([count], 1), [2]], axis=0)
    found = []
    for deduplicate in (False, True):
        layer = DeepHashEmbedding(
            2,
            hidden_dim=3,
            num_hidden_layers=1,
            num_hashes=8,
            momentum=0.0,
            kernel_initializer="ones",
            deduplicate=deduplicate,
            dtype=dtype,
        )
        layer(ids, training=True)
        found.append(statistics(layer.network))
    assert np.isfinite(found).all()
    # A count of 260 or of 65,504 would be off by 4e-3 and more.
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
