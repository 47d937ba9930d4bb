"""A version's directory appears whole or not at all."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

#: TF Serving reads a version as an int64, and passes over larger ones.
_LARGEST = 2**63 - 1

#: What `os.rename` says when another version is there.
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def versions(base_path: Path) -> dict[int, Path]:
    """Returns what TF Serving takes for the versions of a model, ascending."""
    if not base_path.is_dir():
        return {}
    found = {
        int(path.name): path
        for path in base_path.iterdir()
        if path.name.isascii() and path.name.isdigit() and int(path.name) <= _LARGEST
    }
    return dict(sorted(found.items()))


def check_version(base_path: Path, version: int | None) -> None:
    """Raises a ValueError if a version cannot be written there.

    Args:
      base_path: The directory of the model's versions.
      version: The version, None for the next one.
    """
    if base_path.exists() and not base_path.is_dir():
        raise ValueError(
            "`base_path` must be the directory of a model's versions. Received the "
            f"file {base_path}."
        )
    if version is None:
        _next(base_path)
        return
    is_integer = isinstance(version, int) and not isinstance(version, bool)
    if not is_integer or not 1 <= version <= _LARGEST:
        raise ValueError(
            "`version` must be a positive integer below 2**63: TF Serving takes no "
            f"others. Received: version={version!r}."
        )
    if version in versions(base_path):
        raise _exists(base_path, version)


@contextlib.contextmanager
def staged(base_path: Path) -> Iterator[Path]:
    """Gives a directory to write to that TF Serving does not look at.

    What is in it at the end is removed, and `base_path` as well if it was made for
    it and holds nothing.
    """
    is_new = not base_path.exists()
    path = base_path / f"tfrs_dhe_export_{uuid.uuid4().hex}"
    try:
        path.mkdir(parents=True)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):
                base_path.rmdir()  # Fails where it holds a version.


def publish(path: Path, base_path: Path, version: int | None) -> Path:
    """Makes a staged directory a version, at once.

    Args:
      path: The directory.
      base_path: The directory of the model's versions, which it is in.
      version: The version, None for the highest one plus 1.

    Returns:
      The version's directory.

    Raises:
      ValueError: If the version has come to be there in the meantime.
    """
    _flush(path)
    while True:
        number = version or _next(base_path)
        target = base_path / str(number)
        try:
            os.rename(path, target)
        except OSError as error:
            if error.errno not in _TAKEN or not target.exists():
                raise
            if version is not None:
                raise _exists(base_path, version) from error
            # Another export was faster; the next version is another one now.
        else:
            return target


def _next(base_path: Path) -> int:
    number = max(versions(base_path), default=0) + 1
    if number > _LARGEST:
        raise ValueError(
            f"`version` must be given: {base_path} has the largest that TF Serving "
            f"takes, {_LARGEST}, and so no next one."
        )
    return number


def _exists(base_path: Path, version: int) -> ValueError:
    return ValueError(
        f"`version` {version} exists in {base_path}, and a version that may be served "
        "is never changed. Leave `version` out for the next one."
    )


def _flush(path: Path) -> None:
    """Puts all files on the disk, so that a crash cannot leave a version of holes."""
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
