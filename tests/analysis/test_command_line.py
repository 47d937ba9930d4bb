"""The command line, and files of ids."""

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.analysis.test_explanation import QUERY, identifiable, make_index
from tests.analysis.test_sketches import zipf_stream
from tests.processes import ROOT, run_python
from tfrs_dhe.analysis import IdSketch, read_ids, sketch_ids
from tfrs_dhe.analysis.__main__ import main
from tfrs_dhe.layers import DeepHashEmbedding

HERE = str(Path(__file__))
CASES = str(ROOT / "tests" / "analysis" / "sweep_cases.py")


def explained() -> Any:
    """Returns what `explain` takes: an index, and examples."""
    ids, shares = identifiable()
    return make_index(ids, shares, 30, 4), [(QUERY, true) for true in (0, 7, 0, 8)]


def ranked() -> dict[str, Any]:
    """Returns arguments of `rank_new_classes`."""
    index, _ = explained()
    return {"index": index, "examples": [(QUERY, [0])], "trained_ids": [7]}


def embedded() -> dict[str, Any]:
    """Returns arguments of `explain_embedding`."""
    layer = DeepHashEmbedding(4, 8, num_hidden_layers=1, num_hashes=64)
    return {"layer": layer, "identifier": 3, "candidates": np.arange(50), "k": 5}


def seeded() -> dict[str, Any]:
    """Returns arguments of `compare_seeds`: one layer, twice."""
    layer = embedded()["layer"]
    return {"layers": [layer, layer], "ids": np.arange(30)}


def shifted() -> dict[str, Any]:
    """Returns arguments of `DriftCallback`: statistics that are no one's."""
    layer = DeepHashEmbedding(4, 8, num_hidden_layers=1, num_hashes=64)
    layer(tf.range(4), training=False)
    layer.network.normalization_0.moving_mean.assign(tf.fill([8], 100.0))
    return {"layer": layer, "layer_ids": tf.range(200)}


def of_one_value() -> Any:
    """Returns an encoding that tells no ids apart."""
    return lambda keys: tf.ones([len(keys), 3])


def write_ids(path: Path, ids: Any) -> str:
    path.write_text("".join(f"u{i % 7} {i}\n" for i in ids))
    return str(path)


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("a b\nc d\n", {}, [b"a", b"c"]),
        ("a b\nc d\n", {"columns": "1"}, [b"b", b"d"]),
        ("u a b\nv c\n", {"columns": "1:"}, [b"a", b"b", b"c"]),
        ("a\tb c\td", {"columns": "0:2", "separator": "\t"}, [b"a", b"b c"]),
        ("1::2::3\r\n", {"columns": "1", "separator": "::"}, [b"2"]),
        (
            "9 9 9\n1,2 f:1\n f:2\n",
            {"separator": " ", "within": ",", "skip_lines": 1},
            [b"1", b"2"],
        ),
        ("\na\n\n", {"columns": ":"}, [b"a"]),
        ("\u00e4 b", {}, ["\u00e4".encode()]),
        ("\ufeffa b\nc", {"columns": ":"}, [b"a", b"b", b"c"]),
        ("\ufeffa b\nc", {"skip_lines": 1}, [b"c"]),
        ("\ufeff", {}, []),
        ("a\n\ufeffb\n", {}, [b"a", "\ufeffb".encode()]),
    ],
)
def test_columns_of_files(
    tmp_path: Path, text: str, arguments: Any, expected: Any
) -> None:
    (tmp_path / "ids").write_text(text, encoding="utf-8", newline="")
    ids = [
        i for batch in read_ids(tmp_path / "ids", **arguments) for i in batch.numpy()
    ]
    assert ids == expected


