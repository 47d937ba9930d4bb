"""Makes the scripts of the studies importable, as they are for each other."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUALITY = BENCHMARKS / "quality"
MACH = BENCHMARKS / "mach"
sys.path += [str(QUALITY), str(MACH)]
