from pathlib import Path

import pytest

from tests.processes import run_python
from tfrs_dhe.serving._verification import session


@pytest.mark.parametrize(
    "name", ["keras", "tf_keras", "tensorflow_recommenders", "tfrs_dhe"]
)
def test_process_cannot_import_what_made_the_export(name: str) -> None:
    code = f"""
        import runpy
        runpy.run_path({str(Path(session.__file__))!r})["_forbid_imports"]()
        import {name}
    """
    assert f"import of {name} halted" in run_python(code).stderr
