"""The benchmarks of training and decoding run, and write what the plots read."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.processes import ROOT

SPEED = ROOT / "benchmarks" / "speed"


def figures(name: str, output: Path, *arguments: str) -> dict[str, Any]:
    """What a script writes at small sizes."""
    done = subprocess.run(
        [sys.executable, SPEED / f"{name}.py", f"--output={output}", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(output.read_text())
    return result


def test_decoder(tmp_path: Path) -> None:
    arguments = ("--batch-size=8", "--width=16", "--num-layers=2", "--repeats=1")
    result = figures("decoder", tmp_path / "decoder.json", *arguments)
    ratios = {row["step"]: row["ratio_to_products"] for row in result["rows"]}
    assert ratios["matrix products"] == 1
    assert "layers of Keras" in ratios


def test_mach_head(tmp_path: Path) -> None:
    sizes = ("--num-classes=500", "--dim=8", "--num-buckets=20", "--num-repetitions=3")
    result = figures("mach_head", tmp_path / "head.json", *sizes, "--repeats=1")
    parameters = {row["head"]: row["parameters"] for row in result["rows"]}
    # Weights and offsets of 3 * 20 buckets, or of 500 classes.
    assert parameters == {"mach": 60 * (8 + 1), "softmax": 500 * (8 + 1)}


def test_two_towers(tmp_path: Path) -> None:
    arguments = ("--num-rows=300", "--dim=4", "--batch-size=16", "--repeats=1")
    result = figures("two_towers", tmp_path / "towers.json", *arguments)
    rows = {row["model"]: row for row in result["rows"]}
    assert rows["tables"]["parameters"] == 2 * 300 * 4
    # Adam keeps two numbers for each weight, and a few for itself.
    for row in rows.values():
        assert row["bytes_of_variables"] >= 3 * 4 * row["parameters"]


def test_mach_scale(tmp_path: Path) -> None:
    arguments = ("--num-buckets=100", "--num-repetitions=4", "--repeats=1", "--dim=4")
    path, earlier = tmp_path / "scale.json", [{"part": "numpy", "rows": []}]
    path.write_text(json.dumps({"results": {"900": earlier}}))
    result = figures("mach_scale", path, *arguments, "--num-classes=1200")
    results = result["results"]
    assert list(results) == ["900", "1200"]
    assert results["900"] == earlier
    parts = results["1200"]
    methods = {row["method"] for part in parts for row in part["rows"]}
    certified = {"certified", "certified, compact"}
    assert methods == certified | {"score_all", "numpy", "brute_force"}
    assert all(part["peak_bytes"] > 0 for part in parts)


def test_input_pipeline(tmp_path: Path) -> None:
    arguments = ("--num-ids=9000", "--repeats=1", "--epochs=1")
    result = figures("input_pipeline", tmp_path / "input.json", *arguments)
    assert result["ids_per_second"] > 0
    assert [epoch["batches"] for epoch in result["epochs"]] == ["read", "in_memory"]
    assert all(0 < epoch["waiting"] < epoch["seconds"] for epoch in result["epochs"])
