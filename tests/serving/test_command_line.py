import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from tests.processes import run_python
from tests.serving import exports
from tfrs_dhe.serving import Inspection, inspect
from tfrs_dhe.serving.__main__ import main


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = exports.write_sound(tmp_path_factory.mktemp("sound"))
    (path / "assets.extra" / "tfrs_dhe_manifest.json").write_text('{"k": 2}')
    return path


def test_inspect(sound: Path) -> None:
    found = inspect(sound)
    assert isinstance(found, Inspection)
    signature = found.signatures["serving_default"]
    assert signature.inputs == {"user_id": exports.USER_ID}
    assert signature.outputs["ids"].dtype == tf.string
    # 9 rows and three factors; the tables are filled from the graph.
    assert found.parameters == {"float32": 12}
    assert found.ops["LookupTableFindV2"] == 2
    assert found.ops["TopKV2"] == 1
    assert "RestoreV2" not in found.ops
    assert (found.num_samples, found.num_warmup_records) == (3, 1)
    assert found.manifest == {"k": 2}
    files = [file for file in sound.rglob("*") if file.is_file()]
    assert sum(found.num_bytes.values()) == sum(f.stat().st_size for f in files)
    assert found.num_bytes["assets"] == len("ann\nbob\n")


def test_inspect_prints_a_table(
    sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(sound)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(sound)
    assert "signature serving_default" in lines
    assert "  in  user_id  string (None,)" in lines
    assert "  float32  12" in lines
    assert "  k  2" in lines


def test_verify_takes_the_highest_version(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in ("2", "10"):
        shutil.copytree(sound, tmp_path / number)
    (tmp_path / "being_written").mkdir()
    shutil.rmtree(tmp_path / "2" / "variables")
    assert main(["verify", "--static", str(tmp_path)]) == 0
    assert f"{tmp_path / '10'} is sound" in capsys.readouterr().out
    assert main(["verify", "--static", str(tmp_path / "2")]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(f"{tmp_path / '2'} has 1 problem:")
    assert "variables/variables.index is missing" in errors


def test_no_version(tmp_path: Path) -> None:
    missing = tmp_path / "model"
    done = run_python(
        f"""
        import runpy, sys
        sys.argv = ["serving", "verify", {str(missing)!r}]
        runpy.run_module("tfrs_dhe.serving", run_name="__main__")
        """
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"{missing} is no directory."


def test_nothing_to_choose_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path)]) == 2
    assert "neither a version" in capsys.readouterr().err
    (tmp_path / "7").mkdir()
    assert main(["inspect", str(tmp_path)]) == 1
    assert "7 has no saved_model.pb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("saved_model.pb", "is no SavedModel"),
        ("variables/variables.index", "cannot be read"),
        ("assets.extra/tf_serving_warmup_requests", "cannot be read"),
        ("assets.extra/tfrs_dhe_samples.jsonl", "cannot be read"),
        ("assets.extra/tfrs_dhe_manifest.json", "is no JSON"),
    ],
)
def test_damaged_file(
    sound: Path,
    tmp_path: Path,
    file: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = shutil.copytree(sound, tmp_path / "1")
    (path / file).write_bytes((path / file).read_bytes()[:-5])
    assert main(["inspect", str(path)]) == 1
    assert message in capsys.readouterr().err
