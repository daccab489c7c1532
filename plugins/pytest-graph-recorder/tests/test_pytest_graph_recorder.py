"""The fixture, in runs of pytest of its own.

They are in this process, and forget at their end what they imported. torch must not be imported twice, so what they
need is imported before.
"""

from importlib.metadata import entry_points

import pytest
import pytest_graph_recorder
import torch
from torch import nn

from recorder import Recorder, architecture, diff, loads

pytest_plugins = ["pytester"]

MODEL = """
import torch
from torch import nn

def encoder(layers=2, dropout=0.1, eps=1e-5):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=dropout, layer_norm_eps=eps)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

def convolutions(kernel=3, dilation=1, act=nn.ReLU):
    padding = dilation * (kernel // 2)
    return nn.Sequential(nn.Conv2d(3, 4, kernel, padding=padding, dilation=dilation), act(), nn.Conv2d(4, 4, 1))

x, image = torch.ones(1, 4, 8), torch.ones(1, 3, 8, 8)
"""

MANY = (
    "nn.Sequential(*(nn.Linear(8, 8, bias=i % 3 == {0}) if i % 2 else nn.LayerNorm(8, eps=i + {0}) for i in range(60)))"
)


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported() -> None:
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8), 1, enable_nested_tensor=False)
    with Recorder(net) as r:
        net(torch.ones(1, 4, 8))
    assert not diff(loads(architecture(r.graph)), r.graph)
    with Recorder(net := nn.Conv2d(3, 4, 1)) as other:
        net(torch.ones(1, 3, 2, 2))
    str(diff(r, other))


@pytest.fixture
def runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Tests to be written beside ``model.py``."""
    monkeypatch.syspath_prepend(pytester.path)
    pytester.makepyfile(model=MODEL)
    return pytester


def run(runs: pytest.Pytester, test: str, *flags: str) -> pytest.RunResult:
    runs.makepyfile(test_net=f"from model import *\n\n{test}\n")
    found = {entry.value for entry in entry_points(group="pytest11")}  # by pytest itself, where it is installed
    plugins = [] if pytest_graph_recorder.__name__ in found else [pytest_graph_recorder]
    return runs.runpytest_inprocess("-p", "no:cacheprovider", "-W", "error", *flags, plugins=plugins)


def check(*calls: str) -> str:
    return "def test_model(architecture):\n" + "".join(f"    architecture.check({call})\n" for call in calls)


def test_a_missing_file_fails_and_an_update_writes_it(runs: pytest.Pytester) -> None:
    result = run(runs, check("encoder(), x"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no architectures/test_model.arch yet*--architecture-update*"])
    assert not (runs.path / "architectures").exists()
    result = run(runs, check("encoder(), x"), "--architecture-update")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["architecture written: architectures/test_model.arch"])
    run(runs, check("encoder(), x")).assert_outcomes(passed=1)
    before = (runs.path / "architectures" / "test_model.arch").stat().st_mtime_ns
    result = run(runs, check("encoder(), x"), "--architecture-update")
    result.stdout.no_fnmatch_line("architecture written*")
    assert (runs.path / "architectures" / "test_model.arch").stat().st_mtime_ns == before


CHANGES = {
    "kernel": ("convolutions(), image", "convolutions(5), image", "~ 0 *kernel_size: 3×3 → 5×5*"),
    "dilation": ("convolutions(), image", "convolutions(dilation=2), image", "~ 0 *dilation: 1×1 → 2×2*"),
    "type": ("convolutions(), image", "convolutions(act=nn.GELU), image", "~ 1 *op_type: ReLU → GELU*"),
    "dropout": ("encoder(), x", "encoder(dropout=0.2), x", "~ *p: 0.1 → 0.2*"),
    "eps": ("encoder(), x", "encoder(eps=1e-6), x", "~ *eps: 1e-05 → 1e-06*"),
    "layers": ("encoder(), x", "encoder(layers=3), x", "TransformerEncoder: 2 → 3 layers"),
    "many": (f"{MANY.format(1)}, x", f"{MANY.format(2)}, x", "*… and * lines more"),
}


def test_a_changed_model_fails_by_name_and_in_ten_lines(runs: pytest.Pytester) -> None:
    def tests(side: int) -> str:
        return "\n".join(check(change[side]).replace("_model", f"_{name}") for name, change in CHANGES.items())

    run(runs, tests(0), "--architecture-update").assert_outcomes(passed=len(CHANGES))
    result = run(runs, tests(1), "--tb=short")
    result.assert_outcomes(failed=len(CHANGES))
    for name, (_, _, told) in CHANGES.items():
        begin = result.outlines.index(f"the architecture is not that of architectures/test_{name}.arch any more")
        lines = result.outlines[begin : begin + 10]
        assert [line for line in lines if line.startswith("If this is meant:")], lines
        pytest.LineMatcher(lines).fnmatch_lines([told])


def test_weights_modes_values_and_a_device_without_data_make_no_difference(runs: pytest.Pytester) -> None:
    run(runs, check("encoder(), x"), "--architecture-update")
    for call in ("encoder(), x * 3", 'encoder().to("meta"), src=x.to("meta")'):
        run(runs, f"torch.manual_seed(7)\n{check(call)}").assert_outcomes(passed=1)


def test_several_checks_and_parameters_have_a_file_each(runs: pytest.Pytester) -> None:
    tests = f"""
import pytest

{check("encoder(), x", "convolutions(), image")}

@pytest.mark.parametrize("layers", [1, 2])
def test_layers(architecture, layers):
    architecture.check(encoder(layers), x)

class TestGroup:
    def test_model(self, architecture):
        assert architecture.check(nn.Linear(8, 3), x).shape == (1, 4, 3)
"""
    run(runs, tests, "--architecture-update").assert_outcomes(passed=4)
    names = {path.name for path in (runs.path / "architectures").iterdir()}
    expected = {"test_model", "test_model.2", "test_layers-1", "test_layers-2", "TestGroup.test_model"}
    assert names == {f"{name}.arch" for name in expected}
    run(runs, tests).assert_outcomes(passed=4)


def test_two_files_with_tests_of_one_name_are_told_of_it(runs: pytest.Pytester) -> None:
    runs.makepyfile(test_other=f"from model import *\n\n{check('convolutions(), image')}")
    result = run(runs, check("encoder(), x"), "--architecture-update")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_model.arch is of *already: give one of the two tests another name*"])


def test_a_file_that_cannot_be_read_is_told(runs: pytest.Pytester) -> None:
    run(runs, check("encoder(), x"), "--architecture-update")
    path = runs.path / "architectures" / "test_model.arch"
    path.write_text(path.read_text("utf-8").replace(" ->", " -)", 1), "utf-8")
    result = run(runs, check("encoder(), x"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*architectures/test_model.arch cannot be read: line *"])
