"""New movies: their score and rank, a warm start, and when to train again.

python examples/analysis/new_items.py --output analysis
"""

import movies
import numpy as np

import tfrs_dhe
from tfrs_dhe import analysis

NUM_SIMILAR, NUM_WINDOWS = 4, 12


def similar_movies(table, new, trained, counts):
    """Returns for every new movie the trained ones of the most similar genres.

    Of equally similar ones, the most frequent come first.
    """
    features = table.side_features
    norms = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    unit = features / norms
    cosines = unit[new] @ unit[trained].T
    order = np.lexsort((-np.broadcast_to(counts[trained], cosines.shape), -cosines))
    return table.movie_id[trained[order[:, :NUM_SIMILAR]]]


def windows_of(ratings):
    """Returns the movies of equal parts of the ratings, by time."""
    known = ratings.select(np.flatnonzero(ratings.has_timestamp))
    order = np.argsort(known.timestamp, kind="stable")
    return [known.movie_id[part] for part in np.array_split(order, NUM_WINDOWS)]


def main(argv=None):
    args = movies.argument_parser(__doc__).parse_args(argv)
    liked = movies.load(args.data_dir, args.num_ratings, args.seed).positives()
    split = tfrs_dhe.datasets.split_by_time(liked, test_share=0.2)
    table, counts = liked.movie_table, split.train_movie_counts
    trained, new = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    model = movies.train(
        movies.MovieModel(len(table) // 16),
        split.train_interactions,
        args.epochs,
        args.seed,
    )

    examples = split.test_batches(512).map(lambda row: (row, row["movie_id"]))
    trained_ids = table.movie_id[trained]
    index = model.make_index(table.movie_id)
    cold = analysis.rank_new_classes(index, examples, trained_ids)
    print(f"New movies by their own buckets\n{cold}\n")
    analysis.borrow_buckets(
        index, table.movie_id[new], similar_movies(table, new, trained, counts)
    )
    warm = analysis.rank_new_classes(index, examples, trained_ids)
    print(f"New movies by buckets of {NUM_SIMILAR} similar ones\n{warm}\n")
    cold.plot(args.output / "new_cold", title="New movies by their own buckets")
    warm.plot(args.output / "new_warm", title="New movies by buckets of similar ones")

    age = analysis.retraining_age(
        windows_of(liked),
        max_unseen_share=0.05,
        quality=(warm.trained.recall(100), warm.new.recall(100)),
    )
    print(age)
    age.plot(args.output / "retraining")
    return cold, warm, age


if __name__ == "__main__":
    main()
