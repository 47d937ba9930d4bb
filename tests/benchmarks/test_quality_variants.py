"""What the study of quality changes in deep hash embeddings."""

import numpy as np
import tensorflow as tf
from variants import VARIANTS


def test_hidden_layers_add_to_what_goes_in() -> None:
    ids = np.arange(50)
    layer = VARIANTS["deep_hash, residual"].make(4, ids, 0, parameter_budget=200_000)
    outputs = layer(ids, training=False)
    network = layer.network
    rows = network.hidden_0(layer.encoding(tf.constant(ids)))
    # Fresh moving statistics: nothing is normalized but for the epsilon.
    scale = (1 + network.normalization_0.epsilon) ** -0.5
    rows = network.activation(scale * rows)
    for number in range(1, network.num_hidden_layers):
        dense = getattr(network, f"hidden_{number}")
        rows += network.activation(scale * dense(rows))
    expected = network.output_layer(rows)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
