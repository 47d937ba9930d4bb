"""The C program is compiled once, and what is missing is said."""

from pathlib import Path

import pytest

from tfrs_dhe.serving import native

FAKE_COMPILER = """#!/bin/sh
echo "$@" >> {log}
while [ "$1" != -o ]; do shift; done
echo made > "$2"
"""


@pytest.fixture
def compiler_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a compiler in place that notes how it is called."""
    log, compiler = tmp_path / "log", tmp_path / "fake compiler"
    compiler.write_text(FAKE_COMPILER.format(log=log))
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", f"'{compiler}' -g")
    return log


def test_compiles_once_for_each_command(
    compiler_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "not yet" / "there"
    program = native.build(folder)
    assert program.read_text() == "made\n"
    assert native.build(folder) == program
    assert len(compiler_log.read_text().splitlines()) == 1
    monkeypatch.setenv("CC", f"'{tmp_path}/fake compiler' -O3")
    assert native.build(folder) != program
    first, second = compiler_log.read_text().splitlines()
    assert first.startswith("-g ")
    assert second.startswith("-O3 ")
    # Nothing unfinished is left.
    assert len(list(folder.iterdir())) == 2


def test_the_default_folder_is_a_cache(
    compiler_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert native.build().parent == tmp_path / "cache" / "tfrs_dhe"


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"needs a C compiler.*no `cc` nor `gcc`"):
        native.build(tmp_path)
    monkeypatch.setenv("CC", "absent")
    with pytest.raises(RuntimeError, match="there is no `absent`"):
        native.build(tmp_path)


def test_a_compiler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "failing"
    compiler.write_text("#!/bin/sh\necho no such header >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(RuntimeError, match=r"could not compile(.|\n)*no such header"):
        native.build(tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []
