"""The study of MACH: its losses on drawn classes, its measures and its runs."""

import itertools
import json
from pathlib import Path

import decode
import numpy as np
import planned
import pytest
import sampling
import softmax
import tensorflow as tf
import xc
import xc_classifier
import xc_methods
import xc_tables

from tfrs_dhe import datasets, mach

TINY = {
    "hidden_dim": 32,
    "batch_size": 64,
    "num_negatives": 16,
    "epochs": 4,
    "narrow": 8,
    "joint": (2, 16),
    "mach": ((2, 16), (4, 8)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of sets, as the benchmark finds them."""
    path = tmp_path_factory.mktemp("sets")
    for name in ("several", "single"):
        (path / name).mkdir()
        files = datasets.make_synthetic_xml(
            path / name, num_train=2000, num_test=400, num_labels=60, seed=1
        )
        for file, part in zip(files, ("train", "test"), strict=True):
            Path(file).rename(path / name / f"tiny_{part}.txt")
    return path


def labels_of(*rows: list[int]) -> tf.RaggedTensor:
    return tf.ragged.constant(rows, dtype=tf.int64, row_splits_dtype=tf.int64)


def test_negatives_are_drawn_as_often_as_said() -> None:
    counts = np.array([0, 1, 16, 81])
    sampler = sampling.Sampler(counts, 10, num_negatives=36_000, power=0.75)
    drawn = np.bincount(sampler.draw(np.random.default_rng(0)), minlength=4)
    # Third powers of fourth roots: 0, 1, 8 and 27 of 36.
    np.testing.assert_allclose(sampler.drawn, [1e-12, 1e3, 8e3, 27e3], rtol=1e-6)
    assert drawn[0] == 0
    assert (np.abs(drawn[1:] - [1e3, 8e3, 27e3]) < 5 * np.sqrt([1e3, 8e3, 27e3])).all()
    batch = 10 * counts / 98
    np.testing.assert_allclose(
        sampler.expected, np.maximum(batch + sampler.drawn, 1e-12), rtol=1e-6
    )


def test_sampled_softmax_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    rows, biases = rng.normal(size=(6, 3)), rng.normal(size=6)
    queries, labels = rng.normal(size=(4, 3)), np.array([1, 5, 2, 1])
    sampler = sampling.Sampler(np.arange(1, 7), 4, num_negatives=5)
    negatives = np.array([1, 3, 3, 2, 4])
    expected = 0.0
    corrected = rows @ queries.T + biases[:, None] - np.log(sampler.drawn)[:, None]
    for i, label in enumerate(labels):
        others = [corrected[c, i] for c in negatives if c != label]
        terms = np.exp([corrected[label, i], *others])
        expected -= np.log(terms[0] / terms.sum())
    loss = sampling.sampled_loss(
        *(tf.constant(x, tf.float32) for x in (rows, biases)),
        sampler,
        tf.constant(queries, tf.float32),
        tf.constant(labels, tf.int32),
        tf.constant(negatives, tf.int32),
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_one_label_of_an_example_is_drawn_evenly() -> None:
    labels = labels_of([7], [], *[[3, 4, 5]] * 600)
    rows, drawn = xc_classifier.drawn_labels(labels)
    assert rows.numpy().tolist() == [0, *range(2, 602)]
    assert drawn[0] == 7
    seen = np.bincount(drawn[1:], minlength=6)
    assert seen[:3].sum() == 0
    assert (np.abs(seen[3:] - 200) < 5 * np.sqrt(600 * 2 / 9)).all()


@pytest.mark.parametrize("name", ["full", "mach 2x16"])
def test_hits_are_those_of_sorted_scores(name: str, folder: Path) -> None:
    data = xc_methods.Set(files="tiny", single=False, **TINY)
    examples = datasets.XMLRepository(folder / "several" / "tiny_train.txt").read()
    method = xc_methods.methods(data)[name]
    model = xc_classifier.Classifier(method, data, examples, 0.0, 0)
    counts = np.bincount(examples.labels, minlength=60)
    frequent = set(np.argsort(-counts, kind="stable")[:6].tolist())
    batch = next(iter(examples.batches(200)))
    found = model.hits(batch["features"], batch["labels"], True)
    dense = tf.sparse.to_dense(batch["features"]).numpy()
    hidden = np.maximum(dense @ model.hidden.kernel + model.hidden.bias, 0)
    form = "float32"
    if name == "full":
        scores = hidden @ model.head.rows.numpy().T + model.head.bias.numpy()
        assert set(found) == {"float32", "int8", "int4"}
    else:
        form = "mean_logit"
        logits = model.head.head(tf.constant(hidden)).numpy()
        buckets = model.head.head.bucket_ids(tf.range(60)).numpy()
        scores = (logits[:, 0, buckets[:, 0]] + logits[:, 1, buckets[:, 1]]) / 2
        assert set(found) == set(mach.AGGREGATIONS)
    expected = np.zeros(5)
    for row, own in zip(scores, batch["labels"].to_list(), strict=True):
        best = np.argsort(-row, kind="stable")[:5].tolist()
        for place, top in enumerate((1, 3, 5)):
            expected[place] += len(set(best[:top]) & set(own))
        right = set(best) & set(own)
        expected[3] += len(right & frequent)
        expected[4] += len(right - frequent)
    # Sums of another order may exchange labels of nearly equal scores.
    np.testing.assert_allclose(found[form], expected, atol=2)


def test_any_epoch_may_be_the_best() -> None:
    for values, best in (
        ([1.0, 2.0, 3.0], (2.67, 3)),
        ([3.0, 2.0, 1.0], (2.67, 1)),
        ([1.0, 5.0, 0.0, 4.0, 4.0], (4.0, 5)),
        ([2.0, 8.0, 2.0, 1.0], (4.0, 1)),
    ):
        assert xc.best_epoch(np.array(values)) == best


def test_buckets_are_even_where_a_method_says_so(folder: Path) -> None:
    examples = datasets.XMLRepository(folder / "several" / "tiny_train.txt").read()
    data = xc_methods.Set(files="tiny", single=False, **TINY)
    for name, method in xc_methods.methods(data).items():
        if method.shape is None:
            continue
        model = xc_classifier.Classifier(method, data, examples, 0.0, 0)
        buckets = model.head.head.bucket_ids(tf.range(60)).numpy()
        sizes = [np.bincount(row, minlength=method.shape[1]) for row in buckets.T]
        assert (np.ptp(sizes) <= 1) == name.endswith("balanced") == method.balanced


@pytest.mark.parametrize("scale", [1, 4, 16])
def test_softmax_over_many_classes_at_any_logits(scale: int) -> None:
    """Against TensorFlow's in float64; exp() of 89 is beyond float32."""
    rng = np.random.default_rng(0)
    # Products are numbers that bfloat16 has, of up to 14, 56 and 224.
    queries = rng.integers(-1, 2, [5, 8])
    weights = scale * rng.integers(-3, 4, [40, 8])
    biases, labels = rng.normal(size=40), np.array([3, 39, 0, 3, 7])
    arguments = [tf.constant(x, tf.float32) for x in (queries, weights, biases)]
    exact = [tf.constant(x, tf.float64) for x in (queries, weights, biases)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([*arguments, *exact])
        loss = softmax.softmax_loss(*arguments, tf.constant(labels, tf.int32))
        logits = tf.matmul(exact[0], exact[1], transpose_b=True) + exact[2]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        expected = tf.reduce_sum(losses)
    np.testing.assert_allclose(loss, expected, rtol=2**-6)
    for found, wanted in zip(
        tape.gradient(loss, arguments), tape.gradient(expected, exact), strict=True
    ):
        largest = np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, atol=2**-6 * largest)


def test_losses_over_all_labels_are_their_formulas(folder: Path) -> None:
    examples = datasets.XMLRepository(folder / "several" / "tiny_train.txt").read()
    labels = labels_of([7], [3, 4])
    queries = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
    for name, single in itertools.product(("full", "narrow"), (False, True)):
        data = xc_methods.Set(files="tiny", single=single, **TINY)
        method = xc_methods.methods(data)[name]
        model = xc_classifier.Classifier(method, data, examples, 0.0, 0)
        head = model.head
        projected = queries if name == "full" else queries @ head.projection.numpy()
        z = (projected @ head.rows.numpy().T + head.bias.numpy()).astype(np.float64)
        tf.random.set_seed(2)
        loss = float(model.loss(tf.constant(queries), labels, None, None))
        if single:
            logs = z - np.log(np.exp(z).sum(1, keepdims=True))
            either = [-(logs[0, 7] + logs[1, label]) / 2 for label in (3, 4)]
            # Products of bfloat16.
            assert min(abs(loss - value) for value in either) < 2e-2
        else:
            truth = np.zeros_like(z)
            truth[[0, 1, 1], [7, 3, 4]] = 1
            p = 1 / (1 + np.exp(-z))
            entropies = truth * np.log(p) + (1 - truth) * np.log(1 - p)
            np.testing.assert_allclose(loss, -entropies.sum() / 2, rtol=1e-4)


def test_settings_climb_to_the_best_rate_then_dropout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def try_settings(method, data, examples, learning_rate, dropout):
        asked.append((learning_rate, dropout))
        value = 50 - abs(np.log2(learning_rate / 0.00125)) + dropout
        return {"learning_rate": learning_rate, "dropout": dropout, "validation": value}

    monkeypatch.setattr(xc, "try_settings", try_settings)
    method = xc_methods.Method("full", "full", "all")
    results = tmp_path / "tuning.jsonl"
    best = xc.tune("set", method, None, None, results)
    assert (best["learning_rate"], best["dropout"]) == (0.00125, 0.5)
    rates = [0.005, 0.01, 0.0025, 0.00125, 0.000625]
    assert asked == [*((rate, 0.25) for rate in rates), (0.00125, 0.5)]
    # All of them are known now.
    assert xc.tune("set", method, None, None, results) == best
    assert len(asked) == 6


def tries(name: str) -> list[dict]:
    """What tuning would have found, for every family."""
    families = ("full", "narrow", "joint", "in_batch", "sampled", "mach")
    settings = [(0.005, 0.25, 9), (0.01, 0.25, 8), (0.0025, 0.25, 8), (0.005, 0.5, 7)]
    return [
        {
            "set": name,
            "family": family,
            "learning_rate": rate,
            "dropout": dropout,
            "validation": value,
            "epochs": 5,
            "form": "min",
        }
        for family in families
        for rate, dropout, value in settings
    ]


METHODS = {
    "several": ["full", "joint", "mach 4x8"],
    "single": ["full", "mach 2x16", "in_batch", "sampled"],
}


@pytest.mark.parametrize("name", list(METHODS))
def test_methods_learn_and_are_not_run_again(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = xc_methods.Set(files="tiny", single=name == "single", **TINY)
    monkeypatch.setitem(xc.SETS, name, data)
    results, tuning = tmp_path / "xc.jsonl", tmp_path / "tuning.jsonl"
    tuning.write_text("\n".join(map(json.dumps, tries(name))) + "\n")
    arguments = ["xc.py", *METHODS[name], f"--data={folder}", f"--set={name}"]
    arguments += ["--seeds=1", f"--results={results}", f"--tuning={tuning}"]
    monkeypatch.setattr("sys.argv", arguments)
    xc.main()
    lines = xc.lines(results)
    assert [line["method"] for line in lines] == METHODS[name]
    train_set, test = (
        datasets.XMLRepository(folder / name / f"tiny_{part}.txt").read()
        for part in ("train", "test")
    )
    popular = np.bincount(train_set.labels, minlength=60).argmax()
    by_count = 100 * (test.labels == popular).sum() / len(test)
    sizes = {"full": 60 * 33, "joint": 32 * 32 + 60, "in_batch": 60 * 33}
    for line in lines:
        assert line["test"][0][line["form"]]["precision"][0] > 1.3 * by_count
        assert line["head_parameters"] == sizes.get(
            line["method"], (32 * 33 if "mach" in line["method"] else 60 * 33)
        )
    # Lines less one are completed by that one alone, and the same way.
    results.write_text("\n".join(map(json.dumps, lines[:-1])) + "\n")
    xc.main()
    again = xc.lines(results)
    assert [line["method"] for line in again] == METHODS[name]
    assert again[-1]["test"] == lines[-1]["test"]
    assert len(xc.lines(tuning)) == len(tries(name))


def test_pairs_are_counted_as_by_comparing_all() -> None:
    table = np.random.default_rng(0).integers(0, 4, (2, 40))
    pairs = itertools.combinations(table.T.tolist(), 2)
    assert planned.count_pairs(table) == sum(a == b for a, b in pairs)


def test_planned_deviations_are_those_of_many_hash_functions() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(30, 0.3))
    noise = planned.deviations(p[np.newaxis], num_repetitions=3, num_buckets=5)[0]
    tables = rng.integers(0, 5, (4000, 3, 30))
    estimates = [
        5 / 4 * (np.mean([np.bincount(h, p, 5)[h] for h in table], axis=0) - 1 / 5)
        for table in tables
    ]
    np.testing.assert_allclose(np.std(estimates, axis=0), noise, rtol=0.1)
    table = tables[0]
    scores = planned.bucket_scores(p[np.newaxis], table, 5)
    np.testing.assert_allclose(scores["unbiased_mean"][0], estimates[0], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int8", "int4"])
def test_decoding_finds_the_best_of_the_rounded_rows(dtype: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 8)).astype(np.float32)
    queries = rng.normal(size=(3, 8)).astype(np.float32)
    head = decode.Rows(rows, dtype, 8)
    largest = {"float32": None, "int8": 127, "int4": 7}[dtype]
    if largest:
        scale = np.abs(rows).max(1, keepdims=True) / largest
        rows = np.rint(rows / scale) * scale
    best = head.best(tf.constant(queries), 4).numpy()
    assert best.tolist() == np.argsort(-(queries @ rows.T))[:, :4].tolist()
    per_row = {"float32": 32, "int8": 12, "int4": 8}[dtype]
    assert head.num_bytes == 50 * (per_row + 4)


def test_bytes_in_the_tables_are_those_of_heads_that_decode() -> None:
    rows = np.ones([50, 7], np.float32)
    line = {"num_labels": 50, "row_dim": 7, "head_parameters": 400, "shape": None}
    for form in ("float32", "int8", "int4"):
        size = decode.Rows(rows, form, 7).num_bytes
        assert xc_tables.served_bytes(line, form) == size
    head = decode.Buckets((3, 300), num_classes=50, dim=7)
    line |= {"head_parameters": 3 * 300 * 8, "shape": [3, 300]}
    assert xc_tables.served_bytes(line, "min") == head.num_bytes
