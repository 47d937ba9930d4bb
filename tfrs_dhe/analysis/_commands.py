"""What the commands of `python -m tfrs_dhe.analysis` do."""

import argparse
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrs_dhe.analysis import _ids
from tfrs_dhe.analysis.distribution import describe_ids
from tfrs_dhe.analysis.drift_report import DriftReport, DriftThresholds
from tfrs_dhe.analysis.encodings import compare_encodings
from tfrs_dhe.analysis.error_explanation import explain_examples
from tfrs_dhe.analysis.explanation import Explanation
from tfrs_dhe.analysis.id_drift import compare_ids
from tfrs_dhe.analysis.id_files import read_ids
from tfrs_dhe.analysis.id_sketch import IdSketch, sketch_ids
from tfrs_dhe.analysis.retraining import retraining_age
from tfrs_dhe.analysis.sizing import size_models
from tfrs_dhe.analysis.sweeping import sweep as run_sweep
from tfrs_dhe.layers.dense_hash_encoding import DenseHashEncoding
from tfrs_dhe.models import _repetition_worker

#: Thresholds of what `drift` compares, as `DriftThresholds` has them.
ID_THRESHOLDS = {
    name: getattr(DriftThresholds(), name)
    for name in ("psi", "jensen_shannon", "unseen_share", "heavy_overlap")
}


def encodings(options: argparse.Namespace) -> int:
    """Prints the properties of encodings."""
    if options.file is None:
        ids = tf.range(options.num_ids, dtype=tf.int64)
    else:
        found: dict[Any, None] = {}
        for _, names in _ids.chunks(_read(options.file, options)):
            found.update(dict.fromkeys(names.tolist()))
            if len(found) >= options.num_ids:
                break
        ids = tf.constant(list(found)[: options.num_ids])
    layer = DenseHashEncoding(
        options.num_hashes, distribution=options.distribution, name="dense hash"
    )
    table = compare_encodings(ids, layer)
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
    limits = {name: getattr(options, name) for name in ID_THRESHOLDS}
    report = DriftReport(
        ids=compare_ids(reference, live), thresholds=DriftThresholds(**limits)
    )
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
    index, examples = _repetition_worker.load_make(options.make)()  # type: ignore[call-arg]
    found = list(explain_examples(index, examples, options.right, options.wrong))
    found.sort(key=lambda one: not isinstance(one, Explanation))
    for one in found:
        print(f"{one}\n")
    if options.output:
        _write_explanations(found, options.output)
    return 0


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
