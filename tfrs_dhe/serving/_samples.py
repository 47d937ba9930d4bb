"""Requests and the answers to them, kept beside an export to check it by.

The file has a line of JSON for each sample:

```
{"signature": "serving_default", "inputs": {name: tensor}, "outputs": {name: tensor}}
```

where a tensor is a serialized `TensorProto` in base64, which any process that has
TensorFlow can read.
"""

import base64
import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

#: Where the file is in a version's directory. TF Serving ignores it.
SAMPLES_PATH = Path("assets.extra") / "tfrs_dhe_samples.jsonl"


@dataclasses.dataclass(frozen=True)
class Sample:
    """A request to a signature and the answer to it.

    Attributes:
      signature: The name of the signature.
      inputs: Arrays by the names of the inputs; strings are arrays of bytes.
      outputs: Arrays by the names of the outputs.
    """

    signature: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


def write_samples(version_path: Path | str, samples: Iterable[Sample]) -> None:
    """Writes the samples of an export.

    Args:
      version_path: The version's directory.
      samples: What to write.
    """
    path = Path(version_path) / SAMPLES_PATH
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(_line(sample) + "\n" for sample in samples))


def read_samples(version_path: Path | str) -> list[Sample]:
    """Returns the samples of an export, none if it has none.

    Args:
      version_path: The version's directory.
    """
    path = Path(version_path) / SAMPLES_PATH
    if not path.exists():
        return []
    return [_sample(line) for line in path.read_text().splitlines()]


def _line(sample: Sample) -> str:
    return json.dumps(
        {
            "signature": sample.signature,
            "inputs": {name: _text(x) for name, x in sample.inputs.items()},
            "outputs": {name: _text(x) for name, x in sample.outputs.items()},
        }
    )


def _sample(line: str) -> Sample:
    parts = json.loads(line)
    return Sample(
        parts["signature"],
        {name: _array(text) for name, text in parts["inputs"].items()},
        {name: _array(text) for name, text in parts["outputs"].items()},
    )


def _text(array: np.ndarray) -> str:
    proto = tf.make_tensor_proto(array)
    return base64.b64encode(proto.SerializeToString()).decode()


def _array(text: str) -> np.ndarray:
    return tf.make_ndarray(tensor_pb2.TensorProto.FromString(base64.b64decode(text)))
