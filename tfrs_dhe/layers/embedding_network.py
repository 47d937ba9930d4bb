"""The deep network that decodes a hash encoding into an embedding."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import tensorflow as tf

from tfrs_dhe._autograph import no_autograph
from tfrs_dhe._keras import keras
from tfrs_dhe.layers import (
    _arguments,
    _compiled_normalization,
    _quantized_denses,
    _specs,
    _tape,
)
from tfrs_dhe.layers._batch_normalization import RowWeightedBatchNormalization
from tfrs_dhe.layers._build import named_after
from tfrs_dhe.layers._compiled_activation import compiled_mish
from tfrs_dhe.layers._initializers import copy_initializer
from tfrs_dhe.layers._mish import mish
from tfrs_dhe.layers._parameter_budget import NetworkShape
from tfrs_dhe.layers._ragged import flat_values

NORMALIZATIONS = ("batch", "layer", None)
ORDERS = ("normalize_then_activate", "activate_then_normalize")

_TRAP = (
    "{name} was called without `training` while gradients are recorded, so its "
    "batch normalization would neither use nor learn the statistics of the data. "
    "Pass the flag on where the model calls it:\n"
    "    def compute_loss(self, features, training=False):\n"
    '        self.user_model(features["user_id"], training=training)\n'
    "or derive the model from `tfrs_dhe.models.Model` instead of `tfrs.Model`, "
    "which does it for every tower. To take gradients in inference mode, pass "
    "`training=False`."
)


@keras.saving.register_keras_serializable(package="tfrs_dhe")
class EmbeddingNetwork(keras.layers.Layer):
    """Decodes dense encodings into embeddings by a deep network.

    h times (Dense, batch normalization, Mish), then Dense:

    ```
    [..., k] -> [..., d_NN] -> ... -> [..., d_NN] -> [..., output_dim]
    ```

    with `k d_NN + (h - 1) d_NN^2 + d_NN output_dim` weights and a few more for
    normalization and biases, whatever the number of ids.

    Batch normalization has to know whether the model is being trained. Keras
    passes `training` down from model to layer; a TFRS model's `compute_loss` is
    no layer, so there the chain breaks unless the model passes the flag on. A
    call without the flag inside a `tf.GradientTape` raises an error that says
    so: silently, the statistics would never move. `training=False` inside a tape
    is taken at its word.

    Example:
    >>> network = EmbeddingNetwork(output_dim=8, hidden_dim=16, num_hidden_layers=2)
    >>> network(tf.random.normal([3, 32]), training=False).shape
    TensorShape([3, 8])

    Args:
      output_dim: Width of the embedding.
      hidden_dim: d_NN, the width of the hidden layers, or a sequence of
        `num_hidden_layers` widths. Give either this or `parameter_budget`.
      num_hidden_layers: h, at least 1.
      activation: `"mish"`, or whatever `keras.activations.get` knows.
      normalization: `"batch"`, `"layer"` or None.
      order: `"normalize_then_activate"` as in the paper, or
        `"activate_then_normalize"`.
      parameter_budget: Number of parameters that the network may have in place
        of `hidden_dim`; it has at least 95 % of them. With `table_shape`, the
        share of that table's parameters.
      table_shape: Rows and columns (n, d) of the table that is replaced.
      kernel_initializer: Of the Dense layers.
      kernel_regularizer: Of the Dense layers.
      momentum: Of the moving statistics of batch normalization.
      **kwargs: Those of a Keras layer.

    Input shape: floats [..., input_dim], dense or ragged.

    Output shape: [..., output_dim], of the layer's compute dtype.

    Raises:
      ValueError: If an argument is out of range, if the budget fits no network,
        or, with batch normalization, if the layer is called under a gradient
        tape without `training`.

    References:
      Kang et al., KDD 2021, section 3.2.
    """

    def __init__(
        self,
        output_dim: int,
        hidden_dim: int | Sequence[int] | None = None,
        num_hidden_layers: int = 5,
        activation: str | Callable[[tf.Tensor], tf.Tensor] = "mish",
        normalization: str | None = "batch",
        order: str = "normalize_then_activate",
        parameter_budget: float | None = None,
        table_shape: Sequence[int] | None = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        momentum: float = 0.99,
        **kwargs: Any,
    ) -> None:
        # Keras 3 would cast every argument to the compute dtype, weights of rows among
        # them, and half precision does not hold their counts. `call` casts its input.
        super().__init__(autocast=False, **kwargs)
        self.output_dim = _arguments.check_positive_integer("output_dim", output_dim)
        self.num_hidden_layers = _arguments.check_positive_integer(
            "num_hidden_layers", num_hidden_layers
        )
        self.hidden_dim = _check_hidden_dim(hidden_dim, self.num_hidden_layers)
        self._budget = _arguments.resolve_budget(parameter_budget, table_shape)
        if (self.hidden_dim is None) == (self._budget is None):
            raise ValueError(
                "The size of the network is given either by `hidden_dim` or by "
                f"`parameter_budget`. Received: hidden_dim={hidden_dim!r} and "
                f"parameter_budget={parameter_budget!r}."
            )
        _arguments.check_one_of("normalization", normalization, NORMALIZATIONS)
        _arguments.check_one_of("order", order, ORDERS)
        self.activation = (
            mish if activation == "mish" else keras.activations.get(activation)
        )
        self.normalization = normalization
        self.order = order
        self.parameter_budget = parameter_budget
        self.table_shape = table_shape
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.momentum = momentum
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the layers; the budget needs the input's width."""
        input_dim = _specs.known_width(self, input_shape)
        hidden_dims = self._hidden_dims(input_dim)
        # A bias before a normalization is cancelled by it, offset and all.
        use_bias = self.normalization is None or self.order == ORDERS[1]
        width = input_dim
        for i, units in enumerate(hidden_dims):
            self._add_dense(f"hidden_{i}", width, units, use_bias)
            if self.normalization is not None:
                self._add(self._new_normalization(f"normalization_{i}"), units)
            width = units
        self._add_dense("output_layer", width, self.output_dim, use_bias=True)
        super().build(input_shape)

    @property
    def input_dim(self) -> int | None:
        """Width of the input, None before the layer is built."""
        # Of the weights, which every way to load a layer brings back.
        return int(self.hidden_0.kernel.shape[0]) if self.built else None

    def _add(self, layer: Any, input_dim: int) -> None:
        with named_after(layer):
            layer.build((None, input_dim))
        # An attribute each: a TensorFlow checkpoint of a Keras 3 layer silently
        # leaves out layers that are held in a list.
        setattr(self, layer.name, layer)

    def _add_dense(self, name: str, input_dim: int, units: int, use_bias: bool) -> None:
        self._add(self._dense(units, use_bias, name), input_dim)

    def _hidden_dims(self, input_dim: int) -> Sequence[int]:
        if self.hidden_dim is not None:
            if isinstance(self.hidden_dim, int):
                return (self.hidden_dim,) * self.num_hidden_layers
            return tuple(self.hidden_dim)
        assert self._budget is not None  # the constructor asks for one of the two
        shape = NetworkShape(
            input_dim=input_dim,
            output_dim=self.output_dim,
            num_hidden_layers=self.num_hidden_layers,
            bias_per_unit=int(self.normalization is None or self.order == ORDERS[1]),
            normalization_per_unit={"batch": 4, "layer": 2, None: 0}[
                self.normalization
            ],
        )
        return shape.fit(self._budget)

    def _dense(self, units: int, use_bias: bool, name: str) -> Any:
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=copy_initializer(self.kernel_initializer),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def _new_normalization(self, name: str) -> Any:
        # Statistics of half-precision numbers need float32 to be summed in.
        dtype = "float64" if self.variable_dtype == "float64" else "float32"
        if self.normalization == "batch":
            return RowWeightedBatchNormalization(
                momentum=self.momentum, dtype=dtype, name=name
            )
        return keras.layers.LayerNormalization(dtype=dtype, name=name)

    @no_autograph
    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        row_weights: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the embeddings of encodings.

        Args:
          inputs: [..., input_dim], dense or ragged.
          training: Whether batch normalization uses and learns the batch's
            statistics.
          row_weights: [...], how often each row counts in the statistics of
            batch normalization; None counts each once. Ragged if the inputs are.
          mask: tf.bool [...], false for padding, which then does not count. Ragged
            if the inputs are.

        Returns:
          [..., output_dim].
        """
        if isinstance(inputs, tf.RaggedTensor):
            of_rows = {
                name: value
                if value is None
                else flat_values(name, value, "the inputs", inputs)
                for name, value in (("row_weights", row_weights), ("mask", mask))
            }
            outputs = self.call(inputs.flat_values, training, **of_rows)
            return inputs.with_flat_values(outputs)
        inputs = tf.cast(inputs, self.compute_dtype)
        learns_statistics = self.normalization == "batch" and self.trainable
        if learns_statistics and training is None and _tape.is_recording():
            raise ValueError(_TRAP.format(name=type(self).__name__))
        if row_weights is None and mask is not None:
            row_weights = tf.cast(mask, tf.float32)
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
        if row_weights is not None:
            row_weights = tf.reshape(row_weights, [-1])
        rows = self._decode(rows, row_weights, training)
        if inputs.shape.rank == 2:
            return rows
        outputs = tf.reshape(
            rows, tf.concat([tf.shape(inputs)[:-1], [self.output_dim]], axis=0)
        )
        return tf.ensure_shape(outputs, [*inputs.shape[:-1], self.output_dim])

    def _decode(
        self, rows: tf.Tensor, row_weights: tf.Tensor | None, training: bool | None
    ) -> tf.Tensor:
        if not self._compiles(rows, training):
            return self._decode_rows(rows, row_weights, training, compiled=False)
        padded, row_weights = _compiled_normalization.pad(rows, row_weights)
        outputs = self._decode_rows(padded, row_weights, training, compiled=True)
        return outputs[: tf.shape(rows)[0]] if padded is not rows else outputs

    def _compiles(self, rows: tf.Tensor, training: bool | None) -> bool:
        """Whether batch normalization and Mish are programs of XLA."""
        if training is None and self.normalization != "batch":
            training = _tape.is_recording()  # Nobody needs to say so then.
        has_programs = self.normalization == "batch" or self.activation is mish
        if not (has_programs and training and self.trainable):
            return False
        widths = self._hidden_dims(rows.shape[1])
        return _compiled_normalization.is_useful(rows.shape[0], max(widths))

    def _decode_rows(
        self,
        rows: tf.Tensor,
        row_weights: tf.Tensor | None,
        training: bool | None,
        compiled: bool,
    ) -> tf.Tensor:
        normalize_first = self.order == ORDERS[0]
        # Other activations may be what XLA does not know.
        compiles_mish = compiled and self.activation is mish
        activate = compiled_mish if compiles_mish else self._activate
        is_fused = compiles_mish and normalize_first and self.normalization == "batch"
        compiled_with = "mish" if is_fused else "none"
        *hidden, output = self._denses()
        for i, dense in enumerate(hidden):
            rows = dense(rows)
            if not normalize_first:
                rows = activate(rows)
            if self.normalization == "batch":
                rows = getattr(self, f"normalization_{i}")(
                    rows,
                    row_weights=row_weights,
                    training=training,
                    compiled_with=compiled_with if compiled else None,
                )
            elif self.normalization == "layer":
                rows = getattr(self, f"normalization_{i}")(rows)
            rows = tf.cast(rows, self.compute_dtype)
            if normalize_first and not is_fused:
                rows = activate(rows)
        return output(rows)

    def _denses(self) -> list[Callable[[tf.Tensor], tf.Tensor]]:
        return list(self._dense_layers().values())

    def _dense_layers(self) -> dict[str, Any]:
        names = [f"hidden_{i}" for i in range(self.num_hidden_layers)]
        return {
            name: getattr(self, name)
            for name in (*names, "output_layer")
            if hasattr(self, name)  # not before the layer is built
        }

    def _activate(self, rows: tf.Tensor) -> tf.Tensor:
        return self.activation(rows)

    def inference_form(self) -> Any:
        """Returns an equal network that serves faster and cannot be trained.

        Batch normalization is a scale and an offset once its statistics are fixed;
        they are multiplied into the Dense layer before it (or, if activation comes
        first, after it), so neither it nor its statistics are in the copy. Outputs
        are equal but for the rounding of floating-point numbers. Layer
        normalization depends on its input and stays. The weights are copied: later
        training does not change the copy.

        Example:
        >>> network = EmbeddingNetwork(4, hidden_dim=8, num_hidden_layers=2)
        >>> outputs = network(tf.ones([1, 16]), training=False)
        >>> network.inference_form()(tf.ones([1, 16])).shape
        TensorShape([1, 4])

        Returns:
          A layer with the arguments of this one's call, where training=True is an
          error.

        Raises:
          ValueError: If the layer has not been built, or Keras has quantized it.
        """
        # Its class derives from this one.
        from tfrs_dhe.layers import _inference_form

        return _inference_form.network(self)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Writes to a file of Keras what its Dense layers do not write themselves."""
        super().save_own_variables(store)
        _quantized_denses.save(self._dense_layers(), store)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Reads from a file of Keras what `save_own_variables` wrote."""
        if _quantized_denses.are_in(store):
            _quantized_denses.restore(self._dense_layers(), store)
        else:
            super().load_own_variables(store)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the input's shape with the embedding's width at its end."""
        return (*_specs.shape_tuple(input_shape)[:-1], self.output_dim)

    def compute_output_spec(
        self,
        inputs: Any,
        training: bool | None = None,
        row_weights: Any = None,
        mask: Any = None,
    ) -> Any:
        """Returns the symbolic output (Keras 3)."""
        return _specs.output_spec(self, inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "hidden_dim": self.hidden_dim,
            "num_hidden_layers": self.num_hidden_layers,
            "activation": "mish"
            if self.activation is mish
            else keras.activations.serialize(self.activation),
            "normalization": self.normalization,
            "order": self.order,
            "parameter_budget": _arguments.plain(self.parameter_budget),
            "table_shape": _arguments.plain(self.table_shape),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "momentum": self.momentum,
        }


def _check_hidden_dim(
    hidden_dim: int | Sequence[int] | None, num_hidden_layers: int
) -> int | tuple[int, ...] | None:
    if hidden_dim is None:
        return None
    if not isinstance(hidden_dim, Sequence):
        return _arguments.check_positive_integer("hidden_dim", hidden_dim)
    if len(hidden_dim) != num_hidden_layers:
        raise ValueError(
            "`hidden_dim` as a sequence has a width for each of the "
            f"`num_hidden_layers`={num_hidden_layers}. Received: {hidden_dim!r}."
        )
    return tuple(
        _arguments.check_positive_integer("hidden_dim", units) for units in hidden_dim
    )
