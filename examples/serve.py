"""Queries a SavedModel, with nothing but TensorFlow.

    python examples/serve.py PATH '{"user_id": ["user_1", "never seen"]}'

Prints the answer as JSON. A stand-in for TF Serving, which takes the same directory
and the same request.
"""

import json
import sys

import tensorflow as tf


def main():
    path, request = sys.argv[1], json.loads(sys.argv[2])
    loaded = tf.saved_model.load(path)
    extra = {"tfrs_dhe", "tensorflow_recommenders"} & set(sys.modules)
    assert not extra, f"{extra} should not be needed to serve"
    signature = loaded.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    answer = signature(
        **{name: tf.constant(x, specs[name].dtype) for name, x in request.items()}
    )
    json.dump(
        {name: output.numpy().tolist() for name, output in answer.items()},
        sys.stdout,
        default=bytes.decode,  # Strings; integers need nothing.
    )


if __name__ == "__main__":
    main()
