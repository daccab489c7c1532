import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import torch
from command import runner

import recorder
from recorder import EventStream, assemble, hookimpl
from recorder.cli import main
from recorder.events import Grad
from recorder.models import find_model, make_input, total
from recorder.plugins import Plugins
from recorder.summary import Summary
from recorder.testing import sample_graphs, sample_streams

MODELS = '''
import torch
from torch import nn

print("mynet is imported")


class Net(nn.Module):
    """Tells in which mode it ran by which of its layers it called."""

    def __init__(self, width=2):
        super().__init__()
        self.evaluated, self.trained = nn.Linear(4, width), nn.Linear(4, width)

    def forward(self, x, y=None):
        print("mynet is running")
        h = torch.relu((self.trained if self.training else self.evaluated)(x))
        return {"h": h, "rest": [None, (h.double() * 2, 3, x.long())]}


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 4), nn.Linear(5, 2)

    def forward(self, x):
        return self.fc2(self.fc1(x))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(2, 3)

    def forward(self, tokens):
        return self.embedding(tokens)


class Nothing(nn.Module):
    def forward(self):
        return None


def make(**arguments):
    return Net(**arguments)


def number():
    return 3


def unlucky():
    raise ValueError("no luck\\nand more")


net = Net()
three = 3
'''


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's folder, current, with models in mynet.py."""
    (tmp_path / "mynet.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("mynet", "marked", "raises"):
        sys.modules.pop(name, None)


def run(*arguments):
    return runner().invoke(main, [str(a) for a in arguments], catch_exceptions=False, prog_name="recorder")


def works(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def fails(*arguments, status=2):
    """What a command that cannot work says: one line, and nothing on stdout."""
    result = run(*arguments)
    assert result.exit_code == status, result.stderr
    assert "Traceback" not in result.stderr
    if status == 2:
        assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    if status == 2:
        assert [text for text in result.stderr.splitlines() if not text.startswith("mynet is")] == [line]
    return line.removeprefix("Error: ")


def recorded(path="run.jsonl"):
    return assemble(EventStream.load(path))


# record


def test_without_outputs_the_summary_is_the_only_thing_on_stdout(project):
    result = works("record", "mynet:Net", "--input", "1,4")
    assert "Net" in result.stdout
    assert "evaluated" in result.stdout
    assert "mynet is" not in result.stdout
    assert "recording" not in result.stdout
    lines = result.stderr.splitlines()
    assert lines[:3] == ["mynet is imported", "recording Net on 1,4", "mynet is running"]
    assert lines[3].startswith("recorded ")
    assert len(lines) == 4


def test_it_writes_every_output_and_says_so_on_stderr(project):
    result = works("record", "mynet:Net", "--input", "1,4", "-o", "run.jsonl", "-o", "net.dot", "-o", "other.gv")
    assert result.stdout == ""
    assert result.stderr.splitlines()[-3:] == [
        "wrote run.jsonl (recording)",
        "wrote net.dot (dot)",
        "wrote other.gv (dot)",
    ]
    graph = recorded()
    graph.lint()
    assert [node.op_type for node in graph.nodes][:2] == ["Linear", "relu"]
    assert (project / "net.dot").read_text("utf-8") == recorder.export(graph, "dot")
    assert (project / "net.dot").read_bytes() == (project / "other.gv").read_bytes()


def test_a_format_without_outputs_is_printed(project):
    result = works("record", "mynet:Net", "--input", "1,4", "-f", "dot", "-o", "net.dot")
    assert result.stdout == ""
    result = works("record", "mynet:Net", "--input", "1,4", "-f", "dot")
    assert result.stdout_bytes == (project / "net.dot").read_bytes()


def test_a_format_goes_before_the_suffix(project):
    works("record", "mynet:Net", "--input", "1,4", "-f", "dot", "-o", "net.txt")
    assert (project / "net.txt").read_text("utf-8").startswith("digraph")


def test_the_default_is_eval_mode_without_gradients(project):
    works("record", "mynet:Net", "--input", "1,4", "-o", "run.jsonl")
    node = recorded().nodes[0]
    assert node.fqn == "evaluated"
    assert not node.outputs[0].requires_grad


def test_train_is_training_mode_with_gradients(project):
    works("record", "mynet:Net", "--input", "1,4", "--train", "-o", "run.jsonl")
    node = recorded().nodes[0]
    assert node.fqn == "trained"
    assert node.outputs[0].requires_grad
    assert not any(isinstance(event, Grad) for event in EventStream.load("run.jsonl"))


def test_backward_is_recorded_in_eval_mode_too(project):
    result = works("record", "mynet:Net", "--input", "1,4", "--backward", "-o", "run.jsonl")
    assert "forward and backward" in result.stderr
    node = recorded().nodes[0]
    assert node.fqn == "evaluated"
    assert node.backward_ns is not None
    assert any(isinstance(event, Grad) for event in EventStream.load("run.jsonl"))


def test_no_functions_records_module_calls_alone(project):
    works("record", "mynet:Net", "--input", "1,4", "-o", "with.jsonl")
    works("record", "mynet:Net", "--input", "1,4", "--no-functions", "-o", "without.jsonl")
    assert {node.kind for node in recorded("with.jsonl").nodes} == {"module", "function"}
    assert {node.kind for node in recorded("without.jsonl").nodes} == {"module"}


def test_inputs_are_given_in_order_and_have_dtypes(project):
    works("record", "mynet:Net", "--input", "3,4", "--input", "2,2:int64", "-o", "run.jsonl")
    assert [(v.shape, v.dtype) for v in recorded().inputs][:1] == [((3, 4), "float32")]
    works("record", "mynet:Tokens", "--input", "1,16:int64", "-o", "run.jsonl")
    (value,) = recorded().inputs
    assert (value.shape, value.dtype) == ((1, 16), "int64")


@pytest.mark.parametrize("model", ["mynet:make", "mynet:Net"])
def test_kwargs_make_the_model(project, model):
    works("record", model, "--kwargs", '{"width": 7}', "--input", "1,4", "-o", "run.jsonl")
    assert recorded().nodes[0].outputs[0].shape == (1, 7)


def test_a_module_itself_is_a_model(project):
    assert "evaluated" in works("record", "mynet:net", "--input", "1,4").stdout


def test_a_model_without_inputs(project):
    assert works("record", "mynet:Nothing").exit_code == 0


def test_the_seed_decides_weights_and_inputs(project):
    def sums(*arguments):
        seen = []
        original = torch.nn.Linear.forward
        sys.modules.pop("mynet", None)  # as in a process of its own

        def forward(self, x):
            seen.append((float(self.weight.detach().sum()), float(x.sum())))
            return original(self, x)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.Linear, "forward", forward)
            works("record", "mynet:Net", "--input", "1,4", *arguments)
        return seen

    assert sums() == sums("--seed", 0) != sums("--seed", 1)


# What goes wrong in record


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("mynet", "'mynet' names no model: write package.module:factory"),
        ("mynet:", "'mynet:' names no model"),
        (":Net", "':Net' names no model"),
        ("does_not.exist:Net", "there is no module 'does_not'"),
        ("mynet.sub:Net", "'mynet.sub'"),
        (".mynet:Net", "could not be imported: TypeError"),
        ("mynet:Nett", "the module 'mynet' has no 'Nett': did you mean Net"),
        ("mynet:Net.inner.Net", "the module 'mynet' has no 'Net.inner.Net'"),
        ("mynet:three", "mynet:three is neither a model nor a callable that makes one: it is a int"),
        ("mynet:number", "mynet:number is no model: it returned a int"),
        ("mynet:unlucky", "mynet:unlucky could not be made: ValueError: no luck"),
        ("raises:Net", "the module 'raises' could not be imported: ModuleNotFoundError: No module named 'not_there'"),
    ],
)
def test_a_model_that_cannot_be_found_is_told_in_one_line(project, model, told):
    (project / "raises.py").write_text("import not_there")
    assert told in fails("record", model, "--input", "1,4")


