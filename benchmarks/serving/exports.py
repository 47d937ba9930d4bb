"""The models whose latency is measured: untrained, of the sizes that are served.

Weights do not matter to the time of an embedding. For the certified search of MACH
they do, so heads score as trained ones would: see `peaky_kernel`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import layers
from tfrs_dhe._keras import keras, tfrs
from tfrs_dhe.layers import factorized_top_k

NUM_IDS = 100_000
OUTPUT_DIM = 32

QUERY_DIM = 64
NUM_RESULTS = 10
NUM_REPETITIONS = 16
CLASSES_PER_BUCKET = 100
#: As the peaky queries of `benchmarks/speed/mach_decoding.py`.
NUM_LIKELY = 50


@dataclasses.dataclass(frozen=True)
class Model:
    """A model to be exported and measured.

    Attributes:
      group: What it is to be compared with.
      name: The name in tables.
      servable: The layer or index.
      inputs: Returns the inputs of batches of a given size, by what they are.
    """

    group: str
    name: str
    servable: Any
    inputs: Mapping[str, Callable[[int], dict[str, np.ndarray]]]


def user_ids(batch_size: int) -> dict[str, np.ndarray]:
    """Returns ids that are known."""
    numbers = np.random.default_rng(0).integers(NUM_IDS, size=batch_size)
    return {"user_id": np.array([f"user_{i}" for i in numbers], object)}


def new_ids(batch_size: int) -> dict[str, np.ndarray]:
    """Returns ids that are unknown."""
    return {"user_id": np.array([f"new_{i}" for i in range(batch_size)], object)}


def queries(batch_size: int) -> dict[str, np.ndarray]:
    """Returns unit vectors, each of which picks a column of `peaky_kernel`."""
    rows = np.arange(batch_size) % QUERY_DIM
    return {"queries": np.eye(QUERY_DIM, dtype=np.float32)[rows]}


def embedding_models() -> Iterator[Model]:
    """Yields a table, deep hash embeddings and what serves them faster."""
    ids = [f"user_{i}" for i in range(NUM_IDS)]
    table = keras.Sequential(
        [
            keras.layers.StringLookup(vocabulary=ids),
            keras.layers.Embedding(NUM_IDS + 1, OUTPUT_DIM),
        ]
    )
    small = layers.DeepHashEmbedding(OUTPUT_DIM, hidden_dim=128, num_hidden_layers=3)
    large = layers.DeepHashEmbedding(OUTPUT_DIM, hidden_dim=1024, num_hidden_layers=5)
    embeddings = {"table": table, "DHE, 3 x 128": small, "DHE, 5 x 1024": large}
    for layer in embeddings.values():
        layer(tf.constant(ids[:1]))
    for name, layer in (("DHE, 3 x 128", small), ("DHE, 5 x 1024", large)):
        embeddings[f"{name}, inference form"] = layer.inference_form()
    materialized = "DHE, 3 x 128, materialized"
    embeddings[materialized] = small.materialize(ids)
    for name, layer in embeddings.items():
        inputs = {"": user_ids}
        if name == materialized:
            inputs[", new ids"] = new_ids
        yield Model("embedding", name, layer, inputs)


def index_models(num_classes: int) -> Iterator[Model]:
    """Yields indexes of a catalogue: BruteForce, and MACH by both decoders."""
    group = f"top {NUM_RESULTS} of {num_classes:,}"
    items = np.array([f"item_{i}" for i in range(num_classes)], object)
    embeddings = tf.random.stateless_normal([num_classes, QUERY_DIM], seed=[0, 0])
    brute_force = tfrs.layers.factorized_top_k.BruteForce(k=NUM_RESULTS)
    yield Model(
        group, "BruteForce", brute_force.index(embeddings, items), {"": queries}
    )
    num_buckets = num_classes // CLASSES_PER_BUCKET
    head = layers.MACHHead(
        num_buckets, NUM_REPETITIONS, embedding_dim=QUERY_DIM, use_bias=False
    )
    head.kernel.assign(peaky_kernel(head.bucket_table(items), num_buckets))
    mach = factorized_top_k.MACH(head, k=NUM_RESULTS).index(items)
    for method in ("score_all", "certified"):
        mach.method = method
        yield Model(group, f"MACH, {method}", mach, {"": queries})


def peaky_kernel(table: np.ndarray, num_buckets: int) -> np.ndarray:
    """Returns weights [R * B, d] whose columns are the logits of peaky queries.

    A query's probabilities, 70 % of them on a few classes by Zipf's law and the rest
    on all, unevenly, are pushed through the hash functions; the logits have noise.

    Args:
      table: The buckets of the classes [R, K].
      num_buckets: B.
    """
    generator = np.random.default_rng(0)
    zipf = 1 / np.arange(1, NUM_LIKELY + 1)
    columns = []
    for _ in range(QUERY_DIM):
        p = np.exp(generator.normal(size=table.shape[1]))
        p *= 0.3 / p.sum()
        likely = generator.choice(len(p), NUM_LIKELY, replace=False)
        p[likely] += 0.7 * zipf / zipf.sum()
        merged = np.stack([np.bincount(row, p, num_buckets) for row in table])
        noise = generator.normal(0, 0.5, merged.shape)
        columns.append(np.ravel(np.log(np.maximum(merged, 1e-12)) + noise))
    return np.stack(columns, axis=1).astype(np.float32)
