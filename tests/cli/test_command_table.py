"""A table of command lines: what is typed, the exit status, and how the first line of the answer begins."""

import subprocess
from pathlib import Path

import pytest
from support.command_line import COMMAND, run

import recorder
from recorder.testing import sample_graphs, sample_streams

SCRIPT = """
import argparse, sys, torch
from torch import nn
parser = argparse.ArgumentParser()
parser.add_argument("--fail", type=int, default=0)
fail = parser.parse_args().fail
net = nn.Linear(4, 2)
for _ in range(3):
    net(torch.ones(1, 4)).sum().backward()
print("finished", sys.argv[1:])
sys.exit(fail)
"""

TABLE = [
    ("--version", 0, "recorder, version 0.1.0"),
    ("recrod", 2, "Error: No such command 'recrod'."),
    ("record mynet:Net --input 1,4 -f DOT", 0, 'digraph "Net" {'),
    ("record mynet.py:Net --input x=1,4", 0, "Net"),
    ("record ./mynet.py:Net --input x=1,4 --backward -o net.jsonl", 0, "recording Net on x=1,4, forward and backward"),
    ("record mynet:Net --input 1,5", 1, "Net"),
    (
        "record mynet:Net --input x=1,4 --input x=1,4",
        2,
        "Error: the input 'x' is given twice: several tensors in one are [A; B]",
    ),
    (
        "record mynet:Net --input z=1,4",
        2,
        "Error: Net.forward(x, y=None) cannot be called with 0 tensors and z, one an --in",
    ),
    (
        "record mynet:Net --input 1x4",
        2,
        "Error: '1x4' is no shape: write whole numbers with commas, such as 1,3,224,224, ",
    ),
    ("record mynet:Net --input 1,4:int65", 2, "Error: 'int65' is no dtype: write one of torch's, such as 1,16:int64"),
    (
        "record mynet:Net --input 1,4:int64<none",
        2,
        "Error: '1,4:int64<none' has no bound behind <: write a positive number, such as 1,16:int64<100",
    ),
    ("record mynet:Net --input x:=[1,", 2, "Error: 'x:=[1,' is no JSON: Expecting value: line 1 column 4 (char 3)"),
    ("record mynet:Net --device meta --input 1,4 -f mermaid", 0, "---"),
    (
        "record mynet:Net --device nowhere --input 1,4",
        2,
        "Error: 'nowhere' is no device: write cpu, cuda, cuda:1, mps or meta",
    ),
    (
        "record mynet:Net --dtype float64 --input 1,4 -f json",
        0,
        '{"format":"graph-recorder","schema_version":1,"name":"Net","nodes":[{"name":"eva',
    ),
    (
        "record mynet:Net --dtype double64 --input 1,4",
        2,
        "Error: 'double64' is no dtype: write one of torch's, such as 1,16:int64",
    ),
    (
        'record mynet:Net --config {"a":1} --input 1,4',
        2,
        "Error: --config is for transformers:NAME; what mynet:Net is called with is --kwargs",
    ),
    ("record mynet.py", 2, "Error: 'mynet.py' names no model: write mynet.py:Net or mynet.py:Failing or myne"),
    ("record mynet:Nett", 2, "Error: the module 'mynet' has no 'Nett': did you mean Net?"),
    ("record gone.py:Net", 2, "Error: there is no file gone.py"),
    ("record transformers:brt", 2, "Error: transformers has no model 'brt': did you mean bert or bart or mbart?"),
    (
        'record transformers:bert --config {"hidden_sizes":64}',
        2,
        "Error: BertConfig has no 'hidden_sizes': did you mean hidden_size?",
    ),
    (
        'record mynet:Net --kwargs {"widht":3} --input 1,4',
        2,
        "Error: mynet:Net could not be made: got an unexpected keyword argument 'widht'; ",
    ),
    ("run script.py", 0, "finished []"),
    ("run script.py --fail 3 -o net.dot", 3, "finished ['--fail', '3']"),
    ("run script.py --fail 3 -- -o net.dot", 2, "usage: script.py [-h] [--fail FAIL]"),
    ("run -o net.dot --steps 2 script.py", 0, "finished []"),
    ("run --steps none script.py", 2, "Error: --steps 'none' is no number of steps: write 1 or more, or all"),
    ("run -f dot script.py", 2, "Error: stdout is the script's: say where the output goes, with -o FILE"),
    ("run gone.py", 2, "Error: there is no file gone.py"),
    ("run mynet", 2, "Error: there is no file mynet: to run a module, write -m mynet"),
    ("run -m gone.train", 2, "Error: there is no module 'gone.train' to run, here or among what is installed"),
    ("run broken.py", 2, "Error: broken.py is no Python: '(' was never closed, in line 1"),
    ("export run.jsonl -f DOT", 0, 'digraph "Residual" {'),
    (
        "export run.jsonl",
        2,
        "Error: say where to (-o FILE) or in which format (-f FORMAT); `recorder formats` lists them",
    ),
    ("export run.jsonl graph.json -o {name}.dot", 0, "wrote run.dot (dot)"),
    (
        "export run.jsonl graph.json -o one.dot",
        2,
        "Error: several sources would be written into one file: give each its own, with {name} in -o",
    ),
    ("export graph.json -f dott", 2, "Error: there is no format 'dott': did you mean dot?"),
    ("export graph.json -o net.svgg", 2, "Error: no installed format writes 'net.svgg': did you mean .svg?"),
    (
        "export graph.json -f dot --option directoin=LR",
        2,
        "Error: the format 'dot' has no option 'directoin': did you mean direction?",
    ),
    ("export graph.json -f dot --color-by parameters", 0, 'digraph "Residual" {'),
    (
        "export graph.json -f dot --color-by size",
        2,
        "Error: the option colour_by: Literal['kind', 'gradient', 'value_norm'",
    ),
    ("export gone.json -f dot", 2, "Error: the file 'gone.json' does not exist"),
    ("view graph.json --no-open", 0, "wrote graph.html (html)"),
    ("view mynet:Net --input 1,4 --no-open", 0, "recording Net on 1,4"),
    ("summary graph.json --as JSON", 0, "{"),
    (
        "summary graph.json --as xml",
        2,
        "Error: Invalid value for '--as': 'xml' is not one of 'text', 'markdown', 'csv', 'json'.",
    ),
    ("view graph.json run.jsonl --no-open", 0, "wrote graph.html (html)"),
    (
        "view graph.json run.jsonl --no-open -o one.html",
        2,
        "Error: several sources would be written into one page: give each its own, with {name} in -o",
    ),
    ("summary graph.json run.jsonl", 0, "graph.json"),
    ("summary graph.json run.jsonl --as markdown", 0, "## graph.json"),
    ("summary graph.json run.jsonl --as csv", 2, "Error: 2 tables in one csv cannot be told apart: ask for one at a"),
    (
        "export graph.json -o net.dot --wrap 3",
        2,
        "Error: No such option '--wrap'. Of the formats dot, eps, jpg, pdf, png, … there is --option wrap=…",
    ),
    (
        "export graph.json -o net.dot --directon LR",
        2,
        "Error: No such option '--directon'. Of the formats dot, eps, html, jpg, mermaid, … there is --option",
    ),
    ("export graph.json -o net.dot --nonsense 1", 2, "Error: No such option '--nonsense'."),
    ("record resnet18", 2, "Error: 'resnet18' names no model: write torchvision.models:resnet18"),
    ("record bert", 2, "Error: 'bert' names no model: write transformers:bert"),
    ("record nothing-like-this", 2, "Error: 'nothing-like-this' names no model: write package.module:factory, such as"),
    ("formats Mermaid", 0, "mermaid: Mermaid flowchart, for Markdown on GitHub."),
    ("formats mermiad", 2, "Error: there is no format 'mermiad': did you mean mermaid?"),
]