@pytest.mark.parametrize("shape", ["", "1,,4", "1x4", "1,4,", "-1,4", "1.5", "a", ":int64", "(1,4)"])
def test_a_wrong_shape_is_told_in_one_line(project, shape):
    assert fails("record", "mynet:Net", "--input", shape).startswith(f"{shape!r} is no shape: write whole numbers")


@pytest.mark.parametrize("dtype", ["int65", "Tensor", "nn"])
def test_a_wrong_dtype_is_told_in_one_line(project, dtype):
    assert fails("record", "mynet:Net", "--input", f"1,4:{dtype}").startswith(f"{dtype!r} is no dtype")


@pytest.mark.parametrize("count", [0, 3])
def test_a_wrong_number_of_inputs_is_told_with_the_model_s_signature(project, count):
    told = fails("record", "mynet:Net", *["--input", "1,4"] * count)
    assert told.startswith(f"Net.forward(x, y=None) cannot be called with {count} tensors")


@pytest.mark.parametrize("kwargs", ["{", "[1]", "3"])
def test_wrong_kwargs_are_told_in_one_line(project, kwargs):
    assert fails("record", "mynet:make", "--kwargs", kwargs).startswith(f"--kwargs {kwargs!r} is no JSON")


def test_kwargs_of_a_model_that_is_there_already(project):
    assert fails("record", "mynet:net", "--kwargs", '{"a": 1}') == "mynet:net is a model already, and takes no --kwargs"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "net.nope"], "no installed format writes 'net.nope'; known suffixes are: "),
        (["-f", "nope"], "there is no format 'nope'; installed are: "),
        (["-o", "nowhere/net.dot"], "nowhere/net.dot cannot be written: there is no folder nowhere"),
        (["-o", "net.dot", "--option", "nope=1"], "the format 'dot' has no option 'nope'; its options are: direction"),
        (["-o", "net.dot", "--option", "legend"], "the option 'legend' is not of the form KEY=VALUE"),
        (["-o", "net.dot", "--option", "legend=maybe"], "the option legend: bool = True cannot be 'maybe'"),
        (["-o", "net.dot", "--option", "direction=up"], "the option direction: Literal['TB', 'LR'] = 'TB' cannot be"),
        (["--option", "legend=no"], "no format is written that could take the option 'legend'"),
        (["--kwargs", "{"], "--kwargs '{' is no JSON"),
        (["--bogus"], "No such option"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_model_is_even_imported(project, arguments, told):
    (project / "marked.py").write_text("open('imported', 'w')")
    assert fails("record", "marked:Net", *arguments).startswith(told)
    assert not (project / "imported").exists()


def test_options_go_to_each_format_that_has_them(project):
    works("record", "mynet:Net", "--input", "1,4", "-o", "net.dot", "-o", "run.jsonl", "--option", "direction=LR")
    assert (project / "net.dot").read_text("utf-8") == recorder.export(recorded(), "dot", direction="LR")


def test_a_model_that_raises_is_exit_status_1_and_what_was_recorded_is_written(project):
    told = fails("record", "mynet:Failing", "--input", "1,4", "-o", "run.jsonl", "-o", "net.dot", status=1)
    assert told.startswith("the model failed, and the recording ends there: RuntimeError: ")
    assert "mat1 and mat2 shapes cannot be multiplied (1x4 and 5x2)" in told
    graph = recorded()
    assert [(node.fqn, node.error is not None) for node in graph.nodes] == [("fc1", False), ("fc2", True)]
    assert (project / "net.dot").read_text("utf-8") == recorder.export(graph, "dot")


def test_backward_of_nothing_is_exit_status_1(project):
    told = fails("record", "mynet:Nothing", "--backward", "-o", "run.jsonl", status=1)
    assert "returned no tensor that requires a gradient" in told
    assert (project / "run.jsonl").exists()


def test_an_output_that_fails_does_not_keep_the_others_from_being_written(project):
    (project / "folder.dot").mkdir()
    told = fails("record", "mynet:Net", "--input", "1,4", "-o", "folder.dot", "-o", "net.dot", status=1)
    assert told.startswith("folder.dot was not written: [Errno 21] Is a directory")
    assert (project / "net.dot").exists()


def test_a_warning_is_one_line_on_stderr(project):
    (project / "marked.py").write_text("import warnings, mynet\nwarnings.warn('be\\nwarned')\nNet = mynet.Net")
    result = subprocess.run(
        [*COMMAND, "record", "marked:Net", "--input", "1,4", "-f", "dot"], capture_output=True, text=True, check=True
    )
    assert "warning: be warned" in result.stderr.splitlines()


# export


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_streams()["residual"].save("run.jsonl")
    Path("graph.json").write_bytes(recorder.dumps(sample_graphs()["residual"]))
    return tmp_path


@pytest.mark.parametrize("source", ["run.jsonl", "graph.json"])
def test_export_draws_a_recording_or_a_graph(saved, source):
    expected = recorder.export(sample_graphs()["residual"], "dot").encode()
    assert works("export", source, "-f", "dot").stdout_bytes == expected
    result = works("export", source, "-o", "net.dot", "-o", "small.dot", "--option", "depth=none")
    assert result.stdout == ""
    assert result.stderr.splitlines() == ["wrote net.dot (dot)", "wrote small.dot (dot)"]
    assert Path("net.dot").read_bytes() == expected
    works("export", source, "-o", "small.dot", "--option", "depth=1")
    assert Path("small.dot").read_text("utf-8") == recorder.export(sample_graphs()["residual"], "dot", depth=1)


def test_export_copies_a_recording_but_makes_none_from_a_graph(saved):
    works("export", "run.jsonl", "-o", "copy.jsonl")
    assert Path("copy.jsonl").read_bytes() == Path("run.jsonl").read_bytes()
    assert "graph.json is a graph" in fails("export", "graph.json", "-o", "copy.jsonl")


def test_export_says_what_is_wrong_in_one_line(saved):
    assert fails("export", "run.jsonl").startswith("say where to (-o FILE) or in which format (-f FORMAT)")
    assert "'missing.jsonl' does not exist" in fails("export", "missing.jsonl", "-f", "dot")
    assert "Missing argument" in fails("export")
    lines = Path("run.jsonl").read_text().splitlines()
    Path("bad.jsonl").write_text("\n".join([*lines[:2], '{"type": "nonsense"}', *lines[2:]]))
    assert fails("export", "bad.jsonl", "-f", "dot").startswith("bad.jsonl, line 3: ")
    Path("bad.json").write_text("{}")
    assert fails("export", "bad.json", "-f", "dot").startswith("not a graph document: ")


# formats, help, version


def test_formats_lists_every_format_in_one_line_each():
    result = works("formats")
    rows = [line.split() for line in result.stdout.splitlines()]
    for format_ in recorder.formats():
        assert [format_.name, *format_.suffixes, format_.media_type, format_.plugin] in rows
    assert "direction" not in result.stdout
    assert result.stderr == ""


def test_formats_verbose_shows_what_they_are_and_their_options():
    out = works("formats", "--verbose").stdout
    for format_ in recorder.formats():
        assert format_.summary in out
        for option in format_.options:
            assert option.describe() in out


def test_help_and_version():
    assert works("--version").stdout == f"recorder, version {recorder.__version__}\n"
    assert works().stdout == works("--help").stdout == works("-h").stdout
    for command in ("record", "export", "formats"):
        assert f"  {command} " in works("--help").stdout
        assert works(command, "--help").stdout.startswith(f"Usage: recorder {command} ")
    assert fails("bogus") == "No such command 'bogus'."
    assert fails("--bogus").startswith("No such option")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["record", "--help"], 0),
        (["formats", "--verbose"], 0),
        (["export", "run.jsonl", "-f", "dot"], 0),
        (["export", "graph.json", "-o", "net.dot"], 0),
        (["record", "mynet:Net", "-o", "net.nope"], 2),
    ],
)
def test_torch_is_not_imported_where_it_is_not_needed(saved, arguments, status):
    code = (
        "import sys\nfrom recorder.cli import main\n"
        f"try: main({arguments!r})\n"
        f"except SystemExit as exit: assert exit.code == {status}, exit.code\n"
        "else: assert False\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# Plugins


class Commanding:
    def __init__(self, name):
        self.name = name

    @hookimpl
    def recorder_register_commands(self, cli):
        @cli.command(self.name)
        def hello():
            """Greet."""
            click.echo("hello")


@pytest.fixture
def with_plugins(monkeypatch):
    """The command line as it is when these plugins are installed beside the built-in one."""

    def install(**named):
        plugins = Plugins()
        for name, plugin in named.items():
            plugins.register(plugin, name)
        monkeypatch.setattr("recorder.cli.installed", lambda: plugins)
        monkeypatch.setattr(main, "commands", dict(main.commands))
        monkeypatch.setattr(main, "asked_plugins", False)

    return install


def test_plugins_add_commands(with_plugins):
    with_plugins(greeter=Commanding("hello"))
    assert "Greet." in works("--help").stdout
    for _ in range(2):
        result = works("hello")
        assert (result.stdout, result.stderr) == ("hello\n", "")


@pytest.mark.filterwarnings("default")
def test_a_plugin_cannot_take_the_name_of_a_command(with_plugins):
    with_plugins(thief=Commanding("formats"), greeter=Commanding("hello"))
    result = works("formats")
    assert result.stderr == (
        "warning: the plugin 'thief' raised in recorder_register_commands: "
        "PluginError: there is a command 'formats' already\n"
    )
    assert "dot" in result.stdout
    assert works("hello").stdout == "hello\n"


def test_annotations_of_plugins_are_in_what_is_exported(with_plugins, saved):
    class Namer:
        name, suffixes, media_type = "names", (), "text/plain"

        @hookimpl
        def recorder_register_exporters(self, register):
            register(self)

        @hookimpl
        def recorder_annotate_graph(self, graph):
            graph.nodes[0].meta["namer"] = "first"

        def export(self, graph):
            return graph.nodes[0].meta["namer"]

    with_plugins(namer=Namer())
    plugins = sys.modules["recorder.cli"].installed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["recorder.export"], "installed", lambda: plugins)
        assert works("export", "run.jsonl", "-f", "names").stdout == "first"


