import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.processes import check_python
from tests.serving import exports
from tests.serving.exports import USER_ID, ask_v1, edit, save
from tfrs_dhe.serving import VerificationError, verify
from tfrs_dhe.serving._samples import SAMPLES_PATH, read_samples, write_samples


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.write_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def version(sound: Path, tmp_path: Path) -> Path:
    """A sound version for a test to break."""
    return Path(shutil.copytree(sound, tmp_path / "1"))


def problems_of(path: Path, **options: Any) -> tuple[str, ...]:
    with pytest.raises(VerificationError) as raised:
        verify(path, **{"dynamic": False, **options})
    return raised.value.problems


def problem_of(path: Path, **options: Any) -> str:
    problems = problems_of(path, **options)
    assert len(problems) == 1, problems
    return problems[0]


def module_of(function: Callable[..., Any], spec: tf.TensorSpec = USER_ID) -> tf.Module:
    module = tf.Module()
    module.serve = tf.function(function, input_signature=[spec])
    return module


def test_sound_version_passes(sound: Path) -> None:
    report = verify(sound)
    assert report.signatures == ("serving_default",)
    assert (report.num_samples, report.num_warmup_records) == (3, 1)
    # 4 variables, 2 tables and the variable that holds the path of the vocabulary.
    assert report.num_resources == 6
    assert None not in (report.load_seconds, report.first_seconds)
    assert "3 answered as recorded" in str(report)


class TestOps:
    def test_python_functions(self, tmp_path: Path) -> None:
        def calling(wrap: Callable[..., Any]) -> Callable[..., Any]:
            def serve(user_id: tf.Tensor) -> dict[str, tf.Tensor]:
                answer = wrap(lambda x: x, [user_id], tf.string)
                return {"ids": tf.ensure_shape(answer, [None])}

            return tf.function(serve, input_signature=[USER_ID])

        path = save(
            tf.Module(),
            tmp_path / "1",
            serving_default=calling(tf.py_function),
            numpy=calling(tf.numpy_function),
        )
        inputs = {"user_id": ["ann"]}
        logs = [exports.predict_log(inputs), exports.predict_log(inputs, "numpy")]
        exports.write_warmup(path, logs)
        problems = problems_of(path, dynamic=True)
        assert len(problems) == 4
        assert "'numpy': op PyFunc has no CPU kernel without Python" in problems[0]
        assert "'serving_default': op EagerPyFunc has no CPU kernel" in problems[1]
        # A process with Python has the kernels, and lacks the functions.
        assert "warmup record 0 (serving_default): it fails with" in problems[2]
        assert "warmup record 1 (numpy): it fails with" in problems[3]

    @pytest.mark.parametrize("is_in_function", [False, True])
    def test_unregistered_op(self, version: Path, is_in_function: bool) -> None:
        def exchange(meta_graph: Any) -> None:
            nodes = list(meta_graph.graph_def.node)
            if is_in_function:
                functions = meta_graph.graph_def.library.function
                nodes = [n for f in functions for n in f.node_def]
            ops = "TopKV2" if is_in_function else "Placeholder"
            for node in nodes:
                if node.op == ops and "saver" not in node.name:
                    node.op = "OpOfTomorrow"

        edit(version, exchange)
        problems = problems_of(version)
        assert all("op OpOfTomorrow is not registered" in each for each in problems)
        assert any("signature 'serving_default'" in each for each in problems)
        with pytest.raises((tf.errors.NotFoundError, ValueError), match="OpOfTomorrow"):
            ask_v1(version)

    def test_unregistered_op_that_no_signature_needs(self, version: Path) -> None:
        def exchange(meta_graph: Any) -> None:
            for function in meta_graph.graph_def.library.function:
                for node in function.node_def:
                    if node.op == "SaveV2":
                        node.op = "OpOfTomorrow"

        edit(version, exchange)
        assert "the graph: op OpOfTomorrow is not registered" in problem_of(version)
        with pytest.raises(tf.errors.NotFoundError, match="OpOfTomorrow"):
            ask_v1(version)

    def test_missing_function(self, version: Path) -> None:
        def remove(meta_graph: Any) -> None:
            functions = meta_graph.graph_def.library.function
            (branch,) = (f for f in functions if "cond_true" in f.signature.name)
            functions.remove(branch)

        edit(version, remove)
        problem = problem_of(version)
        assert "cond_true" in problem
        assert "is missing from the graph" in problem

    def test_dtype_without_a_kernel(self, tmp_path: Path) -> None:
        def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"ids": tf.raw_ops.Mod(x=x, y=x)}

        spec = tf.TensorSpec([None], tf.int64, "x")
        path = save(module_of(serve, spec), tmp_path / "1")
        verify(path, dynamic=False)

        def unsigned(meta_graph: Any) -> None:
            for function in meta_graph.graph_def.library.function:
                for node in function.node_def:
                    if node.op == "Mod":
                        node.attr["T"].type = tf.uint64.as_datatype_enum

        edit(path, unsigned)
        assert "op Mod has no CPU kernel for T=uint64" in problem_of(path)

    def test_jit_compile(self, tmp_path: Path) -> None:
        spec = tf.TensorSpec([None], tf.float32, "x")
        module = module_of(lambda x: {"scores": x + 1.0}, spec)
        verify(save(module, tmp_path / "1"), dynamic=False)
        module.serve = tf.function(
            lambda x: {"scores": x + 1.0}, input_signature=[spec], jit_compile=True
        )
        assert "must be compiled by XLA" in problem_of(save(module, tmp_path / "2"))


