"""Exports of the indexes and models of TFRS."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from tests.serving import exporting
from tests.serving.exporting import Case, found
from tfrs_dhe import layers, serving

brute_force = tfrs.layers.factorized_top_k.BruteForce
streaming = tfrs.layers.factorized_top_k.Streaming

USERS = ["user_1", "", "one that is longer than 32 bytes, so hashed otherwise"]
MOVIES = tf.constant(["alien", "brazil", "casablanca", "dune", "eraserhead"])
#: Products of small integers are exact, in whatever order they are summed.
CANDIDATES = tf.constant([[1, 2], [3, -1], [0, 4], [3, -1], [2, 2]], tf.float32)


def embedding() -> Any:
    return layers.DeepHashEmbedding(
        2, hidden_dim=8, num_hidden_layers=1, num_hashes=16, normalization="layer"
    )


def index_answers(index: Any, name: str, embed: Any = None) -> dict[str, Any]:
    answers: dict[str, Callable[..., Any]] = {
        "serving_default": lambda **x: found(index(x[name])),
        "with_exclusions": lambda **x: found(
            index.query_with_exclusions(x[name], x["exclusions"])
        ),
    }
    if embed is not None:
        answers["embeddings"] = lambda **x: {"embeddings": embed(x[name])}
    return answers


def of_strings() -> Case:
    embed = embedding()
    index = brute_force(embed, k=3).index(CANDIDATES, MOVIES)
    index(tf.constant(USERS))
    answers = index_answers(index, "user_id", embed)
    return Case(index, USERS, answers, {"input_name": "user_id"})


def of_positions() -> Case:
    index = brute_force(k=2).index(CANDIDATES)
    return Case(index, [[1.0, 2.0], [-1.0, 0.0]], index_answers(index, "inputs"))


def of_stream() -> Case:
    candidates = tf.data.Dataset.from_tensor_slices((MOVIES, CANDIDATES)).batch(2)
    index = streaming(k=3).index_from_dataset(candidates)
    return Case(index, [[1.0, 2.0], [-1.0, 0.0]], index_answers(index, "inputs"))


class Model(tfrs.Model):
    """A TFRS model with everything that a server has no use for."""

    def __init__(self) -> None:
        super().__init__()
        self.user_model = embedding()
        self.score = tf.keras.layers.Dense(1)
        stream = tf.data.Dataset.from_tensor_slices((MOVIES, CANDIDATES)).batch(2)
        self.retrieval = tfrs.tasks.Retrieval(
            metrics=tfrs.metrics.FactorizedTopK(
                streaming(k=3).index_from_dataset(stream), ks=[1, 3]
            )
        )
        self.ranking = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(),
            metrics=[tf.keras.metrics.RootMeanSquaredError()],
        )

    def call(self, features: Any, training: bool | None = None) -> Any:
        user = self.user_model(features["user_id"], training=training)
        return self.score(tf.concat([user, features["side"]["genres"]], axis=1))

    def compute_loss(self, features: Any, training: bool = False) -> Any:
        scores = self(features, training=training)
        return self.ranking(labels=features["rating"], predictions=scores)


def ranking() -> Case:
    model = Model()
    model.compile(optimizer="adam")
    features = {"user_id": tf.constant(USERS), "side": {"genres": tf.eye(3, 4)}}
    model.fit({**features, "rating": tf.ones([3, 1])}, verbose=0)

    def answer(user_id: Any, genres: Any) -> Any:
        return {"scores": model({"user_id": user_id, "side": {"genres": genres}})}

    return Case(model, features, {"serving_default": answer})


CASES = {make.__name__: make for make in (of_strings, of_positions, of_stream, ranking)}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: Any) -> Any:
    tf.keras.utils.set_random_seed(1)
    return exporting.export_and_replay(CASES, tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize("name", CASES)
def test_a_server_answers_as_the_model_does(name: str, exports: Any) -> None:
    case, path, replayed = exports[name]
    exporting.assert_served(case, path, replayed)
    exporting.assert_stock(path)


def test_a_metric_over_a_data_set_and_an_optimizer_stay_out(exports: Any) -> None:
    case, path, _ = exports["ranking"]
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    shapes = list(reader.get_variable_to_shape_map().values())
    # Of the embedding and the score alone, and the graph of objects.
    model = case.servable
    weights = [*model.user_model.weights, *model.score.weights]
    assert sorted(map(tuple, shapes)) == sorted(
        [*[tuple(w.shape) for w in weights], ()]
    )


def test_excluded_ids_are_left_out_by_any_number(exports: Any) -> None:
    _, path, _ = exports["of_strings"]
    serve = tf.saved_model.load(str(path)).signatures["with_exclusions"]
    exclusions = tf.constant([["dune", "alien", "brazil", "no movie", "dune"]])
    answer = serve(user_id=tf.constant(["user_1"]), exclusions=exclusions)
    assert set(answer["ids"][0].numpy()) == {b"casablanca", b"eraserhead", b""}
    assert answer["ids"][0, 2] == b""
    assert np.isnan(answer["scores"][0].numpy()).tolist() == [False, False, True]


def test_candidates_of_a_stream_are_read_at_export(tmp_path: Path) -> None:
    source = tf.Variable(CANDIDATES)
    numbers = tf.data.Dataset.range(5).map(lambda i: source[i]).batch(2)
    index = streaming(k=1).index_from_dataset(numbers)
    path = serving.export(index, tmp_path, [[0.0, 1.0]], warmup=False)
    source.assign(-CANDIDATES)
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    answer = serve(inputs=tf.constant([[0.0, 1.0]]))
    assert (answer["ids"].numpy().tolist(), answer["scores"].numpy()) == ([[2]], 4)


def test_a_model_that_fails_for_one_row_is_refused(tmp_path: Path) -> None:
    # TFRS squeezes the batch away, where it is of one row.
    model = tfrs.experimental.models.Ranking(
        layers.DeepHashEmbeddingCollection(
            ["user_id"], 2, hidden_dim=4, num_hashes=4, normalization="layer"
        ),
        bottom_stack=tf.keras.Sequential([tf.keras.layers.Dense(2)]),
        top_stack=tf.keras.Sequential([tf.keras.layers.Dense(1)]),
    )
    ids = {"user_id": tf.constant([1, 2], tf.int64)}
    features = {"dense_features": tf.ones([2, 3]), "sparse_features": ids}
    model(features)
    with pytest.raises(ValueError, match="`serving_default` fails on 1 rows"):
        serving.export(model, tmp_path / "base", features, warmup=False)
    assert list(tmp_path.iterdir()) == []


class TaskOnly(tfrs.Model):
    def compute_loss(self, features: Any, training: bool = False) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("servable", "match"),
    [
        (TaskOnly(), "TaskOnly has no `call`"),
        (brute_force(k=2), "has no candidates yet"),
        (streaming(k=2), "has no candidates yet"),
        (
            brute_force(embedding(), k=2).index(CANDIDATES),
            "has no weights yet: some are made at its first call",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(
    servable: Any, match: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=match):
        serving.export(servable, tmp_path / "base", USERS, warmup=False)
    assert list(tmp_path.iterdir()) == []


def test_an_index_of_another_kind_is_refused(tmp_path: Path) -> None:
    class Own(tfrs.layers.factorized_top_k.TopK):
        query_model = None

        def index(self, candidates: Any, identifiers: Any = None) -> Any:
            raise NotImplementedError

        def call(self, queries: Any, k: Any = None) -> Any:
            raise NotImplementedError

        def is_exact(self) -> bool:
            return True

    with pytest.raises(ValueError, match="must be a BruteForce or Streaming"):
        serving.export(Own(k=1), tmp_path / "base", [[1.0]], warmup=False)
