"""What an index keeps of its classes."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrs_dhe import hashing, mach
from tfrs_dhe.mach import decoding

#: Variables of 32-bit integers cannot live on a GPU, unsigned integers cannot be
#: gathered there, and strings exist on the CPU alone.
DEVICE = "CPU:0"

#: How often the tables are read while another thread changes them, before that is an
#: error. So many times take seconds, and a change a thousandth.
_MAX_READS = 100_000


class Contents(NamedTuple):
    """All tables as they are at one moment.

    Attributes:
      dtype: tf.int64, the number TensorFlow has for the dtype of the identifiers.
      boundaries: tf.int64, what stands for the boundaries of the buckets.
      strings: The identifiers [K] if they are strings, else [0].
      integers: tf.int64, the identifiers [K] if they are integers, else [0].
      buckets: Integers [R, K].
      members: tf.int32 [R, K], of the inverse lists.
      offsets: tf.int32 [R, B + 1], of the inverse lists.
      partner_buckets: Integers [R, K], or None.
    """

    dtype: tf.Tensor
    boundaries: tf.Tensor
    strings: tf.Tensor
    integers: tf.Tensor
    buckets: tf.Tensor
    members: tf.Tensor
    offsets: tf.Tensor
    partner_buckets: tf.Tensor | None = None


class Tables(tf.__internal__.tracking.AutoTrackable):
    """Identifiers, their buckets, and the classes of every bucket, as variables.

    The variables stay the same when the classes change, only their size does not:
    functions that were traced before see the new classes.

    Threads may read while one of them changes the classes. A version, odd while the
    variables are assigned to, is read before and after them: who finds two versions, or
    an odd one, reads again. Neither takes long: what is read is not copied, and what is
    assigned is complete before.

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
        #: See `BoundariesWatch`.
        self._boundaries = _variable("boundaries", [], tf.int64)
        self._version = _variable("version", [], tf.int64)
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

    def boundaries(self) -> int:
        """Returns what stands for the boundaries that the buckets were cut at."""
        return int(self._boundaries.numpy())

    def size(self) -> int:
        """Returns K, the number of classes; not to be called in a graph."""
        return int(tf.shape(self.buckets)[1])

    @tf.autograph.experimental.do_not_convert
    def read(self) -> Contents:
        """Returns the tables as they are at one moment.

        Raises:
          tf.errors.InvalidArgumentError: When run, if there is no such moment.
        """
        variables = self._variables()

        def read_all(reads: Any, *_: Any) -> tuple[Any, ...]:
            before = self._version.read_value()
            with tf.control_dependencies([before]):
                found = [variable.read_value() for variable in variables]
            with tf.control_dependencies(found):
                after = self._version.read_value()
            return (reads + 1, (before == after) & (before % 2 == 0), *found)

        with tf.device(DEVICE):
            first = read_all(tf.constant(0))
            shapes = [tf.TensorShape([])] * 2 + [v.shape for v in variables]
            _, is_whole, *found = tf.while_loop(
                lambda reads, is_whole, *_: ~is_whole & (reads < _MAX_READS),
                read_all,
                first,
                shape_invariants=tuple(shapes),
            )
            message = (
                "The classes of the index were changed all the time that they were "
                "read, or it was restored from a checkpoint that was written while "
                "they were changed. Call `index` again."
            )
            check = tf.debugging.Assert(is_whole, [message])
            with tf.control_dependencies([] if check is None else [check]):
                return Contents(*map(tf.identity, found))

    @tf.autograph.experimental.do_not_convert
    def identifiers(
        self, contents: Contents | None = None, classes: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns all identifiers [K] in the order of the classes, or some.

        Args:
          contents: What `read` returned, or None to read now.
          classes: Positions [...] of those that are wanted, or None for all.

        Raises:
          tf.errors.InvalidArgumentError: When run, if a graph was made for identifiers
            of another dtype.
        """
        with tf.device(DEVICE):
            if contents is None:
                contents = self.read()
            if tf.executing_eagerly():
                dtype = tf.as_dtype(int(contents.dtype))
                check = []
            else:
                dtype = self.dtype()
                check = [_assert_same(contents.dtype, dtype)]
            is_string = dtype == tf.string
            found = contents.strings if is_string else contents.integers
            with tf.control_dependencies(check):
                found = tf.identity(found)
            if classes is not None:
                found = tf.gather(found, classes)
            return found if is_string else tf.cast(found, dtype)

    def assign(
        self, identifiers: tf.Tensor, buckets: np.ndarray, boundaries: int
    ) -> None:
        """Takes other classes in place of those there are.

        Args:
          identifiers: Strings or integers [K].
          buckets: [R, K].
          boundaries: What stands for the boundaries of the buckets.
        """
        dtype = identifiers.dtype
        is_string = dtype == tf.string
        with tf.device(DEVICE):
            table = tf.convert_to_tensor(buckets, self.buckets.dtype)
            # A large catalogue is held once: nobody else has this array.
            del buckets
            members, offsets, partners = self._lists(table)
            strings = identifiers if is_string else tf.zeros([0], tf.string)
            integers = (
                tf.zeros([0], tf.int64)
                if is_string
                else hashing.int64_keys(identifiers)
            )
            self._replace(
                Contents(
                    tf.constant(dtype.as_datatype_enum, tf.int64),
                    tf.constant(boundaries, tf.int64),
                    strings,
                    integers,
                    table,
                    members,
                    offsets,
                    partners,
                )
            )

    def _lists(self, table: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, Any]:
        """Returns the inverse lists of a table, and the buckets of partners or None.

        Classes are sorted by bucket, one repetition after another.
        """
        num_repetitions = table.shape[0]
        # Filled in place, and then handed over. To assign to the slices of a variable
        # makes TensorFlow copy the whole of it whenever it is read from then on: all
        # R x K numbers for every query.
        shape = tf.shape(table)
        members = tf.raw_ops.Empty(shape=shape, dtype=tf.int32)
        partners = None
        if self.partner_buckets is not None:
            partners = tf.raw_ops.Empty(shape=shape, dtype=table.dtype)
        offsets = []
        for r in range(num_repetitions):
            other = table[decoding.partner(r, num_repetitions)]
            lists = decoding.lists_of_one(table[r], other, self._num_buckets)
            members = _with_row(members, r, lists.members)
            if partners is not None:
                partners = _with_row(partners, r, tf.gather(other, lists.members))
            offsets.append(lists.offsets)
        return members, tf.stack(offsets), partners

    def clear(self) -> None:
        """Takes all classes out, and forgets the dtype of the identifiers."""
        with tf.device(DEVICE):
            empty = [
                tf.zeros([size or 0 for size in variable.shape], variable.dtype)
                for variable in self._variables()
            ]
            self._replace(Contents(*empty))

    def _replace(self, contents: Contents) -> None:
        """Assigns to all variables, as one change for those who `read`."""
        with self._change():
            for variable, value in zip(self._variables(), contents, strict=False):
                variable.assign(value)

    @contextmanager
    def _change(self) -> Iterator[None]:
        # Odd also after one that was not completed.
        version = int(self._version.numpy()) // 2 * 2
        self._version.assign(version + 1)
        yield
        self._version.assign(version + 2)

    def _variables(self) -> list[tf.Variable]:
        """Returns the variables in the order of `Contents`."""
        tables = [
            self._dtype,
            self._boundaries,
            self._strings,
            self._integers,
            self.buckets,
            self.members,
            self.offsets,
        ]
        return tables + ([] if self.partner_buckets is None else [self.partner_buckets])

    def save(self, store: MutableMapping[str, Any]) -> None:
        """Writes arrays of numbers from which `load` makes the same tables."""
        contents = self.read()
        dtype = contents.dtype.numpy()
        store["dtype"] = dtype
        if not dtype:
            return
        store["boundaries"] = contents.boundaries.numpy()
        store["buckets"] = contents.buckets.numpy()
        if dtype == tf.string.as_datatype_enum:
            strings = contents.strings.numpy().tolist()
            store["bytes"] = np.frombuffer(b"".join(strings), np.uint8)
            store["lengths"] = np.array([len(string) for string in strings])
        else:
            store["integers"] = contents.integers.numpy()

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
        # Files were written without once; then an index of a balanced head is stale.
        boundaries = (
            int(np.asarray(store["boundaries"])) if "boundaries" in store else 0
        )
        self.assign(identifiers, np.asarray(store["buckets"]), boundaries)


def _assert_same(number: tf.Tensor, dtype: tf.DType) -> tf.Operation:
    """Returns the check that identifiers have the dtype that a graph was made for."""
    message = (
        f"This function was made while the identifiers of the index were {dtype.name}; "
        "they have another dtype now. Make the function again: call tf.function, or "
        "`compile` of the model that has the index."
    )
    return tf.debugging.Assert(number == dtype.as_datatype_enum, [message])


def _with_row(table: tf.Tensor, number: int, row: tf.Tensor) -> tf.Tensor:
    """Returns the table [R, K], in its place in memory, with another row [K]."""
    return tf.raw_ops.InplaceUpdate(x=table, i=[number], v=tf.expand_dims(row, 0))


def _variable(name: str, shape: list[int | None], dtype: tf.DType) -> tf.Variable:
    empty = tf.zeros([size or 0 for size in shape], dtype)
    with tf.device(DEVICE):
        return tf.Variable(empty, trainable=False, name=name, shape=shape)
