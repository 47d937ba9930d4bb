"""Makes the scripts of the study of quality importable, as they are for each other."""

import sys
from pathlib import Path

QUALITY = Path(__file__).parents[2] / "benchmarks" / "quality"
sys.path.append(str(QUALITY))