IN_A_PROCESS = ("--version", "export graph.json -f dott", "run script.py --fail 3 -o net.dot")


@pytest.fixture
def folder(project):
    """A user's folder, current, with a model, a script, a recording and a graph in it."""
    Path("script.py").write_text(SCRIPT)
    Path("broken.py").write_text("x = (\n")
    sample_streams()["residual"].save("run.jsonl")
    Path("graph.json").write_bytes(recorder.dumps(sample_graphs()["residual"]))
    return project


def first_line(stdout, stderr):
    """Of the result, or if there is none, of what was said beside it; a model's own words left out."""
    lines = stdout.splitlines() or [line for line in stderr.splitlines() if not line.startswith("mynet is")]
    return lines[0] if lines else ""


@pytest.mark.parametrize(("line", "status", "told"), TABLE, ids=[row[0] for row in TABLE])
def test_what_is_answered(folder, line, status, told):
    result = run(*line.split())
    answer = first_line(result.stdout, result.stderr)
    assert (result.exit_code, answer[: len(told)]) == (status, told)
    assert "Traceback" not in result.stderr
    if status == 2 and answer.startswith("Error"):
        assert len(answer) < 400


@pytest.mark.slow
@pytest.mark.parametrize("line", IN_A_PROCESS)
def test_a_process_of_its_own_answers_the_same(folder, line):
    (row,) = [row for row in TABLE if row[0] == line]
    result = subprocess.run([*COMMAND, *line.split()], capture_output=True, text=True)
    assert (result.returncode, first_line(result.stdout, result.stderr)) == row[1:]