def test_long_files_come_in_batches(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "ids", range(100_000))
    batches = list(read_ids(path, "1"))
    assert len(batches) == 4
    assert np.concatenate(batches).tolist() == [str(i).encode() for i in range(100_000)]


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    path = Path(write_ids(tmp_path / "ids", [1]))
    for columns in ("", "a", "1:2:3", "-1", "1:1", "2:1", ":0"):
        with pytest.raises(ValueError, match="`columns` must be a number from 0"):
            read_ids(path, columns)
    with pytest.raises(FileNotFoundError, match="`path` must be a file"):
        read_ids(tmp_path / "none")
    for columns, needed in (("5", 6), ("5:", 6), ("1:3", 3), (":3", 3)):
        message = f"line 1 has 2 columns, .*'{columns}' needs {needed}"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            list(read_ids(path, columns))
    with pytest.raises(ValueError, match=r"`skip_lines` must .*Received: -1"):
        read_ids(path, skip_lines=-1)


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    sketch_ids([1, 2]).save(tmp_path / "sketch")
    for content, message in (
        (gzip.compress(b"u1 m1\n"), "compressed by gzip; unpack it"),
        ((tmp_path / "sketch").read_bytes(), "an archive; .* call it .npz if it is an"),
        ("u1 m1\n".encode("utf-16"), "in UTF-16; write it in UTF-8"),
        ("\ufeffu1 m1\n".encode("utf-16-be"), "in UTF-16; write it in UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"`path` must be a text file.*{message}"):
            read_ids(path)


def raise_type_error() -> None:
    """Fails as a function of the user's may."""
    raise TypeError("the function of the user failed")


def test_failures_are_no_alerts(tmp_path: Path, capsys: Any) -> None:
    ids, file = write_ids(tmp_path / "ids", [1, 2, 2]), tmp_path / "file"
    file.write_text("kept")
    sketch = tmp_path / "s.npz"
    sketch_ids([1, 2]).save(sketch)
    sketch.write_bytes(sketch.read_bytes()[:99])
    for arguments, problem in (
        (["drift", ids, ids, "--report", str(file)], "File exists"),
        (["drift", str(sketch), ids], "`path` must be a whole file"),
        (["drift", str(tmp_path / "none.npz"), ids], "No such file"),
        (["drift", ids, ids, "--model", f"{HERE}:raise_type_error"], "the user failed"),
        (["distribution", ids, "--save", str(file / "s.npz")], "Errno"),
        (["encodings", str(file), "--skip-lines", "1"], "`file` must have at least"),
        (["encodings", ids, "--num-ids", "-1"], "`--num-ids` must be a positive"),
    ):
        assert main(arguments) == 2, arguments
        assert problem in capsys.readouterr().err
    assert file.read_text() == "kept"


def test_distribution(tmp_path: Path, capsys: Any) -> None:
    stream = zipf_stream(500, 1.0, 5000)
    path = write_ids(tmp_path / "ids", stream)
    sketch, plot = str(tmp_path / "s.npz"), str(tmp_path / "plot")
    status = main(
        [
            "distribution",
            path,
            "--columns",
            "1",
            "--integers",
            "--save",
            sketch,
            "--plot",
            plot,
        ]
    )
    printed = capsys.readouterr().out
    assert status == 0
    assert re.search(rf"distinct ids\s+{len(np.unique(stream))}\n", printed)
    assert "MACH with R = " in printed
    assert "Rows worth materializing" in printed
    assert Path(plot + ".svg").exists()
    assert IdSketch.load(sketch).num_occurrences == 5000


def test_drift_fails_a_job_on_an_alert(tmp_path: Path, capsys: Any) -> None:
    stream = zipf_stream(500, 1.0, 20_000)
    reference = write_ids(tmp_path / "reference", stream[:10_000])
    same = write_ids(tmp_path / "same", stream[10_000:])
    other = write_ids(tmp_path / "other", stream[10_000:] + 300)
    sketch = str(tmp_path / "s.npz")
    assert main(["distribution", reference, "--columns", "1", "--save", sketch]) == 0
    assert main(["drift", sketch, same, "--columns", "1"]) == 0
    assert "No alert." in capsys.readouterr().out
    report = str(tmp_path / "report")
    assert main(["drift", sketch, other, "--columns", "1", "--report", report]) == 1
    assert "ALERT: population stability index" in capsys.readouterr().out
    assert (tmp_path / "report" / "drift.md").exists()
    capsys.readouterr()
    model = ["--model", f"{HERE}:shifted"]
    assert main(["drift", sketch, same, "--columns", "1", *model]) == 1
    (alert,) = re.findall("ALERT: (.*)", capsys.readouterr().out)
    assert alert.startswith("shift of batch normalization")
    arguments = ["--psi", "99", "--jensen-shannon", "1", "--unseen-share", "1"]
    arguments += ["--heavy-overlap", "0"]
    assert main(["drift", sketch, other, "--columns", "1", *arguments]) == 0


def test_encodings(tmp_path: Path, capsys: Any) -> None:
    assert main(["encodings", "--num-ids", "200", "--num-hashes", "512"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"dense hash\s+yes\s+yes\s+yes\s+yes", printed)
    path = write_ids(tmp_path / "ids", list(range(50)) * 3)
    assert main(["encodings", path, "--columns", "1"]) == 0
    assert capsys.readouterr().out.startswith("50 ids")
    assert main(["encodings", path, "--encoding", f"{HERE}:of_one_value"]) == 0
    assert re.search(r"<lambda>\s+no\s+no\s+no\s+no", capsys.readouterr().out)


def test_retraining(tmp_path: Path, capsys: Any) -> None:
    paths = [
        write_ids(tmp_path / str(i), range(i * 10, i * 10 + 100)) for i in range(6)
    ]
    arguments = ["--columns", "1", "--max-unseen-share", "0.15"]
    assert main(["retraining", *paths, *arguments]) == 0
    assert "Retrain after 1 windows" in capsys.readouterr().out


def test_sweep(tmp_path: Path, capsys: Any) -> None:
    status = main(
        [
            "sweep",
            f"{CASES}:evaluate",
            "--grid",
            "b=10,10000",
            "r=1",
            "--directory",
            str(tmp_path),
            "--plot",
            str(tmp_path / "plot"),
        ]
    )
    assert status == 0
    assert "Recommended: b = 10000, r = 1" in capsys.readouterr().out
    assert (tmp_path / "plot.png").exists()


def test_a_setting_that_is_given_twice_is_said(tmp_path: Path, capsys: Any) -> None:
    grid = ["--grid", "b=10", "r=1", "b=100", "--directory", str(tmp_path)]
    assert main(["sweep", f"{CASES}:evaluate", *grid]) == 2
    assert "each setting once" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_explain(tmp_path: Path, capsys: Any) -> None:
    status = main(
        [
            "explain",
            f"{HERE}:explained",
            "--right",
            "1",
            "--wrong",
            "2",
            "--output",
            str(tmp_path),
        ]
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert printed.index("0: score") < printed.index("Cause, model")
    text = (tmp_path / "explanations.md").read_text()
    assert re.findall(r"## (\d), (\w+)", text) == [
        ("1", "right"),
        ("2", "wrong"),
        ("3", "wrong"),
    ]
    assert (tmp_path / "3.svg").exists()


@pytest.mark.parametrize(
    ("command", "make", "said"),
    [
        # The likeliest class of all, which was not trained on, is first.
        ("new-items", "ranked", r"new +1 +1\.0000 +1\.0000 +1 "),
        ("explain-embedding", "embedded", "3 among 49 ids"),
        ("compare-seeds", "seeded", r"0 and 1 +100\.0% +1\.000"),
    ],
)
def test_what_a_function_has_the_arguments_of(
    tmp_path: Path, capsys: Any, command: str, make: str, said: str
) -> None:
    plot = tmp_path / "plot"
    assert main([command, f"{HERE}:{make}", "--plot", str(plot)]) == 0
    assert re.search(said, capsys.readouterr().out)
    assert plot.with_suffix(".png").exists()
    assert plot.with_suffix(".svg").exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ranked", "it has no colon"),
        ("no_file.py:ranked", "there is no such file"),
        ("no_module:ranked", "No module named 'no_module'"),
        (f"{HERE}:no_function", "has no attribute 'no_function'"),
        (f"{HERE}:of_one_value", "it returned function"),
        (f"{HERE}:embedded", "missing a required argument: 'index'"),
    ],
)
def test_a_function_that_does_not_fit_is_said(
    capsys: Any, name: str, problem: str
) -> None:
    assert main(["new-items", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("`make` must")
    assert problem in said


def test_what_does_not_fit_is_said(tmp_path: Path, capsys: Any) -> None:
    assert main(["distribution", str(tmp_path / "none")]) == 2
    assert "`path` must be a file" in capsys.readouterr().err
    assert main(["sweep", "x", "--grid", "a=1", "--directory", str(tmp_path)]) == 2
    assert "`evaluate` must be module:function" in capsys.readouterr().err


def test_module_is_run_without_matplotlib(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "ids", [1, 2, 2])
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text("raise ImportError('hidden')")
    code = f"""
    import sys
    from tfrs_dhe.analysis.__main__ import main
    assert "matplotlib" not in sys.modules
    assert main(["distribution", {path!r}, "--columns", "1"]) == 0
    sys.exit(main(["distribution", {path!r}, "--plot", {str(tmp_path / "p")!r}]))
    """
    done = run_python(code, path=(str(tmp_path),))
    assert done.returncode == 2, done.stderr
    assert "pip install 'tfrs-dhe[analysis]'" in done.stderr
    assert "distinct ids" in done.stdout
