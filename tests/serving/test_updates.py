"""A version trained further answers beside the one before, about the same ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.serving import exporting
from tfrs_dhe import layers, models, serving
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers.factorized_top_k import MACH

# Integers: the graph that hashes strings takes seconds to trace.
USERS = tf.constant([17, 2**62, -1], tf.int64)
MOVIES = np.array([5, 6, 7, 8])


class Retrieval(keras.Model):
    """What is trained, and answers with what training must not change as well."""

    def __init__(
        self, seed: int = 0, num_buckets: int = 5, balance: Any = None
    ) -> None:
        super().__init__()
        self.user_model = layers.DeepHashEmbedding(
            4, hidden_dim=8, num_hidden_layers=1, num_hashes=6, seed=seed
        )
        self.head = layers.MACHHead(
            num_buckets, 2, embedding_dim=4, balanced=balance is not None
        )
        if balance is not None:
            self.head.balance(balance)

    def call(self, inputs: Any, training: Any = None) -> Any:
        embeddings = self.user_model(inputs["user_id"], training=training)
        return {
            "logits": self.head(embeddings),
            "encoding": self.user_model.encoding(inputs["user_id"]),
            "buckets": self.head.bucket_ids(inputs["movie_id"]),
        }

    def learn(self) -> None:
        """Takes a few steps of gradient descent."""
        optimizer = keras.optimizers.SGD(0.1)
        for _ in range(3):
            with tf.GradientTape() as tape:
                logits = self.head(self.user_model(USERS, training=True))
                loss = tf.reduce_sum(logits**2)
            weights = self.trainable_weights
            optimizer.apply_gradients(
                zip(tape.gradient(loss, weights), weights, strict=True)
            )


INPUTS = {"user_id": USERS, "movie_id": tf.constant(MOVIES[:3])}


def model(**arguments: Any) -> Retrieval:
    made = Retrieval(**arguments)
    made(INPUTS)
    made.learn()
    return made


def export(servable: Any, base: Path, inputs: Any = INPUTS, **arguments: Any) -> Path:
    return serving.export(servable, base, inputs, warmup=False, **arguments)


class Served:
    """A version as a server holds it."""

    def __init__(self, path: Path) -> None:
        v1 = tf.compat.v1
        graph = tf.Graph()
        self.session = v1.Session(graph=graph)
        with graph.as_default():
            meta_graph = v1.saved_model.loader.load(self.session, ["serve"], str(path))
        self.signature = meta_graph.signature_def["serving_default"]

    def answer(self) -> dict[str, np.ndarray]:
        inputs, outputs = self.signature.inputs, self.signature.outputs
        return self.session.run(
            {name: info.name for name, info in outputs.items()},
            {inputs[name].name: x.numpy() for name, x in INPUTS.items()},
        )


def test_both_versions_answer_and_agree_on_what_ids_are(tmp_path: Path) -> None:
    trained = model()
    before = trained(INPUTS)
    first = export(trained, tmp_path, batch_sizes=(0, 3))
    first_served = Served(first)
    trained.learn()
    second = export(trained, tmp_path, batch_sizes=(0, 3))
    second_served = Served(second)
    assert (first.name, second.name) == ("1", "2")
    # As while a server goes from one to the other.
    first_answer, second_answer = first_served.answer(), second_served.answer()
    for replayed in exporting.replay(first, second):
        assert replayed == [["serving_default", 0, True], ["serving_default", 3, True]]

    # Hashes are the same, and what is learnt from them is not.
    for name in ("encoding", "buckets"):
        np.testing.assert_array_equal(first_answer[name], second_answer[name])
        np.testing.assert_array_equal(first_answer[name], before[name])
    assert np.abs(first_answer["logits"] - second_answer["logits"]).min() > 1e-4
    np.testing.assert_allclose(first_answer["logits"], before["logits"], rtol=1e-5)
    np.testing.assert_allclose(
        second_answer["logits"], trained(INPUTS)["logits"], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("before", "after", "match"),
    [
        ({}, {"seed": 1}, r"servable.user_model.encoding`.*seed was 0 and is 1"),
        ({}, {"num_buckets": 6}, r"servable.head`.*num_buckets was 5 and is 6"),
        ({}, {"balance": MOVIES}, "balanced was False and is True"),
        ({"balance": MOVIES}, {"balance": MOVIES[1:]}, "boundaries was '"),
    ],
)
def test_changed_hashes_are_refused(
    before: Any, after: Any, match: str, tmp_path: Path
) -> None:
    export(model(**before), tmp_path)
    (tmp_path / "3").mkdir()  # Made by something else: it says nothing of hashes.
    with pytest.raises(ValueError, match=match):
        export(model(**after), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"1", "3"}
    assert export(model(**after), tmp_path, allow_changed_hashes=True).name == "4"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (layers.BloomEmbedding, {"num_buckets": 50}),
        (layers.HashingTrickEmbedding, {"num_buckets": 50}),
        (layers.DoubleHashEmbedding, {"num_buckets": 50}),
        (layers.HashEmbedding, {"num_buckets": 50}),
    ],
)
@pytest.mark.parametrize("as_encoding", [False, True])
def test_changed_hashes_of_rows_are_refused(
    kind: Any, arguments: dict[str, Any], as_encoding: bool, tmp_path: Path
) -> None:
    def layer(seed: int) -> Any:
        made = kind(4, **arguments, seed=seed)
        if as_encoding:
            made = layers.DeepHashEmbedding(
                4, hidden_dim=8, num_hidden_layers=1, encoding=made
            )
        made(USERS, training=False)
        return made

    def export_anew(seed: int) -> Path:
        return export(layer(seed), tmp_path, USERS, allow_untrained=True)

    assert export_anew(seed=0).name == "1"
    assert export_anew(seed=0).name == "2"
    with pytest.raises(ValueError, match="seed was 0 and is 1"):
        export_anew(seed=1)


def test_hashes_may_be_given_by_numpy(tmp_path: Path) -> None:
    """The manifest is JSON, which knows no bool of NumPy."""

    def layer(signed: Any) -> Any:
        made = layers.BloomEmbedding(4, np.int64(50), num_hashes=2, signed=signed)
        made(tf.constant(USERS))
        return made

    export(layer(np.True_), tmp_path, USERS)
    export(layer(True), tmp_path, USERS)
    with pytest.raises(ValueError, match="signed was True and is False"):
        export(layer(np.False_), tmp_path, USERS)


@pytest.mark.skipif(not is_legacy, reason="The layer needs TFRS.")
def test_changed_hashes_of_unified_embeddings_are_refused(tmp_path: Path) -> None:
    before, after = (layers.UnifiedEmbedding(4, num_buckets=n) for n in (50, 51))
    before(USERS)
    after(USERS)
    export(before, tmp_path, USERS, allow_untrained=True)
    with pytest.raises(ValueError, match="num_buckets was 50 and is 51"):
        export(after, tmp_path, USERS, allow_untrained=True)


def test_a_new_catalogue_is_no_change(tmp_path: Path) -> None:
    head = layers.MACHHead(5, 2, embedding_dim=4)
    index = MACH(head, k=2, method="score_all").index(MOVIES)
    queries = tf.ones([1, 4])
    paths = [export(index, tmp_path, queries, exclusions=False)]
    index.add([9]).remove([5])
    paths.append(export(index, tmp_path, queries, exclusions=False))
    assert [path.name for path in paths] == ["1", "2"]


@pytest.mark.filterwarnings("ignore:.*repetitions are missing", "ignore:.*buckets")
def test_a_missing_repetition_may_come(tmp_path: Path) -> None:
    heads = [layers.MACHHead(5, 2, repetitions=[r], embedding_dim=4) for r in range(2)]
    queries = tf.ones([1, 4])
    for held in (heads[1:], heads):
        ensemble = models.MACHEnsemble(held)
        index = MACH(ensemble, k=2, method="score_all").index(MOVIES)
        index(queries)
        export(index, tmp_path, queries, exclusions=False)
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}


def test_layers_may_move_and_come_but_not_go(tmp_path: Path) -> None:
    inputs = tf.ones([2, 3])

    def sequence(*hashes: Any) -> Any:
        made = keras.Sequential([*hashes, keras.layers.Dense(2)])
        made(inputs)
        return made

    def hashing(seed: int) -> Any:
        return layers.LocalitySensitiveHash(num_bits=4, seed=seed)

    export(sequence(hashing(seed=3)), tmp_path, inputs)
    wrapped = keras.Sequential([sequence(hashing(seed=3))])
    wrapped(inputs)
    assert export(wrapped, tmp_path, inputs).name == "2"
    with pytest.raises(ValueError, match=r"seed=3.* is gone"):
        export(sequence(hashing(seed=4)), tmp_path, inputs)
