"""`TrainingSummaries`: encoder, decoder and bucket loads in TensorBoard."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.analysis import _summaries
from tfrs_dhe.analysis._normalization_inputs import normalization_inputs
from tfrs_dhe.analysis.normalization_drift import batch_norm_drift
from tfrs_dhe.layers import _arguments, _rows
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.mach import aggregation


class TrainingSummaries(keras.callbacks.Callback):
    """Writes summaries for TensorBoard at the end of epochs.

    Of a `DeepHashEmbedding`, on a fixed list of ids:

    - `encoder`: the values of the encoding, and their mean and standard deviation;
    - `decoder`: for each hidden layer what goes into its normalization, the kernel, and
      how far the batch is from the moving statistics, in standard deviations; the
      embeddings and their lengths.

    Of a `MACHHead`, on fixed examples: `buckets`, for each repetition, the share of the
    examples that the head expects in each bucket (its load) and that are there, the
    entropy of the loads in bits (at most log2 B), the heaviest load as a multiple of
    the mean, and the distance of both shares. Loads that run together (a falling
    entropy) are a head that only knows the frequent classes.

    They are written by TensorFlow; the package tensorboard is needed to look at them.

    Example:
    >>> from tempfile import mkdtemp
    >>> layer = DeepHashEmbedding(4, 8, num_hidden_layers=1, num_hashes=16)
    >>> callback = TrainingSummaries(mkdtemp(), layer=layer, ids=["a", "b", "c"])

    Args:
      log_dir: The folder that TensorBoard reads.
      layer: A `DeepHashEmbedding`.
      ids: Ids [n] for it, some hundred.
      side_features: Of the ids, if the layer has any.
      head: A `MACHHead`.
      queries: Its input [n, d], or features for the query model.
      class_ids: True classes of the queries [n].
      query_model: Turns features into the head's input.
      activation: `"softmax"` or `"sigmoid"`, as the head is trained.
      every: In which epochs: every one, every second, ...

    Raises:
      ValueError: If there is neither a layer nor a head, or what belongs to one is
        missing.
    """

    def __init__(
        self,
        log_dir: str | Path,
        *,
        layer: Any = None,
        ids: Any = None,
        side_features: Any = None,
        head: Any = None,
        queries: Any = None,
        class_ids: Any = None,
        query_model: Any = None,
        activation: str = "softmax",
        every: int = 1,
    ) -> None:
        super().__init__()
        if layer is None and head is None:
            raise ValueError(
                "TrainingSummaries needs a `layer` with `ids`, a `head` with `queries` "
                "and `class_ids`, or both. Received neither."
            )
        if layer is not None and not isinstance(layer, DeepHashEmbedding):
            raise ValueError(
                f"`layer` must be a layers.DeepHashEmbedding. Received: {layer!r}."
            )
        if (layer is None) != (ids is None):
            raise ValueError("`layer` and `ids` go together. Received one of them.")
        if (head is None) != (queries is None) or (head is None) != (class_ids is None):
            raise ValueError(
                "`head`, `queries` and `class_ids` go together. Received some of them."
            )
        aggregation.check_aggregation("unbiased_mean", activation)
        self._log_dir = str(log_dir)
        self._layer: Any = layer
        self._side_features = side_features
        self._ids = None if ids is None else _rows.as_id_tensor(ids)
        self._head: Any = head
        self._queries, self._class_ids = queries, class_ids
        self._query_model: Any = query_model
        self._activation = activation
        self._every = _arguments.check_positive_integer("every", every)
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the file of events."""
        self._writer = tf.summary.create_file_writer(self._log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the summaries of an epoch."""
        if (epoch + 1) % self._every:
            return
        with self._writer.as_default(step=epoch):
            if self._layer is not None:
                self._write_layer()
            if self._head is not None:
                self._write_head()
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the file of events."""
        self._writer.close()

    def _write_layer(self) -> None:
        layer, ids, network = self._layer, self._ids, self._layer.network
        keys = _rows.rows_of(ids, layer.compute_id_mask(ids), False).keys
        encodings = tf.cast(layer.encoding(keys), tf.float32)
        _summaries.histogram("encoder/values", encodings)
        _summaries.scalar("encoder/mean", tf.reduce_mean(encodings))
        deviation = tf.math.reduce_std(encodings)
        _summaries.scalar("encoder/standard_deviation", deviation)
        inputs = normalization_inputs(layer, ids, self._side_features)
        for i, rows in enumerate(inputs):
            _summaries.histogram(f"decoder/hidden_{i}/inputs", rows)
            kernel = getattr(network, f"hidden_{i}").kernel
            _summaries.histogram(
                f"decoder/hidden_{i}/kernel", tf.convert_to_tensor(kernel)
            )
        if network.normalization == "batch":
            drift = batch_norm_drift(layer, ids, self._side_features)
            for i, one in enumerate(drift.layers):
                _summaries.scalar(f"decoder/hidden_{i}/shift", one.mean_shift)
        embeddings = tf.cast(
            layer(ids, self._side_features, training=False), tf.float32
        )
        _summaries.histogram("decoder/embeddings", embeddings)
        _summaries.histogram("decoder/lengths", tf.norm(embeddings, axis=-1))

    def _write_head(self) -> None:
        model = self._query_model
        logits = self._head(self._queries if model is None else model(self._queries))
        values = aggregation.bucket_values(logits, "unbiased_mean", self._activation)
        expected = tf.reduce_mean(values, axis=0).numpy().astype(np.float64)
        expected /= expected.sum(axis=1, keepdims=True)
        buckets = self._head.bucket_ids(tf.convert_to_tensor(self._class_ids)).numpy()
        for r, repetition in enumerate(self._head.repetitions):
            loads = expected[r]
            there = np.bincount(buckets[:, r], minlength=len(loads)) / len(buckets)
            held = loads[(loads > 0) | np.isnan(loads)]
            name = f"buckets/repetition_{repetition}"
            _summaries.histogram(f"{name}/expected_load", loads)
            _summaries.histogram(f"{name}/true_load", there)
            _summaries.scalar(f"{name}/entropy_bits", -held @ np.log2(held))
            _summaries.scalar(f"{name}/heaviest", loads.max() * len(loads))
            distance = np.abs(loads - there).sum() / 2
            _summaries.scalar(f"{name}/distance_of_loads", distance)
