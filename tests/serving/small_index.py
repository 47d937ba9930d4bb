"""An index of a few items, saved with nothing but TensorFlow."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tfrs_dhe.layers import DeepHashEmbedding

ITEMS = [f"item_{i}".encode() for i in range(6)]
# What no JSON can hold as it is.
BINARY_ITEM = b"\xff\x00item"

USER_ID = tf.TensorSpec([None], tf.string, name="user_id")
PROFILE = tf.TensorSpec([None, 2], tf.float32, name="profile")
EXCLUSIONS = tf.TensorSpec([None, None], tf.string, name="exclusions")

Outputs = dict[str, tf.Tensor]


class SmallIndex(tf.Module):
    """Scores all items for users."""

    def __init__(self) -> None:
        super().__init__()
        size = {"hidden_dim": 16, "num_hidden_layers": 2, "num_hashes": 32}
        self._user_model = DeepHashEmbedding(4, **size)
        self._profile_model = DeepHashEmbedding(4, **size)
        self._user_model(tf.constant(["user"]))
        self._profile_model(tf.constant(["user"]), tf.zeros([1, 2]))
        # Of a layer of Keras 3, what is not tracked like this is not restored.
        self.raw = [
            v if isinstance(v, tf.Variable) else v.value
            for v in self._user_model.variables + self._profile_model.variables
        ]
        self._items = tf.Variable(
            tf.random.stateless_normal([len(ITEMS), 4], seed=[1, 2])
        )
        self._ids = tf.Variable(ITEMS)

    def turn_around(self) -> None:
        """Makes the least fitting items the most fitting ones."""
        self._items.assign(-self._items)

    @tf.function(input_signature=[USER_ID])
    def top_k(self, user_id: tf.Tensor) -> Outputs:
        return self._top_k(self._scores(user_id))

    @tf.function(input_signature=[USER_ID, EXCLUSIONS])
    def top_k_with_exclusions(
        self, user_id: tf.Tensor, exclusions: tf.Tensor
    ) -> Outputs:
        excluded = tf.reduce_any(exclusions[:, :, None] == self._ids, axis=1)
        scores = self._scores(user_id)
        return self._top_k(tf.where(excluded, scores.dtype.min, scores))

    @tf.function(input_signature=[USER_ID, PROFILE])
    def embed(self, user_id: tf.Tensor, profile: tf.Tensor) -> Outputs:
        user_id = tf.ensure_shape(user_id, [None])
        profile = tf.ensure_shape(profile, [None, 2])
        return {"embeddings": self._profile_model(user_id, profile)}

    @tf.function(input_signature=[USER_ID])
    def binary_item(self, user_id: tf.Tensor) -> Outputs:
        item = tf.fill(tf.shape(user_id), BINARY_ITEM)
        return {"item": item, "item_bytes": item}

    # A function of its own, so that it is traced once for all signatures.
    @tf.function(input_signature=[tf.TensorSpec(None, tf.string)])
    def _scores(self, user_id: tf.Tensor) -> tf.Tensor:
        # The server takes a tensor of any rank, whatever the signature says.
        users = self._user_model(tf.ensure_shape(user_id, [None]))
        return tf.linalg.matmul(users, self._items, transpose_b=True)

    def _top_k(self, scores: tf.Tensor) -> Outputs:
        scores, positions = tf.math.top_k(scores, 3)
        return {"scores": scores, "ids": tf.gather(self._ids, positions)}


def save(index: SmallIndex, path: Path) -> Path:
    """Saves an index and returns its directory."""
    signatures = {
        "serving_default": index.top_k,
        "with_exclusions": index.top_k_with_exclusions,
        "embeddings": index.embed,
        "binary_item": index.binary_item,
    }
    tf.saved_model.save(index, str(path), signatures=signatures)
    return path


def publish(
    saved: Path,
    base_path: Path,
    version: int,
    warmup: Iterable[predict_pb2.PredictRequest] = (),
) -> Path:
    """Copies a saved index to a version that appears whole; returns its directory."""
    draft = base_path / f"draft-{version}"
    shutil.copytree(saved, draft)
    extra = draft / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for item in warmup:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(item)
            writer.write(log.SerializeToString())
    path = base_path / str(version)
    os.rename(draft, path)
    return path


def request(user_ids: list[str], signature: str = "") -> predict_pb2.PredictRequest:
    """Returns a request to the model `movies`."""
    result = predict_pb2.PredictRequest()
    result.model_spec.name = "movies"
    result.model_spec.signature_name = signature
    result.inputs["user_id"].CopyFrom(tf.make_tensor_proto(user_ids))
    return result
