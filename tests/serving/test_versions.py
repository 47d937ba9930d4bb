"""Versions come, fail and go, and no request is lost by it."""

import os
import shutil
import threading

import grpc
import pytest
import tensorflow as tf

from tests.serving.double.__main__ import load_first
from tests.serving.double.errors import ServingError
from tests.serving.double.versions import State, Versions
from tests.serving.running_double import running_double, wait_until
from tests.serving.small_index import publish, request

USERS = ["user_1", "user_2"]


@pytest.fixture(scope="module")
def answers(index):
    """Returns the ids that each version answers."""

    def ids():
        return index.top_k(tf.constant(USERS))["ids"].numpy().tolist()

    answers = {1: ids()}
    index.turn_around()
    answers[2] = ids()
    index.turn_around()
    assert answers[1] != answers[2]
    return answers


@pytest.fixture
def base_path(tmp_path):
    path = tmp_path / "movies"
    path.mkdir()
    return path


def states(versions):
    return {number: state.state for number, state in versions.states().items()}


def test_switch_under_load_and_back(answers, saved, base_path, load_client):
    client, rest = load_client("grpc_client"), load_client("rest_client")
    publish(saved[1], base_path, 1)
    stop, given, errors = threading.Event(), [], []

    with (
        running_double(base_path, "--serve_all") as server,
        client.connect(server.target) as channel,
    ):

        def ask(version=None):
            inputs = {"user_id": USERS}
            answer = client.predict(
                channel, "movies", inputs, version=version, timeout=60
            )
            return answer["ids"].tolist()

        def ask_on():
            while not stop.is_set():
                try:
                    given.append(ask())
                except grpc.RpcError as error:
                    errors.append(error)

        threads = [threading.Thread(target=ask_on) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: answers[1] in given)
            path = publish(saved[2], base_path, 2)
            wait_until(lambda: answers[2] in given)
            assert ask(version=1) == answers[1]
            assert ask(version=2) == answers[2]

            publish(saved[1], base_path, 3, warmup=[request([], "titles")])
            session = rest.connect()
            wait_until(
                lambda: rest.status(session, server.url, "movies").get(3) == "END"
            )
            assert ask() == answers[2]

            os.rename(path, base_path / "bad-2")
            wait_until(lambda: given[-1] == answers[1])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not errors
    assert all(answer in answers.values() for answer in given)


def test_latest_version_alone_stays(answers, saved, base_path):
    versions = Versions("movies", base_path, serve_all=False)
    versions.poll()
    assert states(versions) == {}

    publish(saved[1], base_path, 1)
    (base_path / "draft-4").mkdir()
    versions.poll()
    assert states(versions) == {1: State.AVAILABLE}
    publish(saved[2], base_path, 2)
    versions.poll()
    assert states(versions) == {1: State.END, 2: State.AVAILABLE}

    # A directory that is not whole is tried, and takes nothing away.
    (base_path / "3").mkdir()
    versions.poll()
    assert states(versions) == {1: State.END, 2: State.AVAILABLE, 3: State.END}
    assert "SavedModel file does not exist" in versions.states()[3].message
    assert versions.get("movies", None)[0] == 2

    number, held = versions.get("movies", None)
    os.rename(base_path / "3", base_path / "half-3")
    os.rename(base_path / "2", base_path / "bad-2")
    versions.poll()
    assert states(versions) == {1: State.AVAILABLE, 2: State.END, 3: State.END}
    # Who has it already still gets an answer from it.
    assert number == 2
    ids = tf.make_ndarray(held.predict(request(USERS))["ids"])
    assert ids.tolist() == answers[2]
    assert versions.get("movies", None)[0] == 1
    with pytest.raises(ServingError, match=r"Specific\(movies, 2\)"):
        versions.get("movies", 2)

    # A number whose directory failed may be used again.
    shutil.rmtree(base_path / "1")
    publish(saved[2], base_path, 3)
    versions.poll()
    assert versions.get("movies", None)[0] == 3


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (request(["user_1"], "titles"), grpc.StatusCode.FAILED_PRECONDITION),
        (request(["user_1"], "embeddings"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_version_with_a_wrong_warmup_record_is_refused(saved, base_path, bad, code):
    publish(saved[1], base_path, 1, warmup=[request(USERS), bad])
    versions = Versions("movies", base_path, serve_all=False)
    # The server does not open its ports without a version that it can serve.
    with pytest.raises(SystemExit, match="did not become available"):
        load_first(versions, poll_seconds=0)
    assert states(versions) == {1: State.END}
    assert versions.states()[1].code == code


def test_warmup_file_that_is_cut_short_is_refused(saved, base_path):
    path = publish(saved[1], base_path, 1, warmup=[request(USERS)])
    (records,) = (path / "assets.extra").iterdir()
    records.write_bytes(records.read_bytes()[:-1])
    versions = Versions("movies", base_path, serve_all=False)
    versions.poll()
    assert versions.states()[1].code == grpc.StatusCode.DATA_LOSS
