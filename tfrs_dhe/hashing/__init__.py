"""Hash functions on tensors: no Keras, no variables, stock ops only."""

from tfrs_dhe.hashing.cityhash import cityhash64

__all__ = ["cityhash64"]
