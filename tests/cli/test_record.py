"""``recorder record``."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.command_line import COMMAND, fails, recorded, works

import recorder
from recorder import EventStream
from recorder.events import Grad


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


@pytest.mark.slow
def test_a_warning_is_one_line_on_stderr(project):
    (project / "marked.py").write_text("import warnings, mynet\nwarnings.warn('be\\nwarned')\nNet = mynet.Net")
    result = subprocess.run(
        [*COMMAND, "record", "marked:Net", "--input", "1,4", "-f", "dot"], capture_output=True, text=True, check=True
    )
    assert "warning: be warned" in result.stderr.splitlines()


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


@pytest.mark.slow
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


def test_what_there_is_no_room_for_is_told_in_one_line(project):
    assert "could not be made: " in fails("record", "mynet:Net", "--input", "1000000,1000000,1000000")
    assert "could not be made: " in fails("record", "mynet:Net", "--input", "99999999999999999999")
    told = fails("record", "mynet:Net", "--input", "1,4", "--dtype", "int64")
    assert told.startswith("mynet:Net cannot be moved to int64: TypeError")
