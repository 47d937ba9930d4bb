import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.models import tiny_run
from tests.models.conftest import ENVIRONMENT, assert_same_weights
from tests.processes import ROOT, check_python
from tfrs_dhe import layers, mach, models
from tfrs_dhe._keras import keras
from tfrs_dhe.models import _repetition_directory, train_repetitions

TINY_RUN = f"{ROOT / 'tests' / 'models' / 'tiny_run.py'}"


def run(make, directory, *arguments, num_repetitions=tiny_run.NUM_REPETITIONS):
    return train_repetitions.main(
        [
            make,
            f"--directory={directory}",
            f"--num-repetitions={num_repetitions}",
            *arguments,
        ]
    )


@pytest.fixture
def environment(monkeypatch):
    """The processes that the launcher starts are as this one."""
    for name, value in {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)


def test_killed_process_goes_on_to_the_same_weights(
    trained, tmp_path, environment, monkeypatch, capsys
):
    # Others were trained before these in `trained`, in one process; here they have
    # one each, and that of repetition 2 is killed within the second epoch.
    monkeypatch.setenv("TINY_RUN_KILLED", str(tmp_path / "killed"))
    options = ["--repetitions=2:4", "--processes=2", "--threads=1"]
    make = f"{TINY_RUN}:make_and_kill_once"
    code = run(make, tmp_path, *options, "--retries=1", "--checkpoint-seconds=0")
    output = capsys.readouterr().out
    assert code == 0, output
    assert "repetition 2: FAILED with signal 9" in output
    assert "repetition 2: goes on at epoch 2, step 5" in output
    assert "repetition 3: finished" in output
    assert "2 of 2 models are finished" in output
    for repetition in (2, 3):
        assert_same_weights(trained, tmp_path, repetition)

    # Once more, there is nothing to do.
    assert run(make, tmp_path, *options) == 0
    assert "repetition 2: has been finished before" in capsys.readouterr().out


def test_interrupted_anywhere_the_weights_are_the_same(trained, tmp_path):
    # An exception ends a training as a signal does: nothing is written after it.
    check_python(
        f"""
        from pathlib import Path
        from unittest import mock
        import tensorflow as tf
        from tests.models import conftest, tiny_run
        from tfrs_dhe.models import _repetition_directory, _repetition_training

        class Killed(Exception):
            pass

        def interrupted(function, call, when):
            calls = []

            def wrapper(*args, **kwargs):
                calls.append(None)
                if len(calls) == call and when == "before":
                    raise Killed
                result = function(*args, **kwargs)
                if len(calls) == call:
                    raise Killed
                return result

            return wrapper

        def half_a_checkpoint(folder):
            for file in list(folder.glob("checkpoints/ckpt-2.*")):
                name = file.name.replace("ckpt-2", "ckpt-3")
                file.with_name(name).write_bytes(file.read_bytes()[:100])

        place = _repetition_directory.RepetitionDirectory
        tiny_run.on_step = lambda: None
        for owner, name, call, when in [
            (place, "write_manifest", 1, "before"),
            (tiny_run, "on_step", 17, "before"),
            (tf.train.CheckpointManager, "save", 2, "after"),
            (place, "write_manifest", 2, "before"),
        ]:
            folder = Path({str(tmp_path)!r}, f"{{name}}-{{call}}-{{when}}")
            function = interrupted(getattr(owner, name), call, when)
            with mock.patch.object(owner, name, function):
                try:
                    _repetition_training.train(tiny_run.make, folder, [1])
                except (Killed, tf.errors.UnknownError):
                    pass
                else:
                    raise AssertionError(f"{{folder}} was not interrupted")
            half_a_checkpoint(folder / "repetition-0001")
            _repetition_training.train(tiny_run.make, folder, [1])
            conftest.assert_same_weights(Path({str(trained)!r}), folder, 1)
            print(folder.name)
        """,
        **ENVIRONMENT,
    )


