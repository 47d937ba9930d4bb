"""How ids are distributed, and what it means for the sizes of models.

python examples/analysis/distributions.py --output analysis
"""

import movies

from tfrs_dhe import analysis


def main(argv=None):
    args = movies.argument_parser(__doc__).parse_args(argv)
    ratings = movies.load(args.data_dir, args.num_ratings, args.seed)
    found = {}
    for field in ("movie_id", "user_id"):
        ids = ratings.batches(4096, shuffle=False).map(lambda row, f=field: row[f])
        found[field] = analysis.describe_ids(ids)
        print(f"{field}\n{found[field]}\n")
        found[field].plot(args.output / f"distribution_{field}", title=field)
    sizes = analysis.size_models(found["movie_id"], embedding_dim=32)
    print(sizes)
    sizes.plot(args.output / "sizes")
    return found, sizes


if __name__ == "__main__":
    main()
