"""The indexes of TFRS and of this package, alike."""

import abc
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import tfrs
from tfrs_dhe.layers import _arguments, factorized_top_k
from tfrs_dhe.layers.factorized_top_k import _exclusions


def is_index(servable: Any) -> bool:
    """Returns whether something finds the top k of a catalogue."""
    bases: tuple[type, ...] = (factorized_top_k.MACH,)
    if tfrs is not None:
        bases += (tfrs.layers.factorized_top_k.TopK,)
    return isinstance(servable, bases)


class ServedIndex(abc.ABC):
    """An index whose k is fixed.

    Args:
      layer: The index as its library has it.
      k: How many to return; by default its own. At most the whole catalogue.

    Attributes:
      layer: The index.
      query_model: What embeds queries, None if they are embeddings.
      k: How many are returned.
      identifier_dtype: That of the ids.
    """

    def __init__(self, layer: Any, k: int | None) -> None:
        self.layer = layer
        self.query_model = layer.query_model
        self.size, self.identifier_dtype = self._catalogue()
        self.k = min(layer._k if k is None else k, self.size)

    @abc.abstractmethod
    def _catalogue(self) -> tuple[int, tf.DType]:
        """Returns the number of ids and their dtype."""

    @abc.abstractmethod
    def _without(self, queries: Any, exclusions: tf.Tensor) -> Any:
        """Returns what `search_without` does."""

    def search(self, queries: Any) -> dict[str, tf.Tensor]:
        """Returns "scores" and "ids" [num_queries, k].

        Args:
          queries: As the index takes them.
        """
        return self._outputs(self.layer(queries, k=self.k))

    def search_without(
        self, queries: Any, exclusions: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns "scores" and "ids" [num_queries, k], without excluded ids.

        Args:
          queries: As the index takes them.
          exclusions: Ids [num_queries, num_exclusions].
        """
        return self._outputs(self._without(queries, exclusions))

    def _outputs(self, found: Any) -> dict[str, tf.Tensor]:
        scores, ids = (tf.ensure_shape(x, [None, self.k]) for x in found)
        return {"scores": scores, "ids": ids}


class _MACH(ServedIndex):
    def _catalogue(self) -> tuple[int, tf.DType]:
        identifiers = self.layer.identifiers()
        return len(identifiers), identifiers.dtype

    def _without(self, queries: Any, exclusions: tf.Tensor) -> Any:
        return self.layer.query_with_exclusions(queries, exclusions, k=self.k)


class _BruteForce(ServedIndex):
    def _catalogue(self) -> tuple[int, tf.DType]:
        if self.layer._candidates is None:
            raise ValueError(_no_candidates(self.layer))
        return self.layer._candidates.shape[0], self.layer._identifiers.dtype

    def _without(self, queries: Any, exclusions: tf.Tensor) -> Any:
        # The method of TFRS takes only as many exclusions as it was traced with.
        num_found = tf.minimum(self.k + tf.shape(exclusions)[1], self.size)
        scores, identifiers = self.layer(queries, k=num_found)
        return _exclusions.without(scores, identifiers, exclusions, self.k)


def served_index(layer: Any, k: int | None) -> ServedIndex:
    """Returns an index in the form that is served.

    Args:
      layer: A MACH, or a BruteForce or Streaming of TFRS.
      k: How many to return; by default its own.

    Raises:
      ValueError: If it has no candidates yet, or is one that cannot be served.
    """
    if k is not None:
        k = _arguments.check_positive_integer("k", k)
    if isinstance(layer, factorized_top_k.MACH):
        return _MACH(layer, k)
    library = tfrs.layers.factorized_top_k  # type: ignore[union-attr]
    if isinstance(layer, library.ScaNN):
        raise ValueError(
            "A ScaNN index cannot be served by stock TF Serving, which lacks its ops. "
            "Export a BruteForce over the same candidates."
        )
    if isinstance(layer, library.Streaming):
        layer = _read_stream(layer)
    if not isinstance(layer, library.BruteForce):
        raise ValueError(
            "`servable` must be a BruteForce or Streaming of TFRS, or a MACH of this "
            f"package, to be exported as an index. Received: {layer!r}. Give its "
            "query model and candidates to a BruteForce."
        )
    return _BruteForce(layer, k)


def _read_stream(stream: Any) -> Any:
    """Returns a BruteForce over what a data set yields, which is read once."""
    if stream._candidates is None:
        raise ValueError(_no_candidates(stream))
    layer = tfrs.layers.factorized_top_k.BruteForce(  # type: ignore[union-attr]
        stream.query_model, k=stream._k
    )
    # A subclass may score by something else than the product.
    layer._compute_score = stream._compute_score
    return layer.index_from_dataset(stream._candidates)


def _no_candidates(layer: Any) -> str:
    return (
        f"{layer.name} has no candidates yet: call `index` or `index_from_dataset` "
        "first."
    )