def test_colours_and_themes_are_options_of_their_own(project):
    model = ("mynet:Net", "--input", "1,4")
    works("record", *model, "--colour-by", "parameters", "--theme", "dark", "-o", "net.dot", "-o", "run.jsonl")
    drawn = Path("net.dot").read_bytes()
    assert (
        works("export", "run.jsonl", "--colour-by", "parameters", "--theme", "dark", "-f", "dot").stdout_bytes == drawn
    )
    assert b"#0d1117" in drawn
    assert "cannot be 'pink'" in fails("record", *model, "--theme", "pink", "-o", "net.dot")
    assert "has no option 'colour_by'" in fails("record", *model, "--colour-by", "flops", "-o", "net.json")


# summary


@pytest.mark.parametrize("source", ["run.jsonl", "graph.json"])
def test_summary_of_a_file(saved, source):
    graph = (
        sample_graphs()["residual"] if source == "run.jsonl" else recorder.loads(Path(source).read_bytes())
    )  # without times
    expected = Summary(graph)
    assert works("summary", source).stdout == expected.to_text()
    expected = Summary(graph, 0, columns=["module", "parameters"], functions=True)
    chosen = ("--depth", 0, "--columns", "module,parameters", "--rows-of-functions")
    assert works("summary", source, *chosen).stdout == expected.to_text()
    assert works("summary", source, *chosen, "--as", "markdown").stdout == expected.to_markdown()
    assert works("summary", source, *chosen, "--as", "csv").stdout == expected.to_csv()
    assert len(works("summary", source, "--columns", "all", "--as", "csv").stdout.splitlines()[0].split(",")) > 20


