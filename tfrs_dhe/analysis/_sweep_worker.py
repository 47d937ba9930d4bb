"""The process that evaluates one point, run as a script by `sweep`.

The module of the user is imported first: it may set TF_USE_LEGACY_KERAS, which this
package reads when it is imported.
"""

import importlib.util
import json
import math
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any


def _repetition_worker() -> ModuleType:
    """Returns the module that loads functions by their name, without its package."""
    path = Path(__file__).parents[1] / "models" / "_repetition_worker.py"
    spec = importlib.util.spec_from_file_location("_repetition_worker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _plain(number: float) -> float | str:
    """Returns a number as JSON has it; it has none that are not finite."""
    return number if math.isfinite(number) else str(number)


def main() -> None:
    """Evaluates what the JSON object in the first argument says."""
    worker = _repetition_worker()
    # In the place of this script's folder, as `python -m` has it.
    sys.path[0] = str(Path.cwd())
    worker._exit_with_the_launcher()
    job = json.loads(sys.argv[1])
    evaluate = worker.load_make(job["evaluate"])
    start = time.perf_counter()
    found: dict[str, Any] = dict(evaluate(**job["settings"]))
    found.setdefault("seconds", time.perf_counter() - start)
    numbers = {name: _plain(float(value)) for name, value in found.items()}
    # Whole or not at all: a file is a finished point.
    path = Path(job["path"])
    part = path.with_suffix(".part")
    part.write_text(
        json.dumps({"settings": job["settings"], "figures": numbers}, indent=1) + "\n"
    )
    part.replace(path)


if __name__ == "__main__":
    main()
