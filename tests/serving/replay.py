"""Answers the samples of versions as a server does: TensorFlow 1's loader, no package.

    python replay.py VERSION_PATH...

Prints for each version a JSON list of [signature, rows, whether all bits agree].
"""

import base64
import json
import pathlib
import sys

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2


def arrays(texts):
    return {
        name: tf.make_ndarray(tensor_pb2.TensorProto.FromString(base64.b64decode(text)))
        for name, text in texts.items()
    }


def agrees(actual, expected):
    if expected.dtype == object:
        return actual.tolist() == expected.tolist()
    return actual.tobytes() == expected.tobytes()


def replay(version_path):
    v1 = tf.compat.v1
    samples = pathlib.Path(version_path) / "assets.extra" / "tfrs_dhe_samples.jsonl"
    answers = []
    with v1.Session(graph=tf.Graph()) as session:
        meta_graph = v1.saved_model.loader.load(session, ["serve"], version_path)
        for line in samples.read_text().splitlines():
            sample = json.loads(line)
            signature = meta_graph.signature_def[sample["signature"]]
            inputs, expected = arrays(sample["inputs"]), arrays(sample["outputs"])
            assert set(signature.inputs) == set(inputs)
            assert set(signature.outputs) == set(expected)
            actual = session.run(
                {name: info.name for name, info in signature.outputs.items()},
                {signature.inputs[name].name: x for name, x in inputs.items()},
            )
            rows = len(next(iter(inputs.values())))
            same = all(
                actual[name].dtype == x.dtype
                and actual[name].shape == x.shape
                and agrees(actual[name], x)
                for name, x in expected.items()
            )
            answers.append([sample["signature"], rows, same])
    return answers


if __name__ == "__main__":
    json.dump([replay(path) for path in sys.argv[1:]], sys.stdout)
    others = {"tfrs_dhe", "tensorflow_recommenders"}
    assert not others & set(sys.modules)
