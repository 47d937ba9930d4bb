"""Checks of pictures by what stands in them."""

import re
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


def assert_picture(paths: tuple[Path, Path], *words: str) -> None:
    """Checks that a picture is there as PNG and SVG and has some words in it."""
    png, svg = paths
    assert png.suffix == ".png"
    assert png.read_bytes().startswith(PNG)
    assert svg.suffix == ".svg"
    # Matplotlib draws text as paths, and leaves it in a comment.
    text = "\n".join(re.findall(r"<!-- (.*?) -->", svg.read_text()))
    for word in words:
        assert word in text
