"""Hash functions on tensors: no Keras, no variables, stock ops only."""

from tfrs_dhe.hashing.cityhash import cityhash64
from tfrs_dhe.hashing.constants import derive_seed, splitmix64
from tfrs_dhe.hashing.keys import int64_keys
from tfrs_dhe.hashing.transforms import gaussian, uniform
from tfrs_dhe.hashing.universal import mix_keys, universal_hash

__all__ = [
    "cityhash64",
    "derive_seed",
    "gaussian",
    "int64_keys",
    "mix_keys",
    "splitmix64",
    "uniform",
    "universal_hash",
]
