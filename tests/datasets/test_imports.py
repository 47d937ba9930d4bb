import subprocess
import sys


def test_needs_no_keras_and_no_tensorflow_datasets():
    """In a fresh process: importing the package itself may bring in a Keras."""
    code = (
        "import sys, types, pathlib, importlib.util\n"
        "root = pathlib.Path(importlib.util.find_spec('tfrs_dhe').origin).parent\n"
        "package = types.ModuleType('tfrs_dhe')\n"
        "package.__path__ = [str(root)]\n"
        "sys.modules['tfrs_dhe'] = package\n"
        "import tfrs_dhe.datasets as datasets\n"
        "data = datasets.load(num_users=20, num_movies=50, num_ratings=100)\n"
        "assert len(list(data.batches(50))) == 2\n"
        "for name in ('tfrs_dhe._keras', 'tensorflow_recommenders',\n"
        "             'tensorflow_datasets'):\n"
        "    assert name not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
