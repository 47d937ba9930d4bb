"""The linters catch what they are there to catch."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT


@pytest.mark.parametrize(
    "line",
    [
        "import keras",
        "import tf_keras",
        "from keras import layers",
        "from tf_keras.layers import Dense",
        "import tensorflow.keras",
        "from tensorflow.keras.layers import Dense",
        "from tensorflow import keras",
        "import tensorflow as tf; Dense = tf.keras.layers.Dense",
        "import tensorflow_recommenders as tfrs",
    ],
)
def test_no_other_file_binds_a_keras(line: str) -> None:
    assert "TID251" in lint(line, ROOT / "tfrs_dhe" / "layers" / "new.py")


def test_the_way_to_get_keras_passes() -> None:
    line = "from tfrs_dhe._keras import keras"
    assert "TID251" not in lint(line, ROOT / "tfrs_dhe" / "layers" / "new.py")


def lint(code: str, path: Path) -> str:
    return subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", path, "-"],
        input=code,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    ).stdout
