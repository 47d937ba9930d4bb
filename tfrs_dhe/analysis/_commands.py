"""What the commands of `python -m tfrs_dhe.analysis` do."""

import argparse
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrs_dhe.analysis import _ids, embedding_explanation, seed_sensitivity
from tfrs_dhe.analysis.distribution import describe_ids
from tfrs_dhe.analysis.drift_callback import DriftCallback
from tfrs_dhe.analysis.drift_report import DriftThresholds
from tfrs_dhe.analysis.encodings import compare_encodings
from tfrs_dhe.analysis.error_explanation import explain_examples
from tfrs_dhe.analysis.explanation import Explanation
from tfrs_dhe.analysis.id_files import read_ids
from tfrs_dhe.analysis.id_sketch import IdSketch, sketch_ids
from tfrs_dhe.analysis.new_classes import rank_new_classes
from tfrs_dhe.analysis.retraining import retraining_age
from tfrs_dhe.analysis.sizing import size_models
from tfrs_dhe.analysis.sweeping import sweep as run_sweep
from tfrs_dhe.layers import _arguments
from tfrs_dhe.layers.dense_hash_encoding import DenseHashEncoding
from tfrs_dhe.models import _repetition_worker

#: Thresholds of what `drift` compares.
THRESHOLDS = {
    field.name: getattr(DriftThresholds(), field.name)
    for field in dataclasses.fields(DriftThresholds)
}


def encodings(options: argparse.Namespace) -> int:
    """Prints the properties of encodings."""
    _arguments.check_positive_integer("--num-ids", options.num_ids)
    if options.file is None:
        ids = tf.range(options.num_ids, dtype=tf.int64)
    else:
        found: dict[Any, None] = {}
        for _, names in _ids.chunks(_read(options.file, options)):
            found.update(dict.fromkeys(names.tolist()))
            if len(found) >= options.num_ids:
                break
        if not found:
            raise ValueError(f"`file` must have at least one id: {options.file}.")
        ids = tf.constant(list(found)[: options.num_ids])
    if options.encoding is None:
        encoding = DenseHashEncoding(
            options.num_hashes, distribution=options.distribution, name="dense hash"
        )
    else:
        encoding = _load(options.encoding, "--encoding")()
    table = compare_encodings(ids, encoding)
    print(table)
    _plot(table, options)
    return 0


def distribution(options: argparse.Namespace) -> int:
    """Prints how ids are distributed, and what it means."""
    sketch = IdSketch()
    for file in options.file:
        sketch.update(_read(file, options))
    found = describe_ids(sketch)
    print(found)
    if len(found.counts()) > 1:
        print(f"\n{size_models(found, options.embedding_dim)}")
    _plot(found, options)
    if options.save:
        sketch.save(options.save)
    return 0


def drift(options: argparse.Namespace) -> int:
    """Prints what drifted; 1 if there is an alert."""
    reference, live = (
        IdSketch.load(path)
        if path.suffix == ".npz"
        else sketch_ids(_read(path, options))
        for path in (options.reference, options.live)
    )
    limits = {name: getattr(options, name) for name in THRESHOLDS}
    of_model: Mapping[str, Any] = {}
    if options.model:
        of_model = _arguments_of(
            DriftCallback, options.model, "--model", reference=reference, live=live
        )
    report = DriftCallback(
        reference, live, thresholds=DriftThresholds(**limits), **of_model
    ).report()
    print(report)
    if options.report:
        print(f"Written: {report.write(options.report)}")
    return int(bool(report.alerts))


def retraining(options: argparse.Namespace) -> int:
    """Prints when to train again."""
    age = retraining_age(
        (_read(file, options) for file in options.file),
        max_unseen_share=options.max_unseen_share,
    )
    print(age)
    _plot(age, options)
    return 0


