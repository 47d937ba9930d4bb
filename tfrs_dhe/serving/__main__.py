"""`python -m tfrs_dhe.serving verify PATH` and `... inspect PATH`."""

import argparse
import sys
from collections.abc import Sequence

from tfrs_dhe.serving._verification.answers import TOLERANCE
from tfrs_dhe.serving._verification.saved_model import resolve_version
from tfrs_dhe.serving.inspection import inspect
from tfrs_dhe.serving.verification import verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and prints what it found.

    Args:
      arguments: The arguments of the command line; those of the process if None.

    Returns:
      The exit status: 0 if all is well, 1 if the version has problems, 2 if there
      is no version.
    """
    options = _parser().parse_args(arguments)
    try:
        version_path = resolve_version(options.path)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        if options.command == "inspect":
            print(inspect(version_path))
        else:
            report = verify(
                version_path,
                dynamic=not options.static,
                timeout=options.timeout,
                tolerance=options.tolerance,
            )
            print(report)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tfrs_dhe.serving")
    commands = parser.add_subparsers(dest="command", required=True)
    path = argparse.ArgumentParser(add_help=False)
    path.add_argument(
        "path",
        help="a version's directory, or a model's, of which the highest is taken",
    )
    checking = commands.add_parser(
        "verify", parents=[path], help="say whether TF Serving would answer from it"
    )
    checking.add_argument(
        "--static", action="store_true", help="read it only, do not run it"
    )
    checking.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        help="seconds until the process that runs it is stopped (default: 600)",
    )
    checking.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="of floats, relative to the largest of their output (default: "
        f"{TOLERANCE:g}; 1e-3 for samples of a GPU)",
    )
    commands.add_parser("inspect", parents=[path], help="say what is in it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