class TestResources:
    def test_keras_3_restores_into_another_variable(self, tmp_path: Path) -> None:
        check_python(
            f"""
            import keras
            import tensorflow as tf

            class Served(tf.Module):
                def __init__(self, model):
                    self.model = model

                @tf.function(
                    input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")]
                )
                def serve(self, x):
                    return {{"embeddings": self.model(x)}}

            model = keras.Sequential([keras.layers.Input([3]), keras.layers.Dense(2)])
            module = Served(model)
            signatures = {{"serving_default": module.serve}}
            tf.saved_model.save(module, {str(tmp_path / "1")!r}, signatures=signatures)
            module.raw = [v.value for v in model.variables]
            tf.saved_model.save(module, {str(tmp_path / "2")!r}, signatures=signatures)
            """,
            TF_USE_LEGACY_KERAS="0",
        )
        problems = problems_of(tmp_path / "1")
        assert len(problems) == 2
        for problem, name in zip(problems, ("bias", "kernel"), strict=True):
            assert f"variable 'sequential/dense/{name}' is read by signature" in problem
        verify(tmp_path / "2", dynamic=False)
        row = [[1.0, 2.0, 3.0]]
        # Python's loader is content with both, a session only with the second.
        for number in ("1", "2"):
            loaded = tf.saved_model.load(str(tmp_path / number))
            loaded.signatures["serving_default"](x=tf.constant(row))
        with pytest.raises(tf.errors.FailedPreconditionError, match="dense"):
            ask_v1(tmp_path / "1", row)
        ask_v1(tmp_path / "2", row)

    @pytest.mark.parametrize("is_filled", [True, False])
    def test_table(self, tmp_path: Path, is_filled: bool) -> None:
        path = write_v1(
            tmp_path / "1",
            lambda: tf.lookup.KeyValueTensorInitializer(
                tf.constant(["ann"]), tf.constant([1], tf.int64)
            ),
            init=is_filled,
        )
        if is_filled:
            verify(path, dynamic=False)
            assert ask_v1(path)["ids"] == [1]
        else:
            assert "table 'hash_table_" in problem_of(path)
            with pytest.raises(tf.errors.FailedPreconditionError):
                ask_v1(path)

    @pytest.mark.parametrize("name", ["first", "second", "branch", "loop", "mapped"])
    def test_handle_of_another_variable(self, tmp_path: Path, name: str) -> None:
        module = tf.Module()
        module.variables_by_use = {
            each: tf.Variable(1.0, name=each)
            for each in ("first", "second", "branch", "loop", "mapped")
        }
        variables = module.variables_by_use
        times = tf.function(lambda x, factor: x * factor)

        def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
            # The same function twice, each time with a variable of its own.
            x = times(times(x, variables["first"]), variables["second"])
            x = tf.cond(tf.size(x) > 1, lambda: x * variables["branch"], lambda: x)
            x = tf.while_loop(
                lambda i, _: i < 2,
                lambda i, x: (i + 1, x + variables["loop"]),
                (0, x),
            )[1]
            mapped = tf.data.Dataset.range(2).map(
                lambda i: tf.cast(i, tf.float32) * variables["mapped"]
            )
            return {"scores": mapped.reduce(x, lambda total, each: total + each)}

        module.serve = tf.function(
            serve, input_signature=[tf.TensorSpec([None], tf.float32, "x")]
        )
        path = save(module, tmp_path / "1")
        verify(path, dynamic=False)

        def exchange(meta_graph: Any) -> None:
            nodes = meta_graph.graph_def.node
            stray = nodes.add(name="stray")
            stray.CopyFrom(next(node for node in nodes if node.name == name))
            stray.name = "stray"
            stray.attr["shared_name"].s = b"stray"
            signature = meta_graph.signature_def["serving_default"]
            output = signature.outputs["scores"].name.partition(":")[0]
            (call,) = (node for node in nodes if node.name == output)
            call.input[list(call.input).index(name)] = "stray"

        edit(path, exchange)
        assert "variable 'stray' is read by signature" in problem_of(path)
        with pytest.raises(tf.errors.FailedPreconditionError, match="stray"):
            ask_v1(path, [1.0, 2.0])

    def test_what_cannot_be_traced_is_noted(self, version: Path) -> None:
        def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
            # One op with three functions, each with variables of its own.
            groups = tf.data.Dataset.from_tensor_slices(x).group_by_window(
                lambda each: each + module.keys,
                lambda key, window: window.map(lambda each: each + module.values),
                window_size=3,
            )
            return {"scores": groups.reduce(x, lambda total, each: total + each)}

        module = module_of(serve, tf.TensorSpec([None], tf.int64, "x"))
        module.keys = tf.Variable(1, dtype=tf.int64)
        module.values = tf.Variable(1, dtype=tf.int64)
        path = save(module, version.parent / "2")
        notes = verify(path, dynamic=False).notes
        assert len(notes) == 2
        assert all("could not be traced" in note for note in notes)