def test_two_processes_do_not_train_the_same_repetition(tmp_path, train):
    place = _repetition_directory.RepetitionDirectory.of(tmp_path, (1,))
    with (
        place.lock(),
        pytest.raises(RuntimeError, match=f"training in {place.path}"),
    ):
        train(tiny_run.make, tmp_path, (1,))
    assert not place.manifest_path.exists()


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({"seed": 4}, "seed of the hash functions 3; this is 4"),
        ({"num_buckets": 9}, "number of buckets B 8; this is 9"),
        ({"num_repetitions": 5}, "number of repetitions R 4; this is 5"),
        ({"class_ids": None}, "class set of 40 classes .*; this is none"),
        ({"epochs": 4}, "number of epochs 3; this is 4"),
    ],
)
def test_training_of_something_else_does_not_go_on(trained, train, changes, values):
    with pytest.raises(ValueError, match=f"{trained}/repetition-0002 .*{values}"):
        train(lambda r: tiny_run.make(r, **changes), trained, (2,))


def test_training_by_another_seed_does_not_go_on(trained, train):
    with pytest.raises(ValueError, match="seed of the training 0; this is 1"):
        train(tiny_run.make, trained, (2,), seed=1)


def test_checkpoint_of_another_model_is_refused(trained, tmp_path, train):
    place = _repetition_directory.RepetitionDirectory.of(tmp_path, (0,))
    shutil.copytree(trained / place.path.name, place.path)
    manifest = place.read_manifest()
    place.write_manifest({**manifest, "state": "training"})

    def make(repetitions):
        run = tiny_run.make(repetitions)
        run.query_model.add(type(run.query_model.layers[0])(32))
        return run

    with pytest.raises(ValueError, match="of another model"):
        train(make, tmp_path, (0,))


def test_random_numbers_out_of_reach_are_reported(tmp_path, train, capsys):
    def make(repetitions):
        run = tiny_run.make(repetitions, epochs=1)
        loss_of = run.model.loss_of

        def noisy(batch, training):
            return loss_of(batch, training) + tf.random.uniform([], seed=1)

        run.model.loss_of = noisy
        return run

    train(make, tmp_path, (0,))
    assert "WARNING: the training step draws random numbers by RandomUniform" in (
        capsys.readouterr().out
    )


def test_random_layers_of_keras_are_within_reach(trained, tmp_path, train, capsys):
    train(lambda r: tiny_run.make(r, epochs=1), tmp_path, (0,))
    output = capsys.readouterr().out
    assert "epoch 1 of 1, step 12, loss=" in output
    assert "WARNING" not in output


@pytest.mark.parametrize("jit_compile", [False, True])
def test_plain_model_is_trained_on_each_batch_once(tmp_path, train, jit_compile):
    queries, classes = tiny_run.examples(40, seed=0)
    head = layers.MACHHead(5, 2, repetitions=[1], kernel_initializer="zeros")
    buckets = head.bucket_ids(tiny_run.CLASS_IDS[classes]).numpy()

    def make(repetitions):
        inputs = keras.Input([16])
        model = keras.Model(inputs, head(inputs))
        model.compile(
            optimizer=keras.optimizers.SGD(0.01),
            loss=lambda labels, logits: mach.multiclass_loss(logits, labels),
            jit_compile=jit_compile,
        )
        data = tf.data.Dataset.from_tensor_slices((queries, buckets))
        return models.TrainingRun(model, head, lambda epoch: data.batch(16), epochs=2)

    train(make, tmp_path, (1,))
    # Softmax regression by gradient descent on sums over batches of 16, 16 and 8.
    kernel, bias = np.zeros([5, 16]), np.zeros(5)
    for _ in range(2):
        for start in (0, 16, 32):
            x, y = queries[start : start + 16], buckets[start : start + 16, 0]
            p = np.exp(x @ kernel.T + bias)
            gradient = p / p.sum(axis=1, keepdims=True) - np.eye(5)[y]
            kernel -= 0.01 * gradient.T @ x
            bias -= 0.01 * gradient.sum(axis=0)
    np.testing.assert_allclose(head.kernel, kernel, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head.bias, bias, rtol=1e-4, atol=1e-6)


def test_make_has_to_return_what_was_asked_for(tmp_path, train):
    with pytest.raises(ValueError, match=r"make\(\(0,\)\) must .* holds \(1,\)"):
        train(lambda r: tiny_run.make((1,)), tmp_path, (0,))
    with pytest.raises(ValueError, match="must return a tfrs_dhe"):
        train(lambda r: None, tmp_path, (0,))
    with pytest.raises(ValueError, match=r"--num-repetitions is 9, .*=4"):
        train(tiny_run.make, tmp_path, (0,), num_repetitions=9)