def test_summary_of_a_model_runs_it_as_record_does(project):
    result = works("summary", "mynet:Net", "--input", "1,4", "--backward", "--columns", "module,flops_backward")
    assert result.stdout.startswith("Net\n\nmodule")
    assert result.stderr.splitlines()[1] == "recording Net on 1,4, forward and backward"


def test_summary_says_what_is_wrong(saved):
    assert fails("summary", "nothing.jsonl") == "there is no file nothing.jsonl"
    assert fails("summary", "run.jsonl", "--input", "1,4").startswith("run.jsonl is recorded already")
    assert fails("summary", "run.jsonl", "--columns", "module,size").startswith("there is no column 'size'; there are:")
    assert "-1 is not in the range" in fails("summary", "run.jsonl", "--depth", -1)


def test_summary_shows_what_there_is_of_a_model_that_fails(project):
    result = run("summary", "mynet:Net", "--input", "1,5")
    assert result.exit_code == 1
    assert "RuntimeError" in result.stdout
    assert "the model failed, and the recording ends there" in result.stderr


# As a process of its own

COMMAND = [str(Path(sys.executable).with_name("recorder"))]


def test_a_broken_pipe_is_no_traceback(saved):
    for arguments in (["formats"], ["--help"], ["export", "run.jsonl", "-f", "dot"]):
        read, write = os.pipe()
        os.close(read)
        process = subprocess.run([*COMMAND, *arguments], stdout=write, stderr=subprocess.PIPE, text=True)
        os.close(write)
        assert process.stderr == "", arguments
        assert process.returncode == 1


