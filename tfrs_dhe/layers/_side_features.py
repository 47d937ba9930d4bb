"""Side features as one dense tensor beside the encoding of the ids."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfrs_dhe.layers._ragged import flat_values


def side_feature_rows(side_features: Any, ids: tf.Tensor, dtype: str) -> tf.Tensor:
    """Returns side features as rows [n, s], in the order of the flattened ids.

    Args:
      side_features: Numbers [..., s], or a dict, list or tuple of such tensors,
        which are concatenated (a dict in the order of its sorted keys).
      ids: Ids [...] that the features describe. If they are ragged, so are the
        features, [..., (length), s] with the same row lengths.
      dtype: Floating-point type of the result.

    Returns:
      Tensor [n, s] with n the number of ids.

    Raises:
      ValueError: If a feature is not numeric or its shape does not fit the ids.
      InvalidArgumentError: When run, if a feature is NaN or infinite, or is so in
        the type. (XLA does not run the check; there a NaN comes out as NaN.)
    """
    if isinstance(side_features, Mapping):
        named = {
            f"side_features[{key!r}]": side_features[key]
            for key in sorted(side_features)
        }
    elif isinstance(side_features, list | tuple):
        named = {f"side_features[{i}]": x for i, x in enumerate(side_features)}
    else:
        named = {"side_features": side_features}
    if not named:
        raise ValueError("`side_features` must not be empty; leave them out instead.")
    rows = [_rows(name, feature, ids, dtype) for name, feature in named.items()]
    return rows[0] if len(rows) == 1 else tf.concat(rows, axis=-1)


def _rows(name: str, feature: Any, ids: tf.Tensor, dtype: str) -> tf.Tensor:
    if feature is None:
        raise ValueError(f"`{name}` is None; leave it out instead.")
    if isinstance(ids, tf.RaggedTensor) or isinstance(feature, tf.RaggedTensor):
        feature = flat_values(name, feature, "the ids", ids)
        ids = ids.flat_values
    feature = tf.convert_to_tensor(feature)
    if not (feature.dtype.is_floating or feature.dtype.is_integer) and (
        feature.dtype != tf.bool
    ):
        raise ValueError(
            f"`{name}` must be numbers. Received dtype {feature.dtype.name}; "
            "categories can be multi-hot, or embedded by a layer of their own."
        )
    expected = ids.shape.concatenate([None])
    if not expected.is_compatible_with(feature.shape):
        raise ValueError(
            f"`{name}` must have the shape of the ids and one dimension more, "
            f"{expected}. Received shape {feature.shape}; a single number per id "
            "needs `[..., tf.newaxis]`."
        )
    width = feature.shape[-1] if feature.shape.rank is not None else None
    if width is None:
        raise ValueError(
            f"The last dimension of `{name}` must be known. Received shape "
            f"{feature.shape}."
        )
    # After the cast, which makes infinities of what is beyond a smaller type.
    return tf.debugging.check_numerics(
        tf.cast(tf.reshape(feature, [-1, width]), dtype),
        f"`{name}` must be finite numbers in {dtype}. Received NaN, infinity, or "
        "numbers beyond that type",
    )
