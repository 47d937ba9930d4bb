"""What the README tells a new user to write runs as it stands."""

import re
from pathlib import Path

import pytest

from tests.processes import ROOT, check_python
from tfrs_dhe import mach


@pytest.mark.parametrize(
    ("model", "folder"),
    [("MovieModel", "/tmp/movies"), ("NextMovieModel", "/tmp/next_movies")],
)
def test_program_runs_and_its_model_is_served(
    tmp_path: Path, model: str, folder: str
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (program,) = (block for block in blocks if f"class {model}" in block)
    path = str(tmp_path)
    assert program.count(f'"{folder}"') == 1
    assert program.count("epochs=5") == 1
    program = program.replace(folder, path).replace("epochs=5", "epochs=1")
    if model == "MovieModel":
        # "After the first program".
        (serving,) = (block for block in blocks if "serving.verify(" in block)
        program += serving.replace("/tmp/served/movies", f"{path}/served")
    program += "\nprint('ANSWER', movies.shape)"
    printed = check_python(program)
    assert "ANSWER (2, 5)" in printed
    assert ("served/1 is sound" in printed) == (model == "MovieModel")

    serve = f"""
    import sys
    import tensorflow as tf
    serve = tf.saved_model.load({path + "/1"!r}).signatures["serving_default"]
    movies = serve(user_id=tf.constant(["user_1", "a user who came today"]))["ids"]
    assert not {{"tfrs_dhe", "tensorflow_recommenders"}} & set(sys.modules)
    print(movies.shape, bool(tf.reduce_all(movies[0] == movies[1])))
    """
    assert check_python(serve) == "(2, 5) False"


def test_plan_is_printed_as_shown() -> None:
    text = (ROOT / "README.md").read_text()
    (call,) = re.findall(r"`print\(tfrs_dhe\.(mach\.plan\(.*?\))\)`", text)
    assert f"```\n{eval(call, {'mach': mach})}\n```" in text


def test_page_on_choosing_runs() -> None:
    page = (ROOT / "docs" / "choosing_an_embedding.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 3
    printed = check_python("\n".join(blocks))
    (share,) = re.findall(r"(\d+)% of the variance is not learned", printed)
    assert 0 < int(share) < 100
