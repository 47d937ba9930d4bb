"""`python -m tfrs_dhe.analysis encodings | distribution | drift | sweep | ...`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrs_dhe.analysis import _commands

#: What is said in a line, without a trace. (A data set fails with TensorFlow's.)
_PROBLEMS = (
    ValueError,
    RuntimeError,
    FileNotFoundError,
    ImportError,
    tf.errors.InvalidArgumentError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and prints what it found.

    Args:
      arguments: The arguments of the command line; those of the process if None.

    Returns:
      The exit status: 0 if all is well, 1 if drift raised an alert, 2 if something that
      was given does not fit.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except _PROBLEMS as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfrs_dhe.analysis",
        description="Files have ids in columns; see --columns and --separator.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    files = _file_options()
    plot = argparse.ArgumentParser(add_help=False)
    plot.add_argument("--plot", type=Path, help="picture to write, as PNG and SVG")

    def add(name: str, parents: list[argparse.ArgumentParser], words: str) -> Any:
        command = commands.add_parser(name, parents=parents, help=words)
        command.set_defaults(run=getattr(_commands, name.replace("-", "_")))
        return command

    command = add("encodings", [files, plot], "compare encodings of ids")
    command.add_argument("file", type=Path, nargs="?", help="ids; else 0, 1, 2, ...")
    command.add_argument("--num-ids", type=int, default=4096, help="at most so many")
    command.add_argument("--num-hashes", type=int, default=1024, help="k")
    command.add_argument("--distribution", default="uniform", help="or gaussian")

    command = add("distribution", [files, plot], "how ids are distributed")
    command.add_argument("file", type=Path, nargs="+", help="read one after the other")
    command.add_argument(
        "--embedding-dim", type=int, default=64, help="d (default: 64)"
    )
    command.add_argument("--save", type=Path, help="sketch to write, for `drift`")

    command = add("drift", [files], "compare live ids with a reference")
    command.add_argument("reference", type=Path, help="a file, or a sketch (.npz)")
    command.add_argument("live", type=Path, help="a file, or a sketch (.npz)")
    command.add_argument("--report", type=Path, help="folder for drift.md")
    for name, default in _commands.ID_THRESHOLDS.items():
        command.add_argument(
            f"--{name.replace('_', '-')}",
            type=float,
            default=default,
            help=f"alert from there on (default: {default:g})",
        )

    command = add("retraining", [files, plot], "when too many ids are new")
    command.add_argument("file", type=Path, nargs="+", help="one a window, by time")
    command.add_argument("--max-unseen-share", type=float, default=0.05)

    command = add("sweep", [plot], "quality against memory over a grid")
    command.add_argument("evaluate", help="module:function or file.py:function")
    command.add_argument(
        "--grid",
        nargs="+",
        required=True,
        metavar="NAME=VALUE,VALUE",
        type=_setting,
        help="settings and their values, such as num_buckets=100,1000",
    )
    command.add_argument("--directory", type=Path, required=True, help="for results")
    command.add_argument("--data-share", type=float, default=1.0)
    command.add_argument("--processes", type=int, default=1)
    command.add_argument("--threads", type=int)
    command.add_argument("--lower-is-better", action="store_true")

    command = add("explain", [], "explain answers of a MACH index, right and wrong")
    command.add_argument(
        "make",
        help="module:function or file.py:function that returns an index and pairs of "
        "the features of one query and its true class",
    )
    command.add_argument("--right", type=int, default=5, help="how many (default: 5)")
    command.add_argument("--wrong", type=int, default=5, help="how many (default: 5)")
    command.add_argument("--output", type=Path, help="folder for explanations.md")
    return parser


def _file_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--columns", default="0", help='such as "1", "1:", "1:3" (default: 0)'
    )
    options.add_argument("--separator", help="of columns; by default white space")
    options.add_argument("--within", help="separates ids within a column")
    options.add_argument("--skip-lines", type=int, default=0)
    options.add_argument("--integers", action="store_true", help="ids are integers")
    return options


def _setting(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE,VALUE, received {text}")
    return name, [_value(word) for word in values.split(",")]


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


if __name__ == "__main__":
    sys.exit(main())
