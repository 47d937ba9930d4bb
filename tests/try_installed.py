"""A program outside the repository, for a wheel in an environment of its own."""

import importlib.resources
from pathlib import Path

import tensorflow as tf

import tfrs_dhe

repository = Path(__file__).parent.parent
package = Path(tfrs_dhe.__file__)
assert not package.is_relative_to(repository / "tfrs_dhe"), package
assert importlib.resources.files("tfrs_dhe").joinpath("py.typed").is_file()
assert (
    importlib.resources.files("tfrs_dhe.serving.native").joinpath("serve.c").is_file()
)

layer = tfrs_dhe.layers.DeepHashEmbedding(8, parameter_budget=20_000)
embeddings = layer(tf.constant(["user_17", "never seen"]), training=False)
assert embeddings.shape == (2, 8)
assert len(tfrs_dhe.datasets.load(num_users=50, num_movies=100, num_ratings=500)) == 500
print(f"tfrs_dhe {tfrs_dhe.__version__} works from {package.parent}")