def sweep(options: argparse.Namespace) -> int:
    """Evaluates what is missing of a grid, and prints all."""
    names = [name for name, _ in options.grid]
    if len(set(names)) < len(names):
        raise ValueError(
            "`--grid` must have each setting once, with all its values. Received: "
            f"{', '.join(names)}."
        )
    result = run_sweep(
        options.evaluate,
        dict(options.grid),
        options.directory,
        data_share=options.data_share,
        processes=options.processes,
        threads=options.threads,
        higher_is_better=not options.lower_is_better,
    )
    print(result)
    _plot(result, options)
    return 0


def explain(options: argparse.Namespace) -> int:
    """Prints explanations of answers, right ones first."""
    index, examples = _load(options.make, "make")()
    found = list(explain_examples(index, examples, options.right, options.wrong))
    found.sort(key=lambda one: not isinstance(one, Explanation))
    for one in found:
        print(f"{one}\n")
    if options.output:
        _write_explanations(found, options.output)
    return 0


def explain_embedding(options: argparse.Namespace) -> int:
    """Prints what an embedding makes of an id."""
    return _show(embedding_explanation.explain_embedding, options)


def compare_seeds(options: argparse.Namespace) -> int:
    """Prints on what models with other seeds agree."""
    return _show(seed_sensitivity.compare_seeds, options)


def new_items(options: argparse.Namespace) -> int:
    """Prints the ranks of new classes beside trained ones."""
    return _show(rank_new_classes, options)


def _show(function: Callable[..., Any], options: argparse.Namespace) -> int:
    """Prints and draws what a function says of the user's arguments."""
    result = function(**_arguments_of(function, options.make, "make"))
    print(result)
    _plot(result, options)
    return 0


def _load(name: str, argument: str) -> Callable[[], Any]:
    """Returns the user's function, or says which argument names none."""
    module, colon, function = name.rpartition(":")
    problem = "it has no colon" if not colon else ""
    if module.endswith(".py") and not Path(module).is_file():
        problem = "there is no such file"
    if not problem:
        try:
            return _repetition_worker.load_make(name)  # type: ignore[return-value]
        except ModuleNotFoundError as error:
            # What the user's module fails to import is another matter.
            if error.name not in (module, module.partition(".")[0]):
                raise
            problem = str(error)
        except AttributeError as error:
            if error.name != function:
                raise
            problem = str(error)
    raise ValueError(
        f"`{argument}` must be module:function or file.py:function. "
        f"Received: {name!r}; {problem}."
    )


def _arguments_of(
    function: Callable[..., Any], name: str, argument: str, **given: Any
) -> Mapping[str, Any]:
    """Returns the arguments that the user's function has for one of the package."""
    found = _load(name, argument)()
    problem = f"it returned {type(found).__name__}"
    if isinstance(found, Mapping):
        try:
            inspect.signature(function).bind(**given, **found)
            return found
        except TypeError as error:
            problem = str(error)
    raise ValueError(
        f"`{argument}` must name a function that returns a dict with arguments of "
        f"{function.__name__}. Received {name!r}: {problem}."
    )


def _write_explanations(found: list[Any], folder: Path) -> None:
    """Writes explanations with their pictures as Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Explained answers", ""]
    for number, one in enumerate(found, 1):
        kind = "right" if isinstance(one, Explanation) else "wrong"
        one.plot(folder / f"{number}")
        lines += [
            f"## {number}, {kind}",
            "",
            "```",
            str(one),
            "```",
            "",
            f"![Buckets of answer {number}]({number}.png)",
            "",
        ]
    (folder / "explanations.md").write_text("\n".join(lines), encoding="utf-8")


def _read(path: Path, options: argparse.Namespace) -> tf.data.Dataset:
    ids = read_ids(
        path,
        options.columns,
        separator=options.separator,
        within=options.within,
        skip_lines=options.skip_lines,
    )
    if options.integers:
        return ids.map(lambda batch: tf.strings.to_number(batch, tf.int64))
    return ids


def _plot(result: Any, options: argparse.Namespace) -> None:
    if options.plot:
        print("Written: {}, {}".format(*result.plot(options.plot)))
