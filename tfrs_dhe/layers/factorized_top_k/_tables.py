"""What an index keeps of its classes."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing, mach
from tfrs_dhe.mach import decoding

#: Variables of 32-bit integers cannot live on a GPU, unsigned integers cannot be
#: gathered there, and strings exist on the CPU alone.
DEVICE = "CPU:0"


class Tables(tf.__internal__.tracking.AutoTrackable):
    """Identifiers, their buckets, and the classes of every bucket, as variables.

    The variables stay the same when the classes change, only their size does not:
    functions that were traced before see the new classes.

    They are variables of TensorFlow behind a plain trackable, which checkpoints
    and SavedModels follow. Keras does not count them as weights: its weights have
    one size for ever and are no strings. In a Keras file they are what
    `save` writes.

    Args:
      num_repetitions: R.
      num_buckets: B.
      dtype: Of the identifiers, if it is known.
      keeps_partners: Whether the buckets of partners are among the tables.

    Attributes:
      buckets: Integers [R, K].
      members: tf.int32 [R, K], of the inverse lists.
      offsets: tf.int32 [R, B + 1], of the inverse lists.
      partner_buckets: Integers [R, K], or None.
    """

    def __init__(
        self,
        num_repetitions: int,
        num_buckets: int,
        dtype: tf.DType | None,
        keeps_partners: bool,
    ) -> None:
        super().__init__()
        self._num_buckets = num_buckets
        bucket_dtype = mach.bucket_dtype(num_buckets)
        # Identifiers are either, so that a checkpoint finds its variables before
        # it is known which. Integers are int64 here.
        self._strings = _variable("strings", [None], tf.string)
        self._integers = _variable("integers", [None], tf.int64)
        #: The number TensorFlow has for the dtype of the identifiers; 0 for none.
        self._dtype = _variable("dtype", [], tf.int64)
        if dtype is not None:
            self._dtype.assign(dtype.as_datatype_enum)
        self.buckets = _variable("buckets", [num_repetitions, None], bucket_dtype)
        self.members = _variable("members", [num_repetitions, None], tf.int32)
        self.offsets = _variable(
            "offsets", [num_repetitions, num_buckets + 1], tf.int32
        )
        self.partner_buckets = (
            _variable("partner_buckets", [num_repetitions, None], bucket_dtype)
            if keeps_partners
            else None
        )

    def dtype(self) -> tf.DType | None:
        """Returns the dtype of the identifiers, None if there are none."""
        with tf.init_scope():
            number = int(self._dtype.numpy())
        return tf.as_dtype(number) if number else None

    def size(self) -> int:
        """Returns K, the number of classes; not to be called in a graph."""
        return int(tf.shape(self.buckets)[1])

    def identifiers(self) -> tf.Tensor:
        """Returns all identifiers [K] in the order of the classes."""
        dtype = self.dtype()
        with tf.device(DEVICE):
            if dtype == tf.string:
                return tf.convert_to_tensor(self._strings)
            return tf.cast(tf.convert_to_tensor(self._integers), dtype)

    def identifiers_of(self, classes: tf.Tensor) -> tf.Tensor:
        """Returns the identifiers [...] of classes [...] given by their position."""
        dtype = self.dtype()
        if dtype == tf.string:
            return tf.gather(self._strings, classes)
        return tf.cast(tf.gather(self._integers, classes), dtype)

    def assign(self, identifiers: tf.Tensor, buckets: np.ndarray) -> None:
        """Takes other classes in place of those there are.

        Args:
          identifiers: Strings or integers [K].
          buckets: [R, K].
        """
        is_string = identifiers.dtype == tf.string
        with tf.device(DEVICE):
            self.buckets.assign(buckets)
            # A large catalogue is held once: nobody else has this array.
            del buckets
            self._assign_lists()
            self._strings.assign(identifiers if is_string else tf.zeros(0, tf.string))
            self._integers.assign(
                tf.zeros(0, tf.int64) if is_string else hashing.int64_keys(identifiers)
            )
            self._dtype.assign(identifiers.dtype.as_datatype_enum)

    def _assign_lists(self) -> None:
        """Sorts the classes by bucket, one repetition after another."""
        num_repetitions = self.buckets.shape[0]
        # Filled in place, and then handed over. To assign to the slices of a variable
        # makes TensorFlow copy the whole of it whenever it is read from then on: all
        # R x K numbers for every query.
        shape = tf.shape(self.buckets)
        members = tf.raw_ops.Empty(shape=shape, dtype=tf.int32)
        partners = None
        if self.partner_buckets is not None:
            partners = tf.raw_ops.Empty(shape=shape, dtype=self.buckets.dtype)
        offsets = []
        for r in range(num_repetitions):
            other = self.buckets[decoding.partner(r, num_repetitions)]
            lists = decoding.lists_of_one(self.buckets[r], other, self._num_buckets)
            members = _with_row(members, r, lists.members)
            if partners is not None:
                partners = _with_row(partners, r, tf.gather(other, lists.members))
            offsets.append(lists.offsets)
        self.members.assign(members)
        self.offsets.assign(tf.stack(offsets))
        if self.partner_buckets is not None:
            self.partner_buckets.assign(partners)

    def clear(self) -> None:
        """Takes all classes out, and forgets the dtype of the identifiers."""
        self._dtype.assign(0)
        for table in (
            self._strings,
            self._integers,
            self.buckets,
            self.members,
            self.partner_buckets,
        ):
            if table is not None:
                table.assign(tf.zeros([*table.shape[:-1], 0], table.dtype))
        self.offsets.assign(tf.zeros_like(self.offsets))

    def save(self, store: MutableMapping[str, Any]) -> None:
        """Writes arrays of numbers from which `load` makes the same tables."""
        dtype = self._dtype.numpy()
        store["dtype"] = dtype
        if not dtype:
            return
        store["buckets"] = self.buckets.numpy()
        if dtype == tf.string.as_datatype_enum:
            strings = self._strings.numpy().tolist()
            store["bytes"] = np.frombuffer(b"".join(strings), np.uint8)
            store["lengths"] = np.array([len(string) for string in strings])
        else:
            store["integers"] = self._integers.numpy()

    def load(self, store: Mapping[str, Any]) -> None:
        """Takes over what `save` wrote, if only that there are no classes."""
        number = int(np.asarray(store["dtype"]))
        if not number:
            self.clear()
            return
        dtype = tf.as_dtype(number)
        if dtype == tf.string:
            data = np.asarray(store["bytes"]).tobytes()
            lengths = np.asarray(store["lengths"], np.int64)
            ends = np.cumsum(lengths)
            identifiers = tf.constant(
                [
                    data[start:end]
                    for start, end in zip(ends - lengths, ends, strict=True)
                ],
                tf.string,
            )
        else:
            identifiers = tf.cast(np.asarray(store["integers"]), dtype)
        self.assign(identifiers, np.asarray(store["buckets"]))


def _with_row(table: tf.Tensor, number: int, row: tf.Tensor) -> tf.Tensor:
    """Returns the table [R, K], in its place in memory, with another row [K]."""
    return tf.raw_ops.InplaceUpdate(x=table, i=[number], v=tf.expand_dims(row, 0))


def _variable(name: str, shape: list[int | None], dtype: tf.DType) -> tf.Variable:
    empty = tf.zeros([size or 0 for size in shape], dtype)
    with tf.device(DEVICE):
        return tf.Variable(empty, trainable=False, name=name, shape=shape)
