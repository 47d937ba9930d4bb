"""`python -m tfrs_dhe.analysis encodings | distribution | drift | sweep | ...`."""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrs_dhe.analysis import _commands
from tfrs_dhe.analysis.drift_report import WORDS

#: What is said in a line, without a trace. (A data set fails with TensorFlow's; files
#: and folders that cannot be read or written with the OSError.)
_PROBLEMS = (
    ValueError,
    RuntimeError,
    OSError,
    ImportError,
    tf.errors.InvalidArgumentError,
)


#: How functions of the user are named.
_NAMED = "module:function or file.py:function"


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
    except Exception:
        # Not the status 1 of Python's own, which would be an alert.
        traceback.print_exc()
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfrs_dhe.analysis",
        description="Says whether it fits, why it answered so, and when it drifts. "
        "`COMMAND --help` has the arguments of each.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    files = _file_options()
    plot = argparse.ArgumentParser(add_help=False)
    plot.add_argument("--plot", type=Path, help="picture to write, as PNG and SVG")

    def add(name: str, parents: list[argparse.ArgumentParser], words: str) -> Any:
        sentence = f"{words[0].upper()}{words[1:]}."
        command = commands.add_parser(
            name, parents=parents, help=words, description=sentence
        )
        command.set_defaults(run=getattr(_commands, name.replace("-", "_")))
        return command

    command = add("encodings", [files, plot], "compare encodings of ids")
    command.add_argument("file", type=Path, nargs="?", help="of ids; else 0, 1, 2, ...")
    command.add_argument(
        "--num-ids", type=int, default=4096, help="at most so many (default: 4096)"
    )
    command.add_argument(
        "--num-hashes", type=int, default=1024, help="k (default: 1024)"
    )
    command.add_argument("--distribution", default="uniform", help="or gaussian")
    command.add_argument(
        "--encoding", help=f"{_NAMED} that returns another layer or function"
    )

    command = add("distribution", [files, plot], "how ids are distributed")
    command.add_argument("file", type=Path, nargs="+", help="of ids, read in order")
    command.add_argument(
        "--embedding-dim", type=int, default=64, help="d (default: 64)"
    )
    command.add_argument("--save", type=Path, help="sketch to write, for `drift`")

    command = add(
        "drift", [files], "compare live ids with a reference; status 1 is an alert"
    )
    command.add_argument(
        "reference", type=Path, help="a file of ids, or a sketch (.npz)"
    )
    command.add_argument("live", type=Path, help="a file of ids, or a sketch (.npz)")
    command.add_argument("--report", type=Path, help="folder for drift.md")
    command.add_argument(
        "--model",
        help=f"{_NAMED} that returns a dict with arguments of DriftCallback: head, "
        "examples, query_model; layer, layer_ids",
    )
    for name, default in _commands.THRESHOLDS.items():
        command.add_argument(
            f"--{name.replace('_', '-')}",
            type=float,
            default=default,
            help=f"alert if the {WORDS[name]} is "
            f"{'below' if name == 'heavy_overlap' else 'above'} (default: {default:g})",
        )

    command = add("new-items", [plot], "ranks of classes never trained on")
    command.add_argument(
        "make",
        help=f"{_NAMED} that returns a dict with arguments of rank_new_classes: index, "
        "examples, trained_ids",
    )

    command = add("retraining", [files, plot], "when too many ids are new")
    command.add_argument(
        "file", type=Path, nargs="+", help="of ids, one a window, by time"
    )
    command.add_argument(
        "--max-unseen-share",
        type=float,
        default=0.05,
        help="part of the traffic that may be of unseen ids (default: 0.05)",
    )

    command = add("sweep", [plot], "quality against memory over a grid")
    command.add_argument(
        "evaluate",
        help=f"{_NAMED} that takes data_share and the settings of a point, and returns "
        "a dict with quality and bytes",
    )
    command.add_argument(
        "--grid",
        nargs="+",
        required=True,
        metavar="NAME=VALUE,VALUE",
        type=_setting,
        help="settings and their values, such as num_buckets=100,1000",
    )
    command.add_argument(
        "--directory", type=Path, required=True, help="for results, which are kept"
    )
    command.add_argument(
        "--data-share",
        type=float,
        default=1.0,
        help="part of the data, which `evaluate` takes (default: 1)",
    )
    command.add_argument(
        "--processes", type=int, default=1, help="points at a time (default: 1)"
    )
    command.add_argument(
        "--threads", type=int, help="of each process; by default an equal part of all"
    )
    command.add_argument(
        "--lower-is-better", action="store_true", help="quality is a loss"
    )

    command = add("explain", [], "explain answers of a MACH index, right and wrong")
    command.add_argument(
        "make",
        help=f"{_NAMED} that returns an index and pairs of the features of one query "
        "and its true class",
    )
    command.add_argument("--right", type=int, default=5, help="how many (default: 5)")
    command.add_argument("--wrong", type=int, default=5, help="how many (default: 5)")
    command.add_argument("--output", type=Path, help="folder for explanations.md")

    command = add("explain-embedding", [plot], "what an embedding makes of an id")
    command.add_argument(
        "make",
        help=f"{_NAMED} that returns a dict with arguments of explain_embedding: "
        "layer, identifier, candidates, side_features",
    )

    command = add("compare-seeds", [plot], "on what models with other seeds agree")
    command.add_argument(
        "make",
        help=f"{_NAMED} that returns a dict with arguments of compare_seeds: layers, "
        "ids",
    )
    return parser


def _file_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--columns", default="0", help='such as "1", "1:", "1:3" (default: 0)'
    )
    options.add_argument("--separator", help="of columns; by default white space")
    options.add_argument("--within", help="separates ids within a column")
    options.add_argument(
        "--skip-lines", type=int, default=0, help="first lines (default: 0)"
    )
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