def test_failures_are_shown_and_counted(tmp_path, capsys):
    module = tmp_path / "broken.py"
    module.write_text(
        "import os\n"
        "raise KeyError(os.environ['CUDA_VISIBLE_DEVICES'] + ' and ' "
        "+ os.environ['TF_NUM_INTRAOP_THREADS'])\n"
    )
    options = ["--repetitions=0,2", "--gpus=5", "--threads=3", "--retries=1"]
    assert run(f"{module}:make", tmp_path, *options) == 1
    output = capsys.readouterr().out
    assert output.count("    KeyError: '5 and 3'") == 4
    assert output.count("tries again") == 2
    assert "0 of 2 models are finished" in output
    assert "Failed: repetition 0; repetition 2." in output


def test_training_goes_on_in_as_many_threads_as_before(tmp_path, capsys):
    module = tmp_path / "broken.py"
    module.write_text("import os\nraise KeyError(os.environ['OMP_NUM_THREADS'])\n")
    for repetition, threads in ((0, 7), (1, 9)):
        place = _repetition_directory.RepetitionDirectory.of(tmp_path, (repetition,))
        place.path.mkdir()
        place.write_manifest({"state": "training", "threads": threads})
    assert run(f"{module}:make", tmp_path, "--repetitions=0:2") == 1
    output = capsys.readouterr().out
    assert "KeyError: '7'" in output
    assert "KeyError: '9'" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_launcher(tmp_path, number):
    module = tmp_path / "waits.py"
    module.write_text(
        "import os, pathlib, time\n"
        f"scratch = pathlib.Path({str(tmp_path)!r}, 'scratch')\n"
        "scratch.write_text(str(os.getpid()))\n"
        "scratch.rename(scratch.with_name('pid'))\n"
        "time.sleep(1000)\n"
    )
    pid_file = tmp_path / "pid"
    launcher = subprocess.Popen(
        [
            *(sys.executable, "-m", "tfrs_dhe.models.train_repetitions"),
            *(f"{module}:make", f"--directory={tmp_path}", "--num-repetitions=1"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(pid_file.exists)
        launcher.send_signal(number)
        launcher.wait(60)
        assert launcher.returncode == (143 if number == signal.SIGTERM else -number)
        wait_for(lambda: not is_running(int(pid_file.read_text())))
    finally:
        launcher.kill()
        launcher.wait()


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One whose parent is gone may wait for somebody to ask for its exit code.
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("3", (3,)), ("0:4", (0, 1, 2, 3)), ("8,0:2,12:14", (0, 1, 8, 12, 13))],
)
def test_repetitions_are_parsed(text, numbers):
    assert train_repetitions.parse_repetitions(text) == numbers


@pytest.mark.parametrize(
    "text", ["", "a", "1,1", "0:3,2", "4:4", "-1", "1:", "0-3", "0:2,5:4"]
)
def test_wrong_repetitions_are_refused(text):
    with pytest.raises(ValueError, match="Received"):
        train_repetitions.parse_repetitions(text)


def test_repetitions_of_one_model_are_grouped():
    group = train_repetitions.group
    assert group(range(3), 4, 1) == [(0,), (1,), (2,)]
    assert group(range(5), 5, 2) == [(0, 1), (2, 3), (4,)]
    assert group([2, 3], 5, 2) == [(2, 3)]
    with pytest.raises(ValueError, match="2 to 3; --repetitions must have all or none"):
        group([0, 1, 2], 5, 2)
    with pytest.raises(ValueError, match=r"from 0 to 4 .* Received: 5"):
        group([4, 5], 5, 1)


def test_wrong_arguments_end_with_code_2(tmp_path, capsys):
    for arguments in (
        ["--repetitions=0:9"],
        ["--repetitions=x"],
        ["--repetitions="],
        ["--processes=0"],
        ["--retries=-1"],
    ):
        with pytest.raises(SystemExit) as exit_info:
            run("module:make", tmp_path, *arguments)
        assert exit_info.value.code == 2
    assert "--repetitions go from 0 to 3" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
