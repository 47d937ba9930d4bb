"""How sensitive quality is to B and R, and to k, depth and width.

    python examples/analysis/sensitivity.py --processes 2 --output analysis

Run again after an interruption, it goes on where it stopped.
"""

import movies
import numpy as np
import tensorflow as tf

import tfrs_dhe
from tfrs_dhe import analysis

EPOCHS, NUM_SHOWN = 6, 100

MACH_GRID = {"num_buckets": [25, 50, 100, 200], "num_repetitions": [1, 2, 4, 8]}
DHE_GRID = {
    "num_hashes": [16, 64, 256],
    "num_hidden_layers": [1, 3],
    "hidden_dim": [32, 128],
}


def positives(data_share, num_ratings, seed):
    """Returns liked movies of a part of the users, divided by time."""
    liked = movies.load(num_ratings=num_ratings).positives()
    kept = analysis.in_sample(liked.user_id, data_share).numpy()
    split = tfrs_dhe.datasets.split_by_time(liked.select(np.flatnonzero(kept)))
    tf.keras.utils.set_random_seed(seed)
    return split


def recall(index, split):
    """Returns how often a movie that a user liked later is among the first shown."""
    hits = []
    for batch in split.test_batches(512):
        _, found = index(batch, k=NUM_SHOWN)
        hits.append(found.numpy() == batch["movie_id"].numpy()[:, np.newaxis])
    return float(np.concatenate(hits).any(axis=1).mean())


def evaluate_mach(data_share, num_buckets, num_repetitions, num_ratings, seed=0):
    """Returns the quality and the size of a head."""
    split = positives(data_share, num_ratings, seed)
    model = movies.MovieModel(num_buckets, num_repetitions)
    movies.train(model, split.train_interactions, EPOCHS, seed)
    index = model.make_index(split.train_interactions.movie_table.movie_id)
    return {"quality": recall(index, split), "bytes": 4 * model.head.count_params()}


def evaluate_dhe(
    data_share, num_hashes, num_hidden_layers, hidden_dim, num_ratings, seed=0
):
    """Returns the quality and the size of an embedding of users."""
    split = positives(data_share, num_ratings, seed)
    model = movies.MovieModel(num_buckets=200)
    model.user_model.embedding = tfrs_dhe.layers.DeepHashEmbedding(
        32,
        hidden_dim=hidden_dim,
        num_hidden_layers=num_hidden_layers,
        num_hashes=num_hashes,
    )
    movies.train(model, split.train_interactions, EPOCHS, seed)
    index = model.make_index(split.train_interactions.movie_table.movie_id)
    size = 4 * model.user_model.embedding.count_params()
    return {"quality": recall(index, split), "bytes": size}


def main(argv=None):
    parser = movies.argument_parser(__doc__)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--data-share", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="two points of each grid")
    args = parser.parse_args(argv)
    results = {}
    for name, grid in (("mach", MACH_GRID), ("dhe", DHE_GRID)):
        if args.small:
            first, *others = grid
            grid = {first: grid[first][-2:], **{key: grid[key][:1] for key in others}}
        results[name] = analysis.sweep(
            f"{__file__}:evaluate_{name}",
            {**grid, "num_ratings": [args.num_ratings], "seed": [*range(args.seeds)]},
            args.output / f"sweep_{name}",
            data_share=args.data_share,
            processes=args.processes,
        )
        print(f"{name}\n{results[name]}\n")
        results[name].plot(
            args.output / f"sweep_{name}",
            title=f"{name.upper()}: quality against memory",
            quality=f"recall@{NUM_SHOWN} of later ratings",
        )
    return results


if __name__ == "__main__":
    main()
