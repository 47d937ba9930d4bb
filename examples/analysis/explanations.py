"""Why MACH shows what it shows, and what a deep hash embedding makes of an id.

python examples/analysis/explanations.py --output analysis
"""

import movies
import numpy as np
import tensorflow as tf

import tfrs_dhe
from tfrs_dhe import analysis


def test_examples(split):
    """Yields the features of one query, and the movie that was liked."""
    for row in split.test_batches(1):
        yield row, row["movie_id"][0].numpy()


def main(argv=None):
    args = movies.argument_parser(__doc__).parse_args(argv)
    liked = movies.load(args.data_dir, args.num_ratings, args.seed).positives()
    split = tfrs_dhe.datasets.split_by_time(liked)
    table = liked.movie_table
    models = [
        movies.train(
            movies.MovieModel(len(table) // 16, hash_seed=hash_seed),
            split.train_interactions,
            args.epochs,
            args.seed,
        )
        for hash_seed in (0, 1)
    ]
    index = models[0].make_index(table.movie_id)
    answers = list(
        analysis.explain_examples(index, test_examples(split), num_right=1, num_wrong=1)
    )
    for answer in answers:
        is_right = isinstance(answer, analysis.Explanation)
        print(f"{answer}\n")
        answer.plot(args.output / ("answer_right" if is_right else "answer_wrong"))

    users = liked.user_table
    rows = np.flatnonzero(split.train_user_counts)[:500]
    embedding = analysis.explain_embedding(
        models[0].user_model.embedding,
        users.user_id[rows[0]],
        users.user_id[rows],
        side_features=users.side_features[rows],
    )
    print(f"{embedding}\n")
    embedding.plot(args.output / "embedding")

    def embed(model):
        features = tf.constant(users.side_features[rows])
        # compare_seeds asks for ids in batches; the same ones come back in order.
        vectors = model.user_model.embedding(
            tf.constant(users.user_id[rows]), features, training=False
        )
        by_id = dict(zip(users.user_id[rows], vectors.numpy(), strict=True))
        return lambda ids: np.stack([by_id[i.decode()] for i in ids.numpy()])

    agreement = analysis.compare_seeds(
        [embed(model) for model in models], users.user_id[rows]
    )
    print(agreement)
    agreement.plot(args.output / "seeds")
    return answers, embedding, agreement


if __name__ == "__main__":
    main()
