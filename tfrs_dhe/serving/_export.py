"""The function that writes a version."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.serving import (
    _checks,
    _hash_constants,
    _indexes,
    _manifest,
    _resources,
    _samples,
    _signatures,
    _tracing,
    _version_directory,
    _warmup,
)
from tfrs_dhe.serving._recording import record
from tfrs_dhe.serving._sample_inputs import SampleInputs, read_sample_inputs
from tfrs_dhe.serving._walk import walk


def export(
    servable: Any,
    base_path: str | os.PathLike[str],
    sample_inputs: Any,
    *,
    input_name: str = "inputs",
    output_name: str | None = None,
    any_length: Sequence[str] = (),
    k: int | None = None,
    exclusions: bool | None = None,
    embeddings: bool | None = None,
    batch_sizes: Sequence[int] = (0, 1),
    warmup: bool | None = None,
    version: int | None = None,
    allow_untrained: bool = False,
    allow_changed_hashes: bool = False,
) -> Path:
    """Writes the next version of a model, for stock TF Serving.

    The version is a SavedModel of stock TensorFlow ops that needs no Python and no
    file beside it. It appears in `base_path` whole, under the next number, or, where
    anything fails, not at all. A server that looks at `base_path` loads it and
    then lets go of the version before.

    An index (BruteForce and Streaming of TFRS, MACH) has the signatures

    - `serving_default`, with the outputs `scores` and `ids` [batch, k];
    - `with_exclusions`, the same with an input `exclusions` [batch, any] of ids that
      may not be among them;
    - `embeddings`, if it has a query model, with the output `embeddings` [batch, d].

    Anything else has `serving_default`. Its output is `scores` for a TFRS model or
    one number for each row, `embeddings` for other tensors (or `output_name`); a
    dict keeps its names.

    Inputs have the names, dtypes and inner dimensions of the sample inputs, and any
    number of rows. What is saved is what the signatures read: no optimizer, no
    metric, no task. The candidates of a Streaming are read now, and scored as
    BruteForce does. With exclusions, where fewer than k ids are left, scores end in
    NaN and ids in "" or 0.

    Beside the model the version has requests and the answers that the model gave to
    them in this process (`assets.extra/tfrs_dhe_samples.jsonl`), a description
    (`assets.extra/tfrs_dhe_manifest.json`), and warmup requests that TF Serving
    answers before it takes others (`assets.extra/tf_serving_warmup_requests`).

    Example:
    >>> import tempfile
    >>> from tfrs_dhe.layers import DeepHashEmbedding
    >>> users = DeepHashEmbedding(8, hidden_dim=16, normalization="layer")
    >>> vectors = users(tf.constant(["user_1", "user_2"]))
    >>> path = export(
    ...     users,
    ...     tempfile.mkdtemp(),
    ...     sample_inputs=["user_1"],
    ...     input_name="user_id",
    ...     warmup=False,
    ... )
    >>> path.name
    '1'
    >>> serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    >>> serve(user_id=tf.constant(["user_1", "never seen"]))["embeddings"].shape
    TensorShape([2, 8])

    Args:
      servable: The index, model or layer. It has been called before, so that it has
        its weights.
      base_path: The directory of the model's versions; made if it is not there.
      sample_inputs: Rows of a typical request: a tensor, array or list [n, ...] of
        at least one row, or a dict of such by the names of the inputs. (A dict in it
        adds its entries.) Of lists, integers are int64. A dict whose names are
        arguments of the servable's `call` is passed as these, and any other one, or
        one for an index, as the one argument.
      input_name: The name of the input, where it is a single tensor.
      output_name: The name of the output of a model or layer that returns a tensor.
      any_length: Names of inputs [batch, length, ...] whose length may differ
        between requests, such as padded lists of ids. Otherwise it is that of the
        samples.
      k: How many ids an index returns; by default its own `k`. At most all it has.
      exclusions: Whether an index has the signature `with_exclusions`; by default
        yes.
      embeddings: Whether an index has the signature `embeddings`; by default if it
        has a query model.
      batch_sizes: At which numbers of rows the model is run now, for samples and
        warmup requests (of those, 0 is left out). The sample inputs are repeated.
        List those that the server will see, up to its `max_batch_size`.
      warmup: Whether to write warmup requests, which takes the protos of TF Serving
        (`pip install 'tfrs-dhe[serving]'`). By default if they are installed, with a
        warning if not.
      version: Positive integer below 2**63; by default the highest one there plus 1.
      allow_untrained: Whether to export batch normalization whose moving statistics
        are those it was made with.
      allow_changed_hashes: Whether hash constants may differ from those of the
        latest version in `base_path`. All ids are then other ids to the model.

    Returns:
      The directory of the version.

    Raises:
      ValueError: If the servable cannot be served as it is, has NaN in its weights, an
        argument does not fit it, the sample inputs cannot be answered, the version
        exists, or hash constants have changed. Nothing is written then.
      ImportError: If `warmup=True` and the protos are not installed.
    """
    base = _local_path(base_path)
    _version_directory.check_version(base, version)
    has_warmup = _warmup.resolve_warmup(warmup)
    samples = read_sample_inputs(sample_inputs, input_name, any_length)
    signatures = _signatures_of(
        servable, samples, output_name, k, exclusions, embeddings
    )
    sizes = _check_batch_sizes(batch_sizes, len(signatures))

    functions = {s.name: _tracing.trace(s) for s in signatures}
    parts = list(walk(servable))
    resources = _resources.resources_of(functions, [part for _, part in parts])
    _checks.check_numbers(parts, resources)
    if not allow_untrained:
        _checks.check_trained(parts, resources)
    constants = _hash_constants.hash_constants(parts)
    if not allow_changed_hashes:
        _manifest.check_hash_constants(base, constants)
    recorded = record(signatures, functions, samples, sizes)
    manifest = _manifest.make_manifest(
        servable, functions, resources, constants, sizes, has_warmup
    )

    module = tf.Module()
    module.resources = resources
    with _version_directory.staged(base) as path:
        tf.saved_model.save(module, str(path), signatures=functions)
        _samples.write_samples(path, recorded)
        _manifest.write_manifest(path, manifest)
        if has_warmup:
            _warmup.write_warmup(path, recorded)
        return _version_directory.publish(path, base, version)


def _local_path(base_path: str | os.PathLike[str]) -> Path:
    if "://" in str(base_path):
        raise ValueError(
            "`base_path` must be a local directory: only there a version appears at "
            f"once. Received: {base_path!r}. Export to a local one, and copy the "
            "version under another name before it gets its number."
        )
    return Path(base_path)


def _signatures_of(
    servable: Any,
    samples: SampleInputs,
    output_name: str | None,
    k: int | None,
    exclusions: bool | None,
    embeddings: bool | None,
) -> list[_signatures.Signature]:
    if _indexes.is_index(servable):
        if output_name is not None:
            raise ValueError(
                "`output_name` is for a model or layer: the outputs of an index are "
                f"`scores` and `ids`. Received: {output_name!r}."
            )
        index = _indexes.served_index(servable, k)
        for name in ("query_model", "head"):
            _checks.check_built(getattr(servable, name, None), f"servable.{name}")
        has_embeddings = index.query_model is not None
        return _signatures.signatures_of_index(
            index,
            samples,
            exclusions=True if exclusions is None else exclusions,
            embeddings=has_embeddings if embeddings is None else embeddings,
        )
    if not isinstance(servable, keras.layers.Layer):
        raise ValueError(
            "`servable` must be an index, a Keras model or a Keras layer. Received: "
            f"{servable!r}."
        )
    for name, value in (
        ("k", k),
        ("exclusions", exclusions),
        ("embeddings", embeddings),
    ):
        if value is not None:
            raise ValueError(
                f"`{name}` is for an index. Received {name}={value!r} with a "
                f"{type(servable).__name__}, which is none."
            )
    _signatures.check_has_call(servable)
    _checks.check_built(servable, "servable")
    return _signatures.signatures_of_model(servable, samples, output_name)


def _check_batch_sizes(batch_sizes: Sequence[int], num_signatures: int) -> list[int]:
    sizes = list(batch_sizes)
    are_sizes = all(
        isinstance(size, int) and not isinstance(size, bool) and size >= 0
        for size in sizes
    )
    if not sizes or not are_sizes or len(set(sizes)) < len(sizes):
        raise ValueError(
            "`batch_sizes` must be distinct numbers of rows, 0 or more. Received: "
            f"{batch_sizes!r}."
        )
    if len(sizes) * num_signatures > _warmup.MAX_NUM_RECORDS:
        raise ValueError(
            f"`batch_sizes` must give at most {_warmup.MAX_NUM_RECORDS} warmup "
            f"requests, one for each of {num_signatures} signatures. Received "
            f"{len(sizes)} sizes."
        )
    return sizes
