"""Speed of the inference form of deep hash embeddings, next to the layer.

Run `python benchmarks/speed/inference.py` from the repository's root. Figures of one
run can be compared with each other, those of two runs only as ratios.

Three forms of each network: as it was trained; folded, with batch normalization in the
Dense layers and the same activation; and the inference form, which has a cheaper
activation too. The network is measured alone, on an encoding, and with the hashing of
ids before it. Then requests in which a share of the ids are repeats, with each
distinct id computed once and without.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from timing import conditions, median_seconds

from tfrs_dhe.layers import DeepHashEmbedding, EmbeddingNetwork

SHARES_OF_REPEATS = (0.0, 0.5, 0.9)


def in_inference(layer: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """A layer in a graph, in inference mode."""
    return tf.function(lambda inputs: layer(inputs, training=False))


def trained_layer(hidden_dim: int, batch: tf.Tensor) -> DeepHashEmbedding:
    """A layer whose statistics have moved."""
    layer = DeepHashEmbedding(32, hidden_dim)
    layer(batch, training=True)
    return layer


def folded(network: EmbeddingNetwork, inference: EmbeddingNetwork) -> EmbeddingNetwork:
    """The folded weights with the activation of training."""
    config = {**inference.get_config(), "name": "folded"}
    copy = EmbeddingNetwork.from_config(config)
    copy.build((None, network.input_dim))
    copy.set_weights([array.numpy() for array in inference.arrays()])
    return copy


def measure_forms(
    hidden_dim: int, batch_size: int, repeats: int, seed: int
) -> list[dict[str, Any]]:
    """Seconds of the network and of the whole layer, in each form."""
    ids = tf.constant(np.random.default_rng(seed).integers(0, 2**40, batch_size))
    layer = trained_layer(hidden_dim, ids)
    inference = layer.inference_form()
    networks = {
        "trained": layer.network,
        "folded": folded(layer.network, inference.network),
        "inference form": inference.network,
    }
    parts = {
        "network": (networks, layer.encoding(ids)),
        "layer": ({"trained": layer, "inference form": inference}, ids),
    }
    rows = []
    for part, (forms, inputs) in parts.items():
        functions = {name: in_inference(form) for name, form in forms.items()}
        seconds = median_seconds(functions, inputs, repeats)
        rows += [
            {
                "part": part,
                "hidden_dim": hidden_dim,
                "batch_size": batch_size,
                "form": name,
                "seconds": value,
                "speedup": seconds["trained"] / value,
            }
            for name, value in seconds.items()
        ]
    return rows


def measure_repeats(
    hidden_dim: int, batch_size: int, repeats: int, seed: int
) -> list[dict[str, Any]]:
    """Seconds of requests with repeated ids."""
    generator = np.random.default_rng(seed)
    rows = []
    for share in SHARES_OF_REPEATS:
        distinct = generator.integers(0, 2**40, round(batch_size * (1 - share)))
        again = generator.choice(distinct, batch_size - len(distinct))
        ids = tf.constant(generator.permutation(np.concatenate([distinct, again])))
        layer = trained_layer(hidden_dim, ids)
        functions = {
            once: in_inference(layer.inference_form(deduplicate=once))
            for once in (False, True)
        }
        seconds = median_seconds(functions, ids, repeats)
        rows += [
            {
                "hidden_dim": hidden_dim,
                "batch_size": batch_size,
                "repeats": share,
                "deduplicate": once,
                "seconds": value,
                "speedup": seconds[False] / value,
            }
            for once, value in seconds.items()
        ]
    return rows


def print_tables(result: dict[str, Any]) -> None:
    """Prints a line per form, and one per share of repeats."""
    print(f"{'part':<9}{'d_NN':>6}{'batch':>7}  {'form':<16}{'ms':>8}{'faster':>8}")
    for row in result["forms"]:
        line = f"{row['part']:<9}{row['hidden_dim']:>6}{row['batch_size']:>7}  "
        line += f"{row['form']:<16}{row['seconds'] * 1e3:>8.2f}"
        print(line + f"{row['speedup']:>7.2f}x")
    print(f"\n{'repeats':<9}{'batch':>7}  {'deduplicate':<13}{'ms':>8}{'faster':>8}")
    for row in result["repeated_ids"]:
        line = f"{row['repeats']:<9.0%}{row['batch_size']:>7}  "
        line += f"{row['deduplicate']!s:<13}{row['seconds'] * 1e3:>8.2f}"
        print(line + f"{row['speedup']:>7.2f}x")


def main() -> None:
    """Measures, prints and, if asked to, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of the inference form.")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--hidden-dims", type=int, nargs="+", default=[64, 128, 512])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()

    tf.get_logger().setLevel("ERROR")  # Several functions of one code are wanted.
    common = (args.batch_size, args.repeats, args.seed)
    forms = [row for width in args.hidden_dims for row in measure_forms(width, *common)]
    result = {
        "repeats": args.repeats,
        "seed": args.seed,
        **conditions(),
        "forms": forms,
        "repeated_ids": measure_repeats(args.hidden_dims[0], *common),
    }
    print_tables(result)
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
