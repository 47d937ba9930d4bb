"""Answers requests by the v1 Session loader alone: run by path, never imported.

    python -P session.py VERSION REQUESTS ANSWERS

REQUESTS has a line of JSON for each request, `{"signature": ..., "inputs": ...}` with
tensors as in the recorded samples. ANSWERS gets `{"loaded": seconds}` and then, for
each request, `{"outputs": ..., "seconds": ...}` or `{"error": ...}`.
"""

import base64
import json
import sys
import time
from typing import Any

# The export has to answer without what made it.
_STRANGERS = ("keras", "tf_keras", "tensorflow_recommenders", "tfrs_dhe")


def _forbid_imports() -> None:
    for name in _STRANGERS:
        if name in sys.modules:
            raise RuntimeError(f"{name} is in the process before TensorFlow.")
        # An import of it now fails, also that by TensorFlow, which does without.
        sys.modules[name] = None  # type: ignore[assignment]


def main(version_path: str, requests_path: str, answers_path: str) -> None:
    """Loads a version, answers the requests and writes the answers."""
    _forbid_imports()
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    def decoded(text: str) -> Any:
        proto = tensor_pb2.TensorProto.FromString(base64.b64decode(text))
        return tf.make_ndarray(proto)

    def encoded(array: Any, dtype: int) -> str:
        proto = tf.make_tensor_proto(array, dtype=dtype)
        return base64.b64encode(proto.SerializeToString()).decode()

    def answer(session: Any, signatures: Any, request: Any) -> dict[str, Any]:
        signature = signatures[request["signature"]]
        feeds = {
            signature.inputs[name].name: decoded(text)
            for name, text in request["inputs"].items()
        }
        fetches = {name: info.name for name, info in signature.outputs.items()}
        start = time.perf_counter()
        outputs = session.run(fetches, feeds)
        seconds = time.perf_counter() - start
        tensors = {
            name: encoded(array, signature.outputs[name].dtype)
            for name, array in outputs.items()
        }
        return {"outputs": tensors, "seconds": seconds}

    with (
        tf.compat.v1.Session(graph=tf.Graph()) as session,
        open(requests_path) as requests,
        open(answers_path, "w") as answers,
    ):

        def write(line: dict[str, Any]) -> None:
            answers.write(json.dumps(line) + "\n")
            # What was answered is known even if the next request kills the process.
            answers.flush()

        start = time.perf_counter()
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], version_path)
        write({"loaded": time.perf_counter() - start})
        for line in requests:
            try:
                write(answer(session, loaded.signature_def, json.loads(line)))
            except (tf.errors.OpError, KeyError, TypeError, ValueError) as error:
                write({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main(*sys.argv[1:])
