"""The index of the classes that a MACHHead scores."""

import warnings
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import mach
from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers.factorized_top_k import (
    _exclusions,
    _identifiers,
    _indistinguishable,
    _tables,
)
from tfrs_dhe.layers.factorized_top_k._staleness import BoundariesWatch
from tfrs_dhe.layers.factorized_top_k._top_k import TopK
from tfrs_dhe.mach import aggregation as aggregations
from tfrs_dhe.mach import decoding

#: How many groups of indistinguishable identifiers a warning names.
_NUM_NAMED_GROUPS = 3

#: How many ids of a data set are read at a time where it has single ones.
_BATCH_SIZE = 8192


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class MACH(TopK):
    """Finds the k classes of a catalogue that a MACHHead scores highest.

    A `tfrs.layers.factorized_top_k.TopK` that takes identifiers in place of
    embeddings: a class is its id, and its score comes from its buckets.

    ```
    score(c) = combine_r f(z[r])[h_r(c)]        z = head(query_model(queries))
    ```

    The index holds identifiers, their buckets, and the classes of each bucket, and
    no weights: it scores with the head as it is at the time, so it need not be made
    again while the head is trained. The k classes are exact: none in the index has
    a higher score. Of classes with equal scores, the one indexed earlier is first.

    It works as TFRS's indexes do: query it, pass it to
    `tfrs.metrics.FactorizedTopK(candidates=index)` with the ids of the true
    candidates, save it as a SavedModel. Under Keras 3, where there is no TFRS, it
    is a `keras.Model` with the same methods.

    Its classes are saved with it in `.keras` and `.weights.h5` files, checkpoints
    and SavedModels, and are back after loading, to be queried and changed. (The old
    `.h5` files of legacy Keras hold weights alone: call `index` again.) A new index
    needs weights before it loads `.weights.h5`: `index.build([None, d])`, after a
    call of its query model and head if it has one.

    Classes are looked up on the CPU, where strings are; head and query model run
    wherever TensorFlow puts them.

    Example:
    >>> from tfrs_dhe.layers import MACHHead
    >>> head = MACHHead(num_buckets=50, num_repetitions=4)
    >>> index = MACH(head, k=2).index(["shoes", "socks", "hat"])
    >>> scores, identifiers = index(tf.ones([1, 8]))
    >>> identifiers.shape
    TensorShape([1, 2])
    >>> _, identifiers = index.add(["scarf"]).remove(["hat"])(tf.ones([1, 8]), k=9)
    >>> sorted(identifiers[0].numpy().tolist())
    [b'scarf', b'shoes', b'socks']

    Args:
      head: The `MACHHead` that scores buckets.
      query_model: Turns the features of a query into the head's input. By default
        queries are the head's input, [num_queries, d].
      k: How many classes to return where a query does not say.
      aggregation: How the scores of a class's buckets are combined, one of
        `mach.AGGREGATIONS`. By default for a head trained with a softmax for each
        repetition; `"mean_logit"` is for one that is trained jointly.
      activation: `"softmax"`, or `"sigmoid"` for a head that is trained with
        several classes to an example.
      method: How the classes are found: `"score_all"` of them, `"certified"`,
        which scores only some and proves that no other belongs to the top k, or
        `"auto"`, the faster one as far as that is known. The results are equal.
      identifier_dtype: Of the identifiers, where it is known before `index` is called.
      compact: Whether to do without a table of 2 bytes a class and repetition (4 from
        65,537 buckets on), a quarter of the index, with which certified queries by
        means of logarithms are up to twice as fast. Other aggregations never have it.
      **kwargs: Those of a Keras model.

    Raises:
      ValueError: If an argument is out of range.

    References:
      Medini et al., "Extreme Classification in Log Memory using Count-Min
      Sketch: A Case Study of Amazon Search with 50M Products", NeurIPS 2019.
    """

    def __init__(
        self,
        head: Any,
        query_model: Any = None,
        k: int = 10,
        aggregation: str = "mean_log_probability",
        activation: str = "softmax",
        method: str = "auto",
        identifier_dtype: Any = None,
        compact: bool = False,
        **kwargs: Any,
    ) -> None:
        _arguments.check_positive_integer("k", k)
        aggregations.check_aggregation(aggregation, activation)
        _arguments.check_one_of("method", method, decoding.METHODS)
        if not hasattr(head, "bucket_table"):
            raise ValueError(f"`head` must be a MACHHead. Received: {head!r}.")
        if identifier_dtype is not None:
            identifier_dtype = tf.as_dtype(identifier_dtype)
            _identifiers.check_dtype("identifier_dtype", identifier_dtype)
        # Queries are the query model's to cast: they may be ids.
        super().__init__(k=int(k), **{"autocast": False, **kwargs})
        # XLA knows no strings, and Keras 3 turns it on by itself on a GPU.
        self.supports_jit = False
        self.head = head
        self.query_model = query_model
        self.aggregation = aggregation
        self.activation = activation
        self.method = method
        self.compact = bool(compact)
        self._tables = _tables.Tables(
            len(head.repetitions),
            head.num_buckets,
            identifier_dtype,
            keeps_partners=not compact and aggregation in decoding.BY_PAIRS,
        )
        self._watch = BoundariesWatch(head)
        if is_legacy:
            # A model of legacy Keras with a `build` of its own cannot be part of
            # another one before it is built, and this one need not be.
            self.built = True

    def build(self, queries_shape: Any = None) -> None:
        """Makes the weights of the head, where queries are its input.

        A query model makes its own when it is called.
        """
        if self.query_model is None and queries_shape is not None:
            self.head.build(queries_shape)
        self.built = True

    def index(self, candidates: Any = None, identifiers: Any = None) -> "MACH":
        """Takes a catalogue in place of what was indexed before.

        `index(identifiers)`, or, as indexes of embeddings are called,
        `index(candidates, identifiers)`; the embeddings are not used. Buckets are
        taken from the head as it is, so `MACHHead.balance`, and loading the weights of
        a balanced head, go before: to query or change an index after is an error.

        Warns if identifiers cannot be told apart; see `indistinguishable`.

        Other threads may query the index while it runs, and `add` and `remove` alike:
        their answers are from before or from after the change. Until it is done, there
        is room for both. One thread at a time may change an index.

        Args:
          candidates: The identifiers: distinct strings or integers [K], a tensor,
            array or list. Of a list, integers are int64.
          identifiers: The identifiers, if the first argument is something else.

        Returns:
          The index itself.

        Raises:
          ValueError: If the identifiers are not one list, or not distinct; the
            message names some of those that occur twice.
        """
        if identifiers is None:
            identifiers = self._not_embeddings(candidates)
        identifiers = _identifiers.as_list("identifiers", identifiers)
        self._tables.assign(
            identifiers, self._checked_table(identifiers), self._watch.number()
        )
        # Identifiers may have another dtype than functions were made for.
        self._reset_tf_function_cache()
        self.predict_function = None
        return self

    def index_from_dataset(self, candidates: tf.data.Dataset) -> "MACH":
        """Takes the catalogue of a data set in place of what was indexed before.

        Args:
          candidates: Elements are identifiers, batches of them [batch] or single
            ones, or pairs (identifiers, embeddings), of which the second part is
            not used.

        Returns:
          The index itself.

        Raises:
          ValueError: As `index`, and if the elements are something else.
        """
        if isinstance(candidates.element_spec, tuple):
            if len(candidates.element_spec) != 2:
                raise ValueError(
                    "`candidates` must yield identifiers or pairs (identifiers, "
                    f"embeddings). Received elements {candidates.element_spec}."
                )
            candidates = candidates.map(lambda identifiers, _: identifiers)
        spec = candidates.element_spec
        if not isinstance(spec, tf.TensorSpec) or spec.shape.rank not in (0, 1):
            raise ValueError(
                "`candidates` must yield identifiers, single ones or batches of shape "
                f"[batch], or pairs (identifiers, embeddings). Received: {spec}."
            )
        if spec.shape.rank == 0:
            candidates = candidates.batch(_BATCH_SIZE)
        batches = [tf.zeros([0], spec.dtype), *candidates]
        return self.index(tf.concat(batches, axis=0))

    def add(self, ids: Any) -> "MACH":
        """Adds classes, after those that are there; nothing is trained.

        The head has scores for their buckets already. Time goes with the size of
        the whole index, so classes are best added many at a time. Other threads may
        query it meanwhile; see `index`.

        Args:
          ids: Distinct strings or integers [n], as in the index.

        Returns:
          The index itself.

        Raises:
          ValueError: If some are in the index already (the message names them),
            are of another dtype, or `index` has not been called.
        """
        present = self.identifiers()
        ids = _identifiers.as_list("ids", ids, present.dtype)
        found = tf.boolean_mask(ids, _identifiers.positions(present, ids) >= 0)
        if len(found):
            raise ValueError(
                f"`ids` must not be in the index. Received {len(found)} that are: "
                f"{_identifiers.named(found)}."
            )
        table = np.concatenate(
            [self._tables.buckets.numpy(), self.head.bucket_table(ids)], axis=1
        )
        identifiers = tf.concat([present, ids], axis=0)
        self._warn_of_indistinguishable(identifiers, table, first_new=len(present))
        self._tables.assign(identifiers, table, self._watch.number())
        return self

    def remove(self, ids: Any) -> "MACH":
        """Removes classes; nothing is trained.

        Time goes with the size of the whole index, so classes are best removed
        many at a time. Other threads may query it meanwhile; see `index`.

        Args:
          ids: Distinct strings or integers [n], as in the index.

        Returns:
          The index itself.

        Raises:
          ValueError: If some are not in the index (the message names them), none
            would be left, they are of another dtype, or `index` has not been
            called.
        """
        present = self.identifiers()
        ids = _identifiers.as_list("ids", ids, present.dtype)
        positions = _identifiers.positions(present, ids)
        absent = tf.boolean_mask(ids, positions < 0)
        if len(absent):
            raise ValueError(
                f"`ids` must be in the index. Received {len(absent)} that are not: "
                f"{_identifiers.named(absent)}."
            )
        if len(ids) == len(present):
            raise ValueError(
                f"`ids` must leave a class in the index. Received all {len(ids)}."
            )
        keep = np.ones(len(present), bool)
        keep[positions] = False
        self._tables.assign(
            tf.boolean_mask(present, keep),
            self._tables.buckets.numpy()[:, keep],
            self._watch.number(),
        )
        return self

    def identifiers(self) -> tf.Tensor:
        """Returns the identifiers in the index [K], in the order of ties.

        Raises:
          ValueError: If `index` has not been called.
        """
        self._require_index()
        return self._tables.identifiers()

    def indistinguishable(self) -> list[tuple[Any, ...]]:
        """Returns the groups of identifiers with the same buckets throughout.

        Such classes have the same score for every query. With K classes, B buckets
        and R repetitions there are about K^2 / (2 B^R) pairs of them; more
        repetitions, or more buckets, tell them apart.

        Returns:
          Groups of at least two identifiers (bytes or integers).

        Raises:
          ValueError: If `index` has not been called.
        """
        self._require_index()
        contents = self._tables.read()
        identifiers = self._tables.identifiers(contents)
        groups = _indistinguishable.equal_columns(contents.buckets.numpy())
        return [tuple(tf.gather(identifiers, g).numpy().tolist()) for g in groups]

    @no_autograph
    def call(self, queries: Any, k: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the k classes with the highest scores.

        Args:
          queries: Floats [num_queries, d], or features for the query model.
          k: Positive integer; by default that of the constructor. If there are
            fewer classes, all are returned.

        Returns:
          Scores in descending order and identifiers: tf.float32 [num_queries, k]
          and, of the dtype that was indexed, [num_queries, k].

        Raises:
          ValueError: If `index` has not been called or an argument does not fit.
        """
        scores, identifiers, _ = self.query_with_statistics(queries, k)
        return scores, identifiers

    def query_with_statistics(
        self, queries: Any, k: Any = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns what a call does, and what it cost.

        Args:
          queries: As in `call`.
          k: As in `call`.

        Returns:
          Scores and identifiers [num_queries, k], and how many classes were scored
          to find them, tf.int32 [num_queries].

        Raises:
          ValueError: As `call`.
        """
        k = self._checked_k(k)
        self._require_index()
        if self.query_model is not None:
            queries = self.query_model(queries)
        logits = self.head(queries)
        if logits.shape.rank != 3:
            raise ValueError(
                "`queries`, or the output of the query model, must be of shape "
                "[num_queries, d], for logits [num_queries, R, B] of the head. "
                f"Received logits of shape {logits.shape}."
            )
        values = mach.bucket_values(logits, self.aggregation, self.activation)
        contents = self._tables.read()
        with tf.device(_tables.DEVICE):
            num_classes = tf.shape(contents.buckets)[1]
            top = decoding.top_k(
                values,
                contents.buckets,
                tf.minimum(k, num_classes),
                self.aggregation,
                inverse_lists=(contents.members, contents.offsets),
                partner_buckets=contents.partner_buckets,
                method=self.method,
            )
            identifiers = self._tables.identifiers(contents, top.classes)
            return top.scores, identifiers, top.num_scored

    @tf.function
    def query_with_exclusions(
        self, queries: Any, exclusions: Any, k: Any = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the k classes with the highest scores, without given ones.

        Args:
          queries: As in `call`.
          exclusions: Identifiers [num_queries, num_exclusions] of the dtype that
            was indexed; those that are not in the index exclude nothing.
          k: As in `call`.

        Returns:
          As `call`. Where fewer than k classes are left (and no more than k are in
          the index), scores end in NaN, and identifiers in "" or 0.

        Raises:
          ValueError: As `call`, and if the exclusions are no matrix or of another
            dtype, or ragged.
        """
        k = self._checked_k(k)
        self._require_index()
        if isinstance(exclusions, tf.RaggedTensor):
            raise ValueError(
                "`exclusions` must be dense: pad them with an id that no class has, by "
                f"`exclusions.to_tensor(...)`. Received ragged ones of shape "
                f"{exclusions.shape}."
            )
        exclusions = _identifiers.as_tensor(
            "exclusions", exclusions, self._tables.dtype()
        )
        if exclusions.shape.rank != 2:
            raise ValueError(
                "`exclusions` must be of shape [num_queries, num_exclusions]. "
                f"Received shape {exclusions.shape}."
            )
        num_exclusions = exclusions.shape[1]
        if num_exclusions is None:
            num_exclusions = tf.shape(exclusions)[1]
        scores, identifiers = self(queries=queries, k=k + num_exclusions)
        return _exclusions.without(scores, identifiers, exclusions, k)

    def is_exact(self) -> bool:
        """Returns False: scores are no products of a query and an embedding.

        The k classes are exact. To TFRS's metrics this says that they may not
        compare scores with products of embeddings, and need `true_candidate_ids`.
        """
        return False

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "name": self.name,
            "head": serialize(self.head),
            "query_model": serialize(self.query_model),
            "k": self._k,
            "aggregation": self.aggregation,
            "activation": self.activation,
            "method": self.method,
            "identifier_dtype": dtype.name if (dtype := self._tables.dtype()) else None,
            "compact": self.compact,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> "MACH":
        """Returns an index of nothing, made of what `get_config` returned."""
        made = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in ("head", "query_model")
        }
        return cls(**{**config, **made})

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Writes what is indexed to a file of Keras."""
        self._tables.save(store)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Reads what is indexed from a file of Keras."""
        self._tables.load(store)

    def _not_embeddings(self, candidates: Any) -> tf.Tensor:
        """Returns identifiers that came in place of embeddings."""
        if candidates is None:
            raise ValueError("`index` needs the identifiers of the classes.")
        dtype = getattr(candidates, "dtype", None)
        if dtype is not None and tf.as_dtype(dtype).is_floating:
            raise ValueError(
                "MACH scores classes by their ids, and embeddings of candidates mean "
                "nothing to it: `index(identifiers)`. Received floats of shape "
                f"{candidates.shape} and no identifiers."
            )
        return candidates

    def _checked_k(self, k: Any) -> Any:
        """Returns k, or the constructor's where it is None."""
        if k is None:
            return self._k
        if tf.is_tensor(k) and k.dtype.is_integer:
            return tf.cast(k, tf.int32)
        return _arguments.check_positive_integer("k", k)

    def _require_index(self) -> None:
        # A functional model is made again before there are classes.
        is_symbolic = not tf.executing_eagerly()
        if self._tables.dtype() is None or not (is_symbolic or self._tables.size()):
            raise ValueError(
                f"{self.name} has no classes yet: call `index` or "
                "`index_from_dataset` first, or restore a checkpoint of an index."
            )
        if self._watch.is_stale(self._tables):
            raise ValueError(
                f"The classes of {self.name} are not in the buckets that its head has "
                "for them now: the head was balanced, or its weights were loaded, "
                "after `index` was called. Call `index` again."
            )

    def _checked_table(self, identifiers: tf.Tensor) -> np.ndarray:
        """Returns the buckets of identifiers, with a warning if it is due."""
        table = self.head.bucket_table(identifiers)
        self._warn_of_indistinguishable(identifiers, table, first_new=0, stacklevel=4)
        return table

    def _warn_of_indistinguishable(
        self,
        identifiers: tf.Tensor,
        table: np.ndarray,
        first_new: int,
        stacklevel: int = 3,
    ) -> None:
        """Warns of groups in which there is a class from `first_new` on."""
        groups = [
            group
            for group in _indistinguishable.equal_columns(table)
            if group[-1] >= first_new
        ]
        if not groups:
            return
        examples = "; ".join(
            _identifiers.named(tf.gather(identifiers, group))
            for group in groups[:_NUM_NAMED_GROUPS]
        )
        warnings.warn(
            f"{sum(map(len, groups))} of {len(identifiers)} identifiers have the same "
            f"buckets as another one in all {len(table)} repetitions, so no query "
            f"tells them apart. They form {len(groups)} groups, such as: {examples}. "
            "`indistinguishable()` returns all; more repetitions or buckets help.",
            stacklevel=stacklevel,
        )