class TestFiles:
    def test_no_variables(self, version: Path) -> None:
        shutil.rmtree(version / "variables")
        static, dynamic = problems_of(version, dynamic=True)
        assert "variables/variables.index is missing" in static
        assert "loading in a fresh process ended" in dynamic

    def test_no_data(self, version: Path) -> None:
        (version / "variables" / "variables.data-00000-of-00001").unlink()
        assert "cannot be read" in problem_of(version)

    @pytest.mark.parametrize("is_cut", [True, False])
    def test_damaged_data(self, version: Path, is_cut: bool) -> None:
        file = version / "variables" / "variables.data-00000-of-00001"
        data = bytearray(file.read_bytes())
        # The bytes of the rows: 3.0, 1.0, 2.0.
        place = data.index(np.array([3, 1, 2], "<f4").tobytes())
        file.write_bytes(data[:place] if is_cut else flipped(data, place))
        problems = problems_of(version)
        assert all("cannot be read" in problem for problem in problems)
        assert any("'rows/.ATTRIBUTES" in problem for problem in problems)

    def test_damaged_index(self, version: Path) -> None:
        file = version / "variables" / "variables.index"
        file.write_bytes(file.read_bytes()[:-20])
        assert "variables.index cannot be read" in problem_of(version)

    def test_checkpoint_of_another_model(self, version: Path) -> None:
        prefix = version / "variables" / "variables"
        shutil.rmtree(version / "variables")
        tf.train.Checkpoint(rows=tf.Variable(tf.zeros([3, 3]))).write(str(prefix))
        assert "variables lacks 'branch/.ATTRIBUTES" in problem_of(version)

    def test_removed_asset(self, version: Path) -> None:
        (version / "assets" / "users.txt").unlink()
        assert "assets/users.txt is missing" in problem_of(version)

    def test_asset_outside(self, version: Path, tmp_path: Path) -> None:
        outside = tmp_path / "users.txt"
        outside.write_text("ann\nbob\n")

        def move(meta_graph: Any) -> None:
            meta_graph.asset_file_def[0].filename = str(outside)

        edit(version, move)
        # Here it works, since the path is there: the reason to look for it.
        ask_v1(version)
        assert f"asset '{outside}' is outside" in problem_of(version)

    def test_table_from_an_absolute_path(self, tmp_path: Path) -> None:
        vocabulary = tmp_path / "users.txt"
        vocabulary.write_text("ann\nbob\n")
        initializer = tf.lookup.TextFileInitializer
        index = tf.lookup.TextFileIndex
        path = write_v1(
            tmp_path / "1",
            lambda: initializer(
                str(vocabulary),
                tf.string,
                index.WHOLE_LINE,
                tf.int64,
                index.LINE_NUMBER,
            ),
        )
        problem = problem_of(path)
        assert f"reads the file '{vocabulary}'" in problem
        assert "InitializeTableFromTextFileV2" in problem
        ask_v1(path)
        vocabulary.unlink()
        with pytest.raises(tf.errors.NotFoundError):
            ask_v1(path)

    def test_file_read_by_a_signature(self, tmp_path: Path) -> None:
        def serve(user_id: tf.Tensor) -> dict[str, tf.Tensor]:
            name = tf.strings.join([tf.constant("/data"), "titles.txt"], "/")
            return {"ids": user_id + tf.io.read_file(name)}

        problems = problems_of(save(module_of(serve), tmp_path / "1"))
        assert [each for each in problems if "reads the file '/data'" in each]


