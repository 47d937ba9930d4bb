"""What the page of the analyses tells a new user to write runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT


@pytest.mark.filterwarnings("ignore:.*have the same buckets")
def test_program_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    text = (ROOT / "docs" / "analysis" / "README.md").read_text()
    program = re.findall(r"```python\n(.*?)```", text, re.S)[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    for words in ("distinct ids", "MACH with R = ", "rank 1 of", "No alert."):
        assert words in printed
    assert {path.name for path in (tmp_path / "analysis").iterdir()} == {
        "items.png",
        "items.svg",
    }
