"""What encodings of ids have: the DHE paper's table, measured.

python examples/analysis/encodings.py --output analysis
"""

import movies
import numpy as np

from tfrs_dhe import analysis


def main(argv=None):
    parser = movies.argument_parser(__doc__)
    parser.add_argument("--num-ids", type=int, default=2000)
    args = parser.parse_args(argv)
    ids = np.array([f"user_{i}" for i in range(args.num_ids)])
    table = analysis.compare_encodings(ids)
    print(table)
    table.plot(args.output / "encodings")
    return table


if __name__ == "__main__":
    main()