class TestSignatures:
    def test_no_leading_free_dimension(self, tmp_path: Path) -> None:
        spec = tf.TensorSpec([8], tf.float32, "x")
        module = module_of(
            lambda x: {"scores": tf.reshape(x, [-1]), "ids": tf.reduce_max(x)}, spec
        )
        problems = problems_of(save(module, tmp_path / "1"))
        assert len(problems) == 3
        assert "input 'x' has the shape (8,)" in problems[0]
        assert "output 'ids' has the shape ()" in problems[1]

    def test_tensors_that_cannot_be_asked_for(self, version: Path) -> None:
        def exchange(meta_graph: Any) -> None:
            outputs = meta_graph.signature_def["serving_default"].outputs
            outputs["ids"].name = "nowhere:0"
            outputs["scores"].coo_sparse.values_tensor_name = "values:0"

        edit(version, exchange)
        ids, scores = problems_of(version)
        assert "output 'ids' is the tensor nowhere:0, which the graph lacks" in ids
        assert "output 'scores' is no dense tensor" in scores

    def test_no_default(self, tmp_path: Path) -> None:
        module = module_of(lambda x: {"scores": x}, tf.TensorSpec([None], name="x"))
        path = save(module, tmp_path / "1", rank=module.serve)
        assert "no signature 'serving_default'" in problem_of(path)

    def test_signature_beside_an_index(self, tmp_path: Path) -> None:
        module = module_of(lambda user_id: {"ids": user_id})
        path = save(
            module,
            tmp_path / "1",
            serving_default=module.serve,
            with_exclusions=module.serve,
            embeddings=module.serve,
        )
        exclusions, embeddings = problems_of(path)
        assert "not ['exclusions', 'user_id']" in exclusions
        assert "not ['embeddings']" in embeddings


