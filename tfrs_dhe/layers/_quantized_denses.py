"""The quantization of Dense layers in the files of the layer that holds them (Keras 3).

Keras writes how a Dense layer is quantized into its own config alone, which is not in
a file where another layer makes it. That layer then makes it with floating-point
weights, and Keras refuses the integers of the file for them.
"""

import json
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from tfrs_dhe._keras import keras

_KEY = "quantization_of_dense_layers"


def are_in(store: Mapping[str, Any]) -> bool:
    """Whether layers of the file were quantized."""
    return _KEY in store


def save(layers: Mapping[str, Any], store: MutableMapping[str, Any]) -> None:
    """Writes the quantization of the layers, by name; nothing if there is none."""
    of_layers = {
        name: {
            "mode": layer.quantization_mode,
            # Of Keras 3.12 and later.
            "config": keras.saving.serialize_keras_object(
                getattr(layer, "quantization_config", None)
            ),
        }
        for name, layer in layers.items()
        # Legacy Keras knows no quantization.
        if getattr(layer, "quantization_mode", None) is not None
    }
    if of_layers:
        # Files of weights hold arrays alone.
        store[_KEY] = np.frombuffer(json.dumps(of_layers).encode(), np.uint8)


def restore(layers: Mapping[str, Any], store: Mapping[str, Any]) -> None:
    """Quantizes the layers as those of the file; Keras then reads their integers."""
    of_layers = json.loads(np.asarray(store[_KEY], np.uint8).tobytes())
    for name, how in of_layers.items():
        # Keras may read a layer more than once.
        if layers[name].quantization_mode == how["mode"]:
            continue
        config = keras.saving.deserialize_keras_object(how["config"])
        options = {} if config is None else {"config": config}
        layers[name].quantize(how["mode"], **options)
