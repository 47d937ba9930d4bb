"""DLRM and DCN: will a user like a movie?

TFRS's ready-made `tfrs.experimental.models.Ranking` with a
`DeepHashEmbeddingCollection` as its embedding layer: one network for all
categorical features, whatever the number of their values.

    python examples/dlrm.py
    python examples/dlrm.py --interaction dcn --data-dir ml-1m
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.

import common
import tensorflow as tf
import tensorflow_recommenders as tfrs

import tfrs_dhe

# Those that the data has are used.
CATEGORICAL = (
    "user_id",
    "movie_id",
    "user_gender",
    "bucketized_user_age",
    "user_occupation_text",
    "user_zip_code",
)
EMBEDDING_DIM = 16


def to_ranking_inputs(min_rating):
    """Returns a function to the (features, labels) that the model takes."""

    def convert(batch):
        categorical = {
            # Ids are strings or integers, not floats or bools.
            name: batch[name]
            if batch[name].dtype == tf.string
            else tf.cast(batch[name], tf.int64)
            for name in CATEGORICAL
            if name in batch
        }
        features = {
            "dense_features": batch["movie_side_features"],
            "sparse_features": categorical,
        }
        return features, tf.cast(batch["user_rating"] >= min_rating, tf.float32)

    return convert


def make_model(feature_names, interaction):
    """Returns a DLRM ("dot") or a DCN ("dcn")."""
    return tfrs.experimental.models.Ranking(
        embedding_layer=tfrs_dhe.layers.DeepHashEmbeddingCollection(
            feature_names,
            EMBEDDING_DIM,
            shared_network=True,
            hidden_dim=128,
            num_hidden_layers=1,
            num_hashes=256,
            kernel_regularizer=tf.keras.regularizers.L2(1e-3),
            deduplicate=True,  # A batch has few different values of a feature.
        ),
        bottom_stack=tfrs.layers.blocks.MLP([32, EMBEDDING_DIM]),
        feature_interaction={
            "dot": tfrs.layers.feature_interaction.DotInteraction(skip_gather=True),
            "dcn": tf.keras.Sequential(
                [
                    # With -1 Keras takes axis 0 where TFRS lost the rank.
                    tf.keras.layers.Concatenate(axis=1),
                    tfrs.layers.feature_interaction.Cross(),
                ]
            ),
        }[interaction],
        top_stack=tfrs.layers.blocks.MLP([64, 1], final_activation="sigmoid"),
    )


def main(argv=None):
    parser = common.argument_parser(__doc__, epochs=3)
    parser.add_argument("--interaction", choices=["dot", "dcn"], default="dot")
    args = parser.parse_args(argv)
    tf.keras.utils.set_random_seed(args.seed)
    split = tfrs_dhe.datasets.split_by_time(common.load(args))
    min_rating = 0.8 * split.train_interactions.rating_scale[1]  # 4 of 5 stars.
    convert = to_ranking_inputs(min_rating)

    train = split.train_batches(args.batch_size, seed=args.seed, drop_remainder=True)
    train = train.map(convert)
    feature_names = list(train.element_spec[0]["sparse_features"])
    model = make_model(feature_names, args.interaction)
    model.compile(optimizer=tf.keras.optimizers.Adam(2e-3))
    model.fit(train, epochs=args.epochs, verbose=2)

    liked = split.train_interactions.user_rating >= min_rating
    share_liked = common.movie_means(split.train_interactions, liked)
    figures = {}
    for name, part in common.test_parts(split).items():
        auc = tf.keras.metrics.AUC()
        auc.update_state(part.user_rating >= min_rating, share_liked(part))
        test = part.batches(4096).map(convert)
        # TFRS squeezes a batch of one example to a vector, and fails.
        test = test.filter(lambda features, labels: tf.size(labels) > 1)
        logs = model.evaluate(test, return_dict=True, verbose=0)
        figures[f"share who like it, {name}"] = {"auc": float(auc.result())}
        figures[f"{args.interaction}, {name}"] = {"auc": logs["auc"]}
    common.print_table(figures)
    return figures


if __name__ == "__main__":
    main()
