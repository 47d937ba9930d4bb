"""What the README tells a new user to write runs as it stands."""

import re
from pathlib import Path

from tests.processes import ROOT, check_python


def test_ten_minutes(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (program,) = (block for block in blocks if "class MovieModel" in block)
    path = str(tmp_path / "movies" / "1")
    assert program.count("/tmp/movies/1") == 1
    assert program.count("epochs=5") == 1
    program = program.replace("/tmp/movies/1", path).replace("epochs=5", "epochs=1")
    program += "\nprint('ANSWER', movies.shape)"
    assert "ANSWER (2, 5)" in check_python(program)

    serve = f"""
    import sys
    import tensorflow as tf
    index = tf.saved_model.load({path!r})
    scores, movies = index(tf.constant(["user_1", "a user who came today"]))
    assert not {{"tfrs_dhe", "tensorflow_recommenders"}} & set(sys.modules)
    print(movies.shape, bool(tf.reduce_all(movies[0] == movies[1])))
    """
    assert check_python(serve) == "(2, 5) False"