class TestRequests:
    def test_wrong_warmup_records(self, version: Path) -> None:
        from tensorflow_serving.apis import prediction_log_pb2

        log = exports.predict_log
        logs = [
            log({"user_id": ["ann"]}, "rank"),
            log({"movie_id": ["ann"]}),
            log({"user_id": [1]}),
            log({"user_id": [["ann"]]}),
            log({"user_id": ["ann"]}, ""),
            prediction_log_pb2.PredictionLog(),
        ]
        exports.write_warmup(version, logs)
        problems = problems_of(version)
        assert len(problems) == 5
        for text in (
            "record 0: there is no signature 'rank'",
            "record 1: it gives the inputs ['movie_id']",
            "record 2: input 'user_id' is of dtype int32",
            "record 3: input 'user_id' has the shape [1, 1]",
            "record 5 is a None",
        ):
            assert any(text in problem for problem in problems), text

    def test_damaged_warmup_file(self, version: Path) -> None:
        file = version / exports.WARMUP
        file.write_bytes(file.read_bytes()[:-1])
        assert "tf_serving_warmup_requests cannot be read" in problem_of(version)

    def test_warmup_file_of_something_else(self, version: Path) -> None:
        with tf.io.TFRecordWriter(str(version / exports.WARMUP)) as writer:
            writer.write(b"ann")
        assert "tf_serving_warmup_requests cannot be read" in problem_of(version)

    def test_too_many_warmup_records(self, version: Path) -> None:
        exports.write_warmup(version, 1001 * [exports.predict_log({"user_id": []})])
        assert any("has 1001 records" in problem for problem in problems_of(version))

    def test_without_the_protos(
        self, version: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        (note,) = verify(version, dynamic=False).notes
        assert "was not replayed" in note
        assert "pip install 'tfrs-dhe[serving]'" in note

    def test_answers_differ_from_the_recorded(self, version: Path) -> None:
        first, second, third = read_samples(version)
        first.outputs["scores"][0, 1] += 1e-4
        second.outputs["ids"][2, 0] = b"/movies/9"
        write_samples(version, [first, second, third])
        problems = problems_of(version, dynamic=True)
        assert len(problems) == 2
        assert "sample 0 (serving_default): output 'scores' differs" in problems[0]
        assert "first at [2, 0]: b'/movies/" in problems[1]
        assert "b'/movies/9' was recorded" in problems[1]

    def test_damaged_samples(self, version: Path) -> None:
        (version / SAMPLES_PATH).write_text("{")
        assert "tfrs_dhe_samples.jsonl cannot be read" in problem_of(version)

    def test_no_end(self, version: Path) -> None:
        problem = problem_of(version, dynamic=True, timeout=0.01)
        assert "loading in a fresh process did not end within 0.01 s" in problem


class TestDirectory:
    def test_no_directory(self, tmp_path: Path) -> None:
        assert "is no directory" in problem_of(tmp_path / "1")

    def test_no_graph(self, tmp_path: Path) -> None:
        assert "has no saved_model.pb" in problem_of(tmp_path)

    def test_cut_graph(self, version: Path) -> None:
        file = version / "saved_model.pb"
        file.write_bytes(file.read_bytes()[:-7])
        assert "is no SavedModel or is cut off" in problem_of(version)

    def test_graph_for_training(self, version: Path) -> None:
        edit(version, lambda graph: graph.meta_info_def.tags.append("train"))
        assert "no graph with the tags ['serve']" in problem_of(version)


def flipped(data: bytearray, place: int) -> bytearray:
    data[place] ^= 1
    return data


def write_v1(path: Path, initializer: Callable[[], Any], init: bool = True) -> Path:
    """Writes a table as programs of TensorFlow 1 do."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        user_id = v1.placeholder(tf.string, [None], "user_id")
        table = tf.lookup.StaticHashTable(initializer(), -1)
        ids = table.lookup(user_id)
        session.run(v1.tables_initializer())
        builder = v1.saved_model.Builder(str(path))
        signature = v1.saved_model.predict_signature_def(
            {"user_id": user_id}, {"ids": ids}
        )
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            main_op=v1.tables_initializer() if init else None,
        )
        builder.save()
    return path