def test_resnet18_of_torchvision_from_the_shell(tmp_path):
    arguments = ["record", "torchvision.models:resnet18", "--input", "1,3,64,64", "--train", "--backward"]
    outputs = ["-o", "run.jsonl", "-o", "net.dot"]
    result = subprocess.run([*COMMAND, *arguments, *outputs], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert result.stderr.splitlines()[0] == "recording ResNet on 1,3,64,64, forward and backward"
    graph = recorded(tmp_path / "run.jsonl")
    graph.lint()
    assert sum(node.op_type == "Conv2d" for node in graph.nodes) == 20
    assert all(node.backward_ns is not None for node in graph.nodes if node.kind == "module")
    assert graph.outputs[0].shape == (1, 1000)
    drawn = subprocess.run(
        [*COMMAND, "export", "run.jsonl", "-f", "dot"], cwd=tmp_path, capture_output=True, check=True
    )
    assert drawn.stdout == (tmp_path / "net.dot").read_bytes()


# Models and inputs


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "complex64", "int8", "uint8", "bool", "float8_e5m2"]
)
def test_inputs_of_every_kind_of_dtype(dtype):
    tensor = make_input(f"2,3:{dtype}")
    assert tensor.shape == (2, 3)
    assert tensor.dtype == getattr(torch, dtype)


def test_a_dimension_may_be_empty():
    assert make_input("0,3").shape == (0, 3)


def test_torchvision_downloads_no_weights(monkeypatch):
    def download(*arguments, **options):
        raise AssertionError("a download")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", download)
    assert type(find_model("torchvision.models.segmentation:lraspp_mobilenet_v3_large", {})).__name__ == "LRASPP"


@dataclass
class Result:
    loss: torch.Tensor
    name: str = "result"


def test_total_is_the_sum_of_all_that_needs_a_gradient():
    def leaf(value, dtype=torch.float32):
        return torch.full((2,), value, dtype=dtype, requires_grad=True)

    assert total(leaf(1.5)).item() == 3
    assert total({"a": leaf(1), "b": [leaf(2), (None, leaf(3, torch.float64), torch.ones(9), 5)]}).item() == 12
    assert total(Result(leaf(4))).item() == 8
    assert total([leaf(3j, torch.complex64), leaf(1)]).item() == 20
    loss = total([leaf(1), leaf(2, torch.float16)])
    loss.backward()
    with pytest.raises(ValueError, match="no tensor that requires a gradient"):
        total([torch.ones(2), "text", Result])
