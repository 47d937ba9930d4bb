"""What rows of 8-bit integers change in the results of a MACH head.

Run `python benchmarks/mach/quantized.py` from the repository's root. The model of
examples/next_item.py is trained on synthetic sessions and searched with its head and
with the quantized one: recall, the share of the 20 best items that both find, the
largest error of a logit as a share of its bound, and the sizes.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFRS needs it, before TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import next_item
import numpy as np
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers.factorized_top_k import MACH


def num_bytes(head: Any) -> int:
    """Bytes of the weights of a head."""
    return sum(array.nbytes for array in head.get_weights())


def compare(model: Any, test: Any) -> dict[str, Any]:
    """Returns the figures of the head and of the quantized one."""
    query_model = next_item.QueryModel(model.trunk)
    heads = {"float32": model.head, "int8": model.head.quantized()}
    indexes = {
        name: MACH(
            head,
            query_model,
            k=next_item.TOP,
            aggregation=next_item.AGGREGATION[model.objective],
        ).index(model.items)
        for name, head in heads.items()
    }
    rows = {
        name: {**next_item.evaluate(indexes[name], test), "bytes": num_bytes(head)}
        for name, head in heads.items()
    }
    batch = next(iter(test.batches(512, max_length=next_item.MAX_LENGTH)))["items"]
    found = [indexes[name](batch)[1].numpy() for name in heads]
    common = [len(set(a) & set(b)) for a, b in zip(*found, strict=True)]
    queries = query_model(batch)
    error = tf.abs(heads["int8"](queries) - heads["float32"](queries))
    bound = heads["int8"].logit_error(queries)
    return {
        "rows": rows,
        "share_of_top_in_common": float(np.mean(common) / next_item.TOP),
        "largest_error_to_bound": float(tf.reduce_max(error / bound)),
    }


def main() -> None:
    """Trains, measures, prints and, if asked to, writes the figures."""
    parser = next_item.argument_parser()
    parser.description = "Results of quantized MACH heads."
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    sessions, watched, test, num_items = next_item.load(args)
    keras.utils.set_random_seed(args.seed)
    model = next_item.MACHModel(args, sessions.counts(num_items))
    next_item.train(model, sessions, watched, args)
    result = compare(model, test)
    for name, figures in result["rows"].items():
        line = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        print(f"{name}: {line}")
    print(f"Of the {next_item.TOP} best, {result['share_of_top_in_common']:.2%} are in")
    print("both. Largest error of a logit:", end=" ")
    print(f"{result['largest_error_to_bound']:.1%} of its bound.")
    if args.output is not None:
        settings = {
            name: value
            for name, value in vars(args).items()
            if name not in ("output", "data_dir")
        }
        result = {**settings, "num_items": num_items, **result}
        args.output.write_text(json.dumps(result, indent=2, default=float) + "\n")


if __name__ == "__main__":
    main()
