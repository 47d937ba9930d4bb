"""Which Keras the package is on, in processes set up in every way users do."""

from pathlib import Path

import pytest

from tests.processes import check_python, run_python

TRAIN_A_LAYER = """
    import numpy as np
    import tensorflow as tf
    from tfrs_dhe._keras import keras
    import tfrs_dhe

    model = keras.Sequential([
        keras.Input(shape=(), dtype="string"),
        tfrs_dhe.layers.DeepHashEmbedding(4, 8, num_hashes=16, name="dhe"),
        keras.layers.Dense(1),
    ])
    before = [np.array(w) for w in model.get_layer("dhe").get_weights()]
    model.compile("sgd", "mse")
    model.fit(tf.constant(["a", "b", "c"]), tf.ones([3, 1]), verbose=0)
    after = model.get_layer("dhe").get_weights()
    assert len(before) == len(after) == 27
    # All but the biases and offsets of units nothing depends on have moved.
    assert sum((a != b).any() for a, b in zip(before, after)) >= 20
    print(keras.__name__)
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import tensorflow_recommenders, tfrs_dhe",
        "import tfrs_dhe, tensorflow_recommenders",
        "import tensorflow, keras, tfrs_dhe, tensorflow_recommenders",
    ],
)
def test_legacy_keras_with_tfrs_in_any_import_order(imports: str) -> None:
    code = f"""
    {imports}
    import tensorflow as tf, tensorflow_recommenders as tfrs
    assert issubclass(tfrs_dhe.layers.DeepHashEmbedding, tf.keras.layers.Layer)
    assert issubclass(tfrs_dhe.models.Model, tfrs.Model)
    assert issubclass(tfrs_dhe.tasks.MACHRetrieval, tfrs.tasks.Task)
    """
    assert check_python(code + TRAIN_A_LAYER, TF_USE_LEGACY_KERAS="1") == "tf_keras"


def test_variable_set_by_the_program_itself() -> None:
    code = """
    import os; os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tfrs_dhe
    """
    assert check_python(code + TRAIN_A_LAYER) == "tf_keras"


def test_keras_3_where_tfrs_refuses() -> None:
    """The plain layers train; what needs TFRS says what to do."""
    code = """
    import tfrs_dhe
    for package, name in (("models", "Model"), ("tasks", "MACHRetrieval")):
        try:
            getattr(getattr(tfrs_dhe, package), name)
        except ImportError as error:
            message = str(error)
        expected = f"tfrs_dhe.{package}.{name} needs TensorFlow Recommenders"
        assert expected in message, message
        assert 'import os; os.environ["TF_USE_LEGACY_KERAS"] = "1"' in message
    """
    assert check_python(code + TRAIN_A_LAYER) == "keras"


def fake_module(folder: Path, name: str, code: str) -> tuple[str, ...]:
    (folder / f"{name}.py").write_text(code)
    return (str(folder),)


def test_without_tfrs(tmp_path: Path) -> None:
    path = fake_module(
        tmp_path,
        "tensorflow_recommenders",
        "raise ModuleNotFoundError('No module named \"tensorflow_recommenders\"',"
        " name='tensorflow_recommenders')",
    )
    code = """
    import tfrs_dhe
    try:
        tfrs_dhe.models.Model
    except ImportError as error:
        assert "pip install tensorflow-recommenders" in str(error), error
    else:
        raise AssertionError
    """
    for legacy, root in (("1", "tf_keras"), ("0", "keras")):
        printed = check_python(code + TRAIN_A_LAYER, path, TF_USE_LEGACY_KERAS=legacy)
        assert printed == root


def test_an_installed_scann_that_breaks_tfrs(tmp_path: Path) -> None:
    # What `import scann` raises when it was built for another TensorFlow.
    path = fake_module(
        tmp_path,
        "scann",
        "import tensorflow as tf\n"
        "raise tf.errors.NotFoundError(None, None, 'undefined symbol')",
    )
    code = """
    import tfrs_dhe
    try:
        tfrs_dhe.models.Model
    except ImportError as error:
        assert "pip uninstall scann" in str(error), error
    else:
        raise AssertionError
    """
    printed = check_python(code + TRAIN_A_LAYER, path, TF_USE_LEGACY_KERAS="1")
    assert printed == "tf_keras"


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_keras_3_on_another_backend(backend: str) -> None:
    done = run_python("import tfrs_dhe", KERAS_BACKEND=backend)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: tfrs_dhe runs on the TensorFlow backend")
    assert "KERAS_BACKEND=tensorflow" in last


def test_importing_sets_no_environment_variable() -> None:
    code = """
    import os
    before = dict(os.environ)
    import tfrs_dhe
    print("TF_USE_LEGACY_KERAS" in os.environ)
    """
    assert check_python(code) == "False"
