"""``recorder run``: a script as it is, and what its models did."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.command_line import COMMAND, fails, recorded, run, works
from torch.nn.modules import module as torch_module

import recorder

SCRIPT = """
import argparse, sys, warnings
import torch
from torch import nn
from beside import LAYERS

parser = argparse.ArgumentParser()
parser.add_argument("-o", default="nowhere")
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--end", default="well")
arguments = parser.parse_args()


class Trainer:
    def __init__(self):
        self.generator = nn.Sequential(*(nn.Linear(4, 4) for _ in range(LAYERS)))
        self.critic = nn.Sequential(nn.Linear(4, 1))
        self.loss = nn.MSELoss()

    def step(self):
        made = self.critic(self.generator(nn.Flatten()(torch.randn(2, 2, 2))))
        self.loss(made, torch.zeros(2, 1)).backward()
        return made


def main():
    trainer = Trainer()
    torch.manual_seed(0)
    made = [trainer.step() for _ in range(arguments.steps)]
    print(__name__, __file__.endswith("script.py"), sys.argv[1:], arguments.o, sys.path[0])
    print(float(sum(m.detach().sum() for m in made)), float(trainer.critic[0].weight.grad.sum()), float(torch.rand(())))


if __name__ == "__main__":
    torch.manual_seed(1)
    main()
    if arguments.end == "raise":
        raise ValueError("in the end")
    if arguments.end == "words":
        sys.exit("in words")
    if arguments.end.isdigit():
        sys.exit(int(arguments.end))
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A user's folder, current, with a script in it that trains two models."""
    Path(tmp_path, "script.py").write_text(SCRIPT)
    Path(tmp_path, "beside.py").write_text("LAYERS = 2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("beside", None)


def names(graph):
    return [node.name for node in graph.nodes if node.kind == "module"]


def test_the_first_step_of_every_model_is_recorded_under_its_name(script):
    result = works("run", "-o", "run.jsonl", "script.py")
    graph = recorded()
    graph.lint()
    assert names(graph) == ["generator.0", "generator.1", "critic.0", "MSELoss"]
    assert all(node.backward_ns is not None for node in graph.nodes if node.kind == "module")
    assert "in 1 step of generator (Sequential), critic (Sequential); the steps after that ran" in result.stderr
    assert "recorded" not in result.stdout


@pytest.mark.parametrize(
    ("flags", "steps", "said"),
    [
        (("--steps", "2"), 2, "in 2 steps of"),
        (("--steps", "all"), 3, "in 3 steps of"),
        (("--every", "2"), 2, "in 2 steps of"),
        (("--every", "2", "--steps", "1"), 1, "in 1 step of"),
        (("--keep", "1"), 1, "in the last 1 of 3 steps of"),
    ],
)
def test_more_steps_are_recorded_on_request(script, flags, steps, said):
    result = works("run", *flags, "-o", "run.jsonl", "script.py")
    assert said in result.stderr
    graph = recorded()
    graph.lint()
    assert [node.fqn for node in graph.nodes if node.op_type == "MSELoss"] == ["MSELoss"] * steps
    assert {node.fqn for node in graph.nodes if node.op_type == "Linear"} == {"generator.0", "generator.1", "critic.0"}


def test_modules_are_chosen_by_their_names_and_classes(script):
    works("run", "--module", "crit*", "-o", "run.jsonl", "script.py")
    assert names(recorded()) == ["0", "MSELoss"]
    works("run", "--module", "Linear", "--steps", "all", "-o", "run.jsonl", "script.py", "--steps", "1")
    assert {node.op_type for node in recorded().nodes if node.kind == "module"} == {"Linear", "MSELoss"}
    told = fails("run", "--module", "nothing", "-o", "run.jsonl", "script.py", status=1)
    assert told.startswith("nothing was recorded: script.py called no module to record in its main thread; it called ")
    assert "Sequential, Linear" in told


@pytest.mark.slow
def test_the_script_has_what_it_has_under_python(script):
    alone = subprocess.run([sys.executable, "script.py", "--steps", "2"], capture_output=True, text=True, check=True)
    for flags in ((), ("--steps", "all"), ("--no-functions",), ("--keep", "1"), ("--gradients", "stats")):
        assert works("run", *flags, "script.py", "--steps", "2").stdout == alone.stdout
    hooks = torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks
    assert [len(h) for h in hooks] == [0, 0]
    assert torch._C._len_torch_function_stack() == 0
    assert sys.argv[0] != "script.py"
    assert not hasattr(sys.modules["__main__"], "Trainer")


def test_an_o_at_the_end_is_ours_unless_there_was_one(script):
    assert " [] nowhere " in works("run", "script.py", "-o", "run.jsonl").stdout
    assert Path("run.jsonl").exists()
    result = works("run", "script.py", "--steps", "1", "-o", "a.dot", "--depth", "1", "--output=b.dot")
    assert " ['--steps', '1'] nowhere " in result.stdout
    assert Path("a.dot").read_bytes() == Path("b.dot").read_bytes()
    assert " ['-o', 'theirs'] theirs " in works("run", "-o", "net.dot", "script.py", "-o", "theirs").stdout
    assert "['-o', 'theirs', '--end', '0'] theirs" in works("run", "script.py", "-o", "theirs", "--end", "0").stdout
    assert not Path("theirs").exists()


@pytest.mark.parametrize(("end", "status"), [("3", 3), ("0", 0), ("words", 1), ("raise", 1)])
def test_how_it_ends_is_its_own_and_what_was_recorded_is_written(script, end, status):
    result = run("run", "-o", "run.jsonl", "script.py", "--end", end)
    assert result.exit_code == status
    assert len(recorded().nodes) == 4
    if end == "words":
        assert "in words" in result.stderr.splitlines()
    if end == "raise":
        told = result.stderr[result.stderr.index("Traceback") :].splitlines()
        assert told[1].startswith(f'  File "{script / "script.py"}", line ')
        assert "ValueError: in the end" in told
        assert "recorder" not in "".join(told[: told.index("ValueError: in the end")])


def test_what_cannot_be_written_does_not_take_the_script_s_status(script):
    Path("folder.dot").mkdir()
    assert run("run", "-o", "folder.dot", "script.py", "--end", "3").exit_code == 3
    assert "folder.dot was not written" in fails("run", "-o", "folder.dot", "script.py", status=1)


def test_what_is_written_goes_where_it_was_asked_for_wherever_the_script_went(script):
    Path("away").mkdir()
    Path("goes.py").write_text(
        "import io, os, sys, torch\nos.chdir('away')\nsys.stdout = sys.stderr = io.StringIO()\n"
        "torch.nn.Linear(2, 2)(torch.ones(1, 2))"
    )
    assert "wrote run.jsonl (recording)" in works("run", "goes.py", "-o", "run.jsonl").stderr
    assert len(recorded(script / "run.jsonl").nodes) == 1


def test_a_model_that_fails_is_recorded_until_there(script):
    Path("wrong.py").write_text("import torch\ntorch.nn.Sequential(torch.nn.Linear(2, 2))(torch.ones(1, 3))")
    result = run("run", "wrong.py", "-o", "run.jsonl")
    assert result.exit_code == 1
    assert "RuntimeError: mat1 and mat2" in result.stderr
    assert [node.error is not None for node in recorded().nodes] == [True]


def test_without_an_output_a_summary_goes_to_stderr(script):
    result = works("run", "script.py")
    assert "generator" in result.stderr
    assert "49 parameters" not in result.stdout
    assert len(result.stdout.splitlines()) == 2


def test_a_module_of_a_package_with_relative_imports(script):
    Path("pack").mkdir()
    Path("pack/__init__.py").touch()
    Path("pack/layers.py").write_text("from torch import nn\nnet = nn.Linear(2, 2)")
    code = (
        "import sys, torch\nfrom .layers import net\nnet(torch.ones(1, 2))\nprint(__name__, __package__, sys.argv[1:])"
    )
    Path("pack/train.py").write_text(code)
    Path("pack/__main__.py").write_text(code)
    result = works("run", "-m", "pack.train", "--epochs", "2", "-o", "run.jsonl")
    assert result.stdout == "__main__ pack ['--epochs', '2']\n"
    assert [node.op_type for node in recorded().nodes] == ["Linear"]
    assert works("run", "-m", "pack").stdout == "__main__ pack []\n"
    for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
        del sys.modules[name]


CALLS = """
import gc, weakref
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 2))

    def forward(self, x):
        return self.decoder(self.encoder(x).relu())

def main():
    net = Net()
    net.decoder(net.encoder(torch.ones(1, 4)))
    net(torch.ones(1, 4))
    return weakref.ref(net)

gone = [main() for _ in range(3)]
gc.collect()
print([ref() is None for ref in gone])
"""


def test_parts_that_are_called_before_the_whole_are_parts_of_it_and_models_may_go(script):
    Path("calls.py").write_text(CALLS)
    result = works("run", "--steps", "all", "-o", "run.jsonl", "calls.py")
    graph = recorded()
    graph.lint()
    assert result.stdout.startswith("[True, True,")
    fqns = [node.fqn for node in graph.nodes if node.op_type == "Linear"]
    assert len(fqns) == 12
    assert fqns[:8] == ["net.encoder", "net.decoder.0"] * 2 + ["net_1.encoder", "net_1.decoder.0"] * 2


def test_transforms_without_parameters_are_no_models(script):
    code = "import torch\nfrom torch import nn\nx = nn.Flatten()(torch.ones(1, 2, 2))\nnet = nn.Linear(4, 1)\nnet(x)"
    Path("flat.py").write_text(code)
    works("run", "-o", "run.jsonl", "flat.py")
    assert [node.op_type for node in recorded().nodes] == ["Linear"]
    Path("flat.py").write_text(code.rpartition("\n")[0])
    assert "it called Flatten: choose with --module" in fails("run", "-o", "run.jsonl", "flat.py", status=1)
    assert works("run", "flat.py").stderr.startswith("warning: nothing was recorded")
    works("run", "--module", "Flatten", "-o", "run.jsonl", "flat.py")
    assert [node.op_type for node in recorded().nodes] == ["Flatten"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_compiled_model_runs_compiled_again_after_the_steps_that_are_recorded(script):
    code = """
import torch
from torch import nn
runs = []
def backend(graph, inputs):
    def compiled(*args):
        runs.append(1)
        return graph(*args)
    return compiled
net = torch.compile(nn.Linear(2, 2), backend=backend)
for _ in range(3):
    net(torch.ones(1, 2))
print(len(runs))
"""
    Path("compiled.py").write_text(code)
    assert works("run", "compiled.py").stdout == "2\n"
    assert works("run", "--steps", "all", "compiled.py").stdout == "0\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_ends_the_script_and_not_the_recording(script):
    Path("wait.py").write_text(
        "import os, signal, time, torch\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which is off below what runs in the background
        "torch.nn.Linear(2, 2)(torch.ones(1, 2))\nos.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(20)"
    )
    result = subprocess.run([*COMMAND, "run", "wait.py", "-o", "run.jsonl"], capture_output=True, text=True)
    assert result.returncode == 130
    assert result.stderr.splitlines()[-3] == "KeyboardInterrupt"
    assert len(recorded().nodes) == 1


def test_a_script_may_record_itself(script):
    Path("own.py").write_text(
        "import torch\nfrom recorder import Recorder\nnet = torch.nn.Linear(2, 2)\n"
        "with Recorder(net) as r:\n    net(torch.ones(1, 2))\nprint(len(r.graph.nodes))"
    )
    assert works("run", "own.py", "-o", "run.jsonl").stdout == "1\n"
    assert len(recorded().nodes) == 1
    assert recorder.loads(recorder.dumps(recorded())).name == "Linear"
