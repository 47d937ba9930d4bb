"""A small export that serves, and what is needed to break it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfrs_dhe.serving._samples import Sample, write_samples

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
USER_ID = tf.TensorSpec([None], tf.string, "user_id")
TITLES = ["/movies/1", "/movies/2", "/movies/3"]


class Tower(tf.Module):
    """A model with all that has to be followed: tables, branches, loops, datasets."""

    def __init__(self, vocabulary: Path):
        super().__init__()
        initializer = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.users = tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=1)
        self.titles = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.range(3, dtype=tf.int64), tf.constant(TITLES)
            ),
            default_value="",
        )
        self.rows = tf.Variable([[3.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]])
        self.branch = tf.Variable(2.0)
        self.loop = tf.Variable(0.5)
        self.mapped = tf.Variable(0.25)

    @tf.function(input_signature=[USER_ID])
    def serve(self, user_id: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.gather(self.rows, self.users.lookup(user_id))
        rows = tf.cond(
            tf.size(user_id) > 1, lambda: rows * self.branch, lambda: rows + self.branch
        )
        _, rows = tf.while_loop(
            lambda i, _: i < 2,
            lambda i, x: (i + 1, tf.ensure_shape(x + self.loop, [None, 3])),
            (0, rows),
        )
        added = tf.data.Dataset.range(2).map(
            lambda i: tf.cast(i, tf.float32) * self.mapped
        )
        rows += added.reduce(0.0, lambda total, x: total + x)
        scores, positions = tf.math.top_k(rows, 2)
        return {
            "scores": scores,
            "ids": self.titles.lookup(tf.cast(positions, tf.int64)),
        }


def save(module: tf.Module, path: Path, **signatures: Any) -> Path:
    """Writes a SavedModel; `serve` of the module is its default signature."""
    functions = signatures or {"serving_default": module.serve}
    tf.saved_model.save(module, str(path), signatures=functions)
    return path


def write_sound(folder: Path) -> Path:
    """Writes a version that serves, with samples and warmup records."""
    vocabulary = folder / "users.txt"
    vocabulary.write_text("ann\nbob\n")
    path = save(Tower(vocabulary), folder / "1")
    # What it was made of is gone, as on another machine.
    vocabulary.unlink()
    requests = [np.array(ids, object) for ids in (["ann"], ["bob", "ann", "eve"], [])]
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    samples = []
    for ids in requests:
        answer = serve(user_id=tf.constant(ids, tf.string))
        outputs = {name: tensor.numpy() for name, tensor in answer.items()}
        samples.append(Sample("serving_default", {"user_id": ids}, outputs))
    write_samples(path, samples)
    write_warmup(path, [predict_log({"user_id": tf.constant(["ann", "bob"])})])
    return path


def predict_log(inputs: Mapping[str, Any], signature: str = "serving_default") -> Any:
    """Returns a warmup record that asks a signature."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    for name, value in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log


def write_warmup(path: Path, logs: Iterable[Any]) -> None:
    """Writes warmup records into a version."""
    file = path / WARMUP
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Changes the graph of a version."""
    file = path / "saved_model.pb"
    parsed = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(parsed.meta_graphs[0])
    file.write_bytes(parsed.SerializeToString())


def ask_v1(path: Path, batch: Sequence[Any] = ("ann",)) -> dict[str, np.ndarray]:
    """Asks the default signature of a version as a server does: by its graph."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path))
        signature = loaded.signature_def["serving_default"]
        (name,) = (info.name for info in signature.inputs.values())
        fetches = {key: info.name for key, info in signature.outputs.items()}
        return session.run(fetches, {name: list(batch)})
