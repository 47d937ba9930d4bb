"""New movies: their score and rank, a warm start, training again, and when.

python examples/analysis/new_items.py --output analysis
"""

import movies
import numpy as np

import tfrs_dhe
from tfrs_dhe import analysis

NUM_SIMILAR, NUM_WINDOWS = 4, 12
#: With fewer ratings to train on, a movie keeps the buckets of similar ones.
MIN_RATINGS = 20
#: How much of the recall for known movies may be lost to new ones.
MAX_LOSS = 0.05


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
    # Both have the same last tenth to test; the second has all that was before.
    first = tfrs_dhe.datasets.split_by_time(
        liked, test_share=0.1, validation_share=0.2, unseen_user_share=0
    )
    second = tfrs_dhe.datasets.split_by_time(
        liked, test_share=0.1, unseen_user_share=0, unseen_movie_share=0
    )
    table, counts = liked.movie_table, first.train_movie_counts
    trained, new = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    # Those that no training knows say nothing of training again.
    is_known = second.train_movie_counts[second.test_interactions.movie_index] > 0
    test = second.test_interactions.select(is_known)

    def ranks_of(index):
        examples = test.batches(512, shuffle=False).map(
            lambda row: (row, row["movie_id"])
        )
        return analysis.rank_new_classes(index, examples, table.movie_id[trained])

    def train(model, ratings, epochs):
        return movies.train(model, ratings, epochs, args.seed)

    num_buckets = len(table) // 16
    model = train(movies.MovieModel(num_buckets), first.train_interactions, args.epochs)
    index = model.make_index(table.movie_id)
    ranks = {"own buckets": ranks_of(index)}
    analysis.borrow_buckets(
        index, table.movie_id[new], similar_movies(table, new, trained, counts)
    )
    ranks["borrowed"] = ranks_of(index)
    # The weights go on from where they are; new movies have their own buckets again.
    index.remove(table.movie_id[new]).add(table.movie_id[new])
    train(model, second.train_interactions, max(1, args.epochs // 4))
    ranks["trained further"] = ranks_of(index)
    anew = train(movies.MovieModel(num_buckets), second.train_interactions, args.epochs)
    index = anew.make_index(table.movie_id)
    ranks["trained anew"] = ranks_of(index)
    counts = second.train_movie_counts
    rare, common = (
        np.flatnonzero(chosen)
        for chosen in (counts < MIN_RATINGS, counts >= MIN_RATINGS)
    )
    analysis.borrow_buckets(
        index, table.movie_id[rare], similar_movies(table, rare, common, counts)
    )
    ranks["anew, rare ones borrow"] = ranks_of(index)
    stages = analysis.RankStages(ranks)
    print(f"{stages}\n")
    stages.plot(args.output / "new_items")

    ages = {}
    for stage in ("own buckets", "borrowed"):
        known, cold = ranks[stage].trained.recall(100), ranks[stage].new.recall(100)
        # A share u of unseen movies costs u (known - cold).
        allowed = MAX_LOSS * known / (known - cold) if known > cold else 1.0
        ages[stage] = analysis.retraining_age(
            windows_of(liked),
            max_unseen_share=min(allowed, 1.0),
            quality=(known, cold),
        )
        print(f"{stage}, to lose no more than {MAX_LOSS:.0%}\n{ages[stage]}\n")
    ages["borrowed"].plot(args.output / "retraining")
    return stages, ages


if __name__ == "__main__":
    main()
