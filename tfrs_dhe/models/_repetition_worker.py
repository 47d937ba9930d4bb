"""The process that trains one model, run as a script by `train_repetitions`.

The module of the user is imported first: it may set TF_USE_LEGACY_KERAS, which this
package reads when it is imported.
"""

import importlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load_make(name: str) -> Callable[[tuple[int, ...]], Any]:
    """Returns the function that `module:function` or `file.py:function` names."""
    module_name, _, function = name.rpartition(":")
    if module_name.endswith(".py"):
        # As when a script is started: its folder is the first on the path.
        sys.path.insert(0, str(Path(module_name).resolve().parent))
        spec = importlib.util.spec_from_file_location(
            Path(module_name).stem, module_name
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(module_name)
    return getattr(module, function)


def _exit_with_the_launcher() -> None:
    """Ends this process when the one that holds the other end of stdin is gone."""

    def watch() -> None:
        # Not sys.stdin, whose lock would be held when Python shuts down.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Trains as the JSON object in the first argument says."""
    # In the place of this script's folder, as `python -m` has it.
    sys.path[0] = os.getcwd()
    _exit_with_the_launcher()
    options = json.loads(sys.argv[1])
    make = load_make(options.pop("make"))

    from tfrs_dhe.models import _repetition_training

    _repetition_training.train(make, **options)


if __name__ == "__main__":
    main()
