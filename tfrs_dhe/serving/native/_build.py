"""Compiles the C program against the installed TensorFlow."""

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import tensorflow as tf

#: The program's source.
SOURCE = Path(__file__).with_name("serve.c")


def build(directory: Path | str | None = None) -> Path:
    """Compiles the C program, unless that has been done before.

    The compiler is `$CC`, or else `cc` or `gcc`. A program of another source,
    TensorFlow or compiler gets another name, so it is never out of date.

    Args:
      directory: Where to keep it. By default `tfrs_dhe` in the user's cache folder
        (`$XDG_CACHE_HOME`, or else `~/.cache`).

    Returns:
      The path of the program.

    Raises:
      RuntimeError: If there is no C compiler, or it fails; the message has what it
        said.
    """
    command = [*_compiler(), *_flags(), str(SOURCE)]
    directory = _cache() if directory is None else Path(directory)
    content = repr((command, tf.__version__)).encode() + SOURCE.read_bytes()
    program = directory / f"serve-{hashlib.sha256(content).hexdigest()[:16]}"
    if program.exists():
        return program
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as unfinished:
        made = Path(unfinished) / "serve"
        done = subprocess.run(
            [*command, "-o", str(made), *_libraries()],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"`build` could not compile {SOURCE}. The C compiler said:\n"
                f"{done.stderr}"
            )
        # Another process may be building the same; either program will do.
        os.replace(made, program)
    return program


def _compiler() -> list[str]:
    command = shlex.split(os.environ.get("CC", ""))
    candidates = [command] if command else [["cc"], ["gcc"]]
    for candidate in candidates:
        if shutil.which(candidate[0]):
            return candidate
    names = " nor ".join(f"`{candidate[0]}`" for candidate in candidates)
    raise RuntimeError(
        f"`build` needs a C compiler, and there is no {names}. Install one (on "
        "Debian: apt-get install gcc libc6-dev), or name it in the variable CC."
    )


def _flags() -> list[str]:
    include = Path(tf.sysconfig.get_lib()) / "include"
    return ["-std=gnu11", "-O2", "-Wall", "-Wextra", f"-I{include}"]


def _libraries() -> list[str]:
    folder = tf.sysconfig.get_lib()
    return [
        f"-L{folder}",
        "-l:libtensorflow_cc.so.2",
        "-l:libtensorflow_framework.so.2",
        f"-Wl,-rpath,{folder}",
        # The libraries need each other and what they load themselves.
        "-Wl,--allow-shlib-undefined",
    ]


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "tfrs_dhe"
