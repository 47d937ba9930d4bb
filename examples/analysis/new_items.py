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


def train(table, split, args):
    """Returns a model of what is before the test ratings of a split."""
    model = movies.MovieModel(len(table) // 16)
    return movies.train(model, split.train_interactions, args.epochs, args.seed)


def main(argv=None):
    args = movies.argument_parser(__doc__).parse_args(argv)
    liked = movies.load(args.data_dir, args.num_ratings, args.seed).positives()
    # The first model knows the first part; then comes a second, and a third to test.
    first, second = (
        tfrs_dhe.datasets.split_by_time(
            liked, test_share=share, unseen_user_share=0, unseen_movie_share=0
        )
        for share in (0.3, 0.15)
    )
    table, counts = liked.movie_table, first.train_movie_counts
    trained, new = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    model = train(table, first, args)

    examples = second.test_batches(512).map(lambda row: (row, row["movie_id"]))
    trained_ids = table.movie_id[trained]
    index = model.make_index(table.movie_id)
    cold = analysis.rank_new_classes(index, examples, trained_ids)
    print(f"New movies by their own buckets\n{cold}\n")
    analysis.borrow_buckets(
        index, table.movie_id[new], similar_movies(table, new, trained, counts)
    )
    warm = analysis.rank_new_classes(index, examples, trained_ids)
    print(f"New movies by buckets of {NUM_SIMILAR} similar ones\n{warm}\n")
    retrained = analysis.rank_new_classes(
        train(table, second, args).make_index(table.movie_id), examples, trained_ids
    )
    print(f"The same movies after training on the second part as well\n{retrained}\n")
    cold.plot(args.output / "new_cold", title="New movies by their own buckets")
    warm.plot(args.output / "new_warm", title="New movies by buckets of similar ones")

    age = analysis.retraining_age(
        windows_of(liked),
        max_unseen_share=0.05,
        quality=(warm.trained.recall(100), warm.new.recall(100)),
    )
    print(age)
    age.plot(args.output / "retraining")
    return cold, warm, retrained, age


if __name__ == "__main__":
    main()
