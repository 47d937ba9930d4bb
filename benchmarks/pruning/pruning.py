"""Size and quality of deep hash embeddings before and after pruning.

Run `python benchmarks/pruning/pruning.py` from the repository's root. The two-tower
model of examples/demo.py is trained on deep hash embeddings, then trained further
while a share of the weights of both networks is pruned, by each share from the same
start. Share 0 is trained further as well, without pruning, so that the others are
compared with as much training.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import common
import demo

import tfrs_dhe
from tfrs_dhe._keras import keras
from tfrs_dhe.models import MagnitudePruning, network_size

METRIC = f"all @{demo.KS[-1]}"


def embeddings(model: Any) -> list[Any]:
    """The layers that are pruned."""
    return [model.user_model.embedding, model.movie_model.embedding]


def figures(model: Any, evaluate: Any) -> dict[str, Any]:
    """Sizes of both networks together, and the accuracy."""
    sizes = [network_size(layer) for layer in embeddings(model)]
    return {
        "weights": sum(size.num_weights for size in sizes),
        "nonzero": sum(size.num_nonzero for size in sizes),
        "gzip bytes": sum(size.compressed_bytes for size in sizes),
        METRIC: evaluate(model)[METRIC],
    }


def prune(model: Any, share: float, batches: Any, args: argparse.Namespace) -> None:
    """Trains further; the last epoch without growth of the share."""
    model.compile(optimizer=keras.optimizers.Adam(args.fine_tuning_rate))
    callbacks = []
    if share:
        num_steps = args.fine_tuning_epochs * len(list(batches))
        end = max(
            1, num_steps * (args.fine_tuning_epochs - 1) // args.fine_tuning_epochs
        )
        callbacks = [MagnitudePruning(embeddings(model), share, end_step=end)]
    model.fit(batches, epochs=args.fine_tuning_epochs, callbacks=callbacks, verbose=0)


def main() -> None:
    """Trains, prunes, prints and, if asked to, writes the figures."""
    parser = common.argument_parser(__doc__, epochs=4)
    parser.set_defaults(batch_size=512, num_ratings=60_000)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--fine-tuning-rate", type=float, default=3e-3)
    parser.add_argument("--fine-tuning-epochs", type=int, default=6)
    parser.add_argument("--num-hashes", type=int, default=256)
    parser.add_argument("--num-hidden-layers", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.25, help="of the tables")
    parser.add_argument("--pruned", type=float, nargs="+", default=[0.5, 0.75, 0.9])
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()

    split = tfrs_dhe.datasets.split_by_time(common.load(args).positives())
    movies = split.movies.batch(4096)
    batches = split.train_batches(args.batch_size, seed=args.seed)
    batches = batches.map(common.add_movie_probability(split)).prefetch(2)
    parts = {"all": common.test_parts(split)["all"]}
    keras.utils.set_random_seed(args.seed)
    model = demo.TwoTowerModel(
        demo.make_deep_hash_embedding(split.train_user_ids, args),
        demo.make_deep_hash_embedding(split.train_movie_ids, args),
    )
    demo.train(model, args.learning_rate, args.epochs, batches)

    def evaluate(model: Any) -> dict[str, float]:
        return demo.evaluate(model, movies, parts, split)

    rows = {"trained": figures(model, evaluate)}
    with tempfile.TemporaryDirectory() as folder:
        start = str(Path(folder) / "start")
        model.save_weights(start)
        for share in (0.0, *args.pruned):
            model.load_weights(start)
            prune(model, share, batches, args)
            rows[f"{share:.0%} pruned"] = figures(model, evaluate)
    common.print_table(rows)
    if args.output is not None:
        settings = {
            name: value
            for name, value in vars(args).items()
            if name not in ("output", "data_dir")
        }
        result = {**settings, "rows": rows}
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
