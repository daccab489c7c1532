"""`make_dot` against torchviz itself, and where torchviz fails."""

import gc
import re
import shutil
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from support.models import Block, Net, linear
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.utils import ModelOutput

from recorder import ExportError, FormatError, Graph, Recorder, Register, hookimpl, make_dot
from recorder.plugins.manager import Plugins

SWITCHES = [{"show_attrs": a, "show_saved": s} for a, s in product((False, True), repeat=2)]
STATEMENT = re.compile(r"\t(\w+)(?: -> (\w+))?(?: (\[.*\]))?\n", re.DOTALL)

Statement = tuple[tuple[int, ...], str]


def by_torchviz(var: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports distutils
        import torchviz

        return torchviz.make_dot(var, *args, **kwargs)


def statements(dot: Any) -> list[Statement]:
    """What a drawing says, nodes numbered in the order of their appearance: lists are equal only if one drawing
    becomes the other by renaming its nodes. The border that torchviz lacks is left out.
    """
    numbers: dict[str, int] = {}
    found = []
    for line in dot.body:
        match = STATEMENT.fullmatch(line)
        assert match is not None, line
        ends = tuple(numbers.setdefault(end, len(numbers)) for end in match.groups()[:2] if end is not None)
        found.append((ends, (match[3] or "").replace(" peripheries=2", "")))
    return found


def looks(dot: Any) -> list[str]:
    """What the nodes look like in the end: a later statement about a node wins."""
    return list({ends: attributes for ends, attributes in statements(dot) if len(ends) == 1}.values())


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, power: int) -> Tensor:
        ctx.save_for_backward(x, x.exp())
        ctx.power = power
        return x**power

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient * 2 * ctx.saved_tensors[0], None


class Optional(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x, None)
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


def leaf(*shape: int) -> Tensor:
    return torch.rand(shape or (2, 3), requires_grad=True)


def image(size: int) -> Tensor:
    return torch.rand(2, 3, size, size)


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)


def double_backward() -> tuple[Tensor, ...]:
    x, w = leaf(), leaf(3, 3)
    return torch.autograd.grad((x @ w).tanh().pow(3).sum(), (x, w), create_graph=True)


def shared() -> Tensor:
    fc, norm = nn.Linear(3, 3), nn.LayerNorm(3)
    return norm(fc(norm(fc(leaf())))).sum()


def lists() -> tuple[Tensor, ...]:
    x = leaf()
    rows, columns = torch.tensor([0, 1]), torch.tensor([2, 0])
    weights = rows * leaf(2)
    return torch.cat([x, x * 2]), torch.index_put(x * 1, (rows, columns), weights), torch.stack([x, x]).sum()


def hidden_too() -> tuple[Tensor, ...]:
    hidden = torch.tanh(leaf() @ leaf(3, 3))
    return (hidden @ leaf(3, 1)).sum(), hidden, hidden.exp()


def views() -> tuple[Tensor, ...]:
    x = leaf(4, 6)
    y = x * 2
    first, second = y.chunk(2)
    return y.view(6, 4), first, second, x.view(24), y.transpose(0, 1)[1:]


def changed_views() -> Tensor:
    y = leaf(4, 6) * 2
    y[0].mul_(3)
    return y[1:].relu_()


CASES: dict[str, Callable[[], Any]] = {
    "resnet18": lambda: torchvision.models.resnet18()(image(32)),
    "vit": lambda: vit()(image(32)),
    "googlenet": lambda: torchvision.models.googlenet(init_weights=False, aux_logits=True)(image(64)),
    "lstm_cell": lambda: nn.LSTMCell(4, 5)(torch.rand(2, 4)),
    "lstm": lambda: nn.LSTM(4, 5, num_layers=2, bidirectional=True)(torch.rand(2, 3, 4))[0],
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(torch.rand(2, 5, 8)),
    "views": views,
    "changed_views": changed_views,
    "custom_function": lambda: (Square.apply(leaf(), 2) * Square.apply(leaf() * 3, 2)).sum(),
    "double_backward": double_backward,
    "shared": shared,
    "saved_lists": lists,
    "hidden_too": hidden_too,
    "leaf": lambda: leaf(),
    "leaves_too": lambda: (lambda x: (x * 2, x, x.view(6)))(leaf()),
    "no_grad": lambda: torch.rand(2, 3),
    "view_without_grad": lambda: torch.rand(2, 3)[0],
    "twice": lambda: (lambda y: (y, y))(leaf() * 2),
    "mean_dim": lambda: leaf().softmax(-1).mean(-1),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def check(var: Any, **options: Any) -> None:
    ours, theirs = make_dot(var, **options), by_torchviz(var, **options)
    assert statements(ours) == statements(theirs)
    assert (ours.graph_attr, ours.node_attr, ours.edge_attr) == (theirs.graph_attr, theirs.node_attr, theirs.edge_attr)


@pytest.mark.parametrize("options", SWITCHES, ids=lambda o: "+".join(k for k in o if o[k]) or "plain")
@pytest.mark.parametrize("case", CASES)
def test_same_as_torchviz(case: str, options: dict[str, bool]) -> None:
    check(CASES[case](), **options)


@pytest.mark.slow
def test_same_as_torchviz_in_full_size() -> None:
    net = torchvision.models.vit_b_16()
    y = net(torch.rand(1, 3, 224, 224))
    check(y, params=dict(net.named_parameters()), show_attrs=True, show_saved=True)


@pytest.mark.parametrize("options", SWITCHES, ids=lambda o: "+".join(k for k in o if o[k]) or "plain")
def test_same_names_as_torchviz(options: dict[str, bool]) -> None:
    net, x = torchvision.models.resnet18(), image(32).requires_grad_()
    y = net(x)
    check(y.mean(), params=dict(net.named_parameters()) | {"x": x, "y": y}, **options)


@pytest.mark.parametrize("width", [0, 3, 4, 10, 500])
def test_attributes_are_cut_as_in_torchviz(width: int) -> None:
    check(nn.Conv2d(3, 4, 3)(image(8)).mean((2, 3)), show_attrs=True, max_attr_chars=width)


def test_hooks_unpack_as_in_torchviz() -> None:
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (t, "packed"), lambda pair: pair[0].clone()):
        y = (leaf() * leaf()).exp()
    check(y, show_saved=True)
    check(checkpoint(lambda t: t.exp() * t, leaf(), use_reentrant=False), show_saved=True, show_attrs=True)


def test_the_comparison_sees_every_difference() -> None:
    dot = make_dot(CASES["shared"](), show_attrs=True, show_saved=True)
    found, body = statements(dot), list(dot.body)
    for at, line in enumerate(body):
        looks_other, reversed_ = line.replace("=", "=x", 1), re.sub(r"(\w+) -> (\w+)", r"\2 -> \1", line)
        for lines in ([], [line, line], [looks_other], [reversed_]):
            if lines != [line]:
                dot.body[:] = [*body[:at], *lines, *body[at + 1 :]]
                assert statements(dot) != found
    dot.body[:] = [line.replace("n1", "n999") if re.match(r"\tn1\b", line) else line for line in body]
    assert statements(dot) != found  # one node torn in two


# What users do with the result


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_what_is_called_on_the_result(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    dot = make_dot(net(torch.rand(1, 3)), params=dict(net.named_parameters()))
    assert dot.source.startswith("digraph {")
    assert "bias" in dot.source
    dot.format = "svg"
    assert Path(dot.render(tmp_path / "net", cleanup=True)).read_text().count("AccumulateGrad") >= 2
    assert Path(dot.save(tmp_path / "net.gv")).read_text() == dot.source
    assert b"AddmmBackward0" in dot.pipe()
    assert dot.graph_attr["size"] == "12,12"
    assert "AddmmBackward0" in dot._repr_image_svg_xml()
    assert "AddmmBackward0" in dot._repr_mimebundle_()["image/svg+xml"]
    assert callable(dot.view)


def test_grows_with_the_graph() -> None:
    x = leaf()
    for _ in range(100):
        x = x + 1
    inches = float(make_dot(x).graph_attr["size"].split(",")[0])
    assert inches == pytest.approx(0.15 * len(make_dot(x).body))
    assert inches > 12


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(ExportError, match=r"pip install 'graph-recorder\[torchviz\]'"):
        make_dot(leaf() * 2)


def test_the_installed_exporter_of_dot_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = Plugins([])
    monkeypatch.setattr("recorder.autograd.make_dot.installed", lambda: plugins)
    with pytest.raises(FormatError, match="there is no format 'dot'"):
        make_dot(leaf() * 2)

    class Other:
        name, suffixes, media_type = "dot", (".dot",), "text/plain"

        def export(self, graph: Graph) -> str:
            return graph.name

    @hookimpl
    def recorder_register_exporters(register: Register) -> None:
        register(Other())

    plugins.register(SimpleNamespace(recorder_register_exporters=recorder_register_exporters), "other")
    with pytest.raises(ExportError, match="does not draw for make_dot"):
        make_dot(leaf() * 2)


@pytest.mark.parametrize("nothing", [None, [], "text", {"a": None}, object()])
def test_no_tensor(nothing: Any) -> None:
    with pytest.raises(TypeError, match="there is no tensor in what was given"):
        make_dot(nothing)


# Where torchviz fails


@dataclass
class Pair:
    first: Tensor
    second: Tensor | None


@dataclass
class Output(ModelOutput):
    logits: Tensor | None = None
    hidden: tuple[Any, ...] | None = None


def _nested() -> Iterator[tuple[Any, tuple[Tensor, ...]]]:
    x = leaf()
    a, b = x * 2, x.exp()
    yield [a, b], (a, b)
    yield {"a": a, "b": b}, (a, b)
    yield Pair(a, b), (a, b)
    yield Pair(a, None), (a,)
    yield (a, None, b), (a, b)
    yield [None, {"x": (a, [b])}], (a, b)


@pytest.mark.parametrize("number", range(6))
def test_nested_outputs(number: int) -> None:
    nested, flat = list(_nested())[number]
    with pytest.raises((AttributeError, TypeError)):
        by_torchviz(nested)
    assert statements(make_dot(nested)) == statements(by_torchviz(flat))


def test_outputs_of_transformers() -> None:
    a, b = leaf() * 2, leaf().exp()
    assert statements(make_dot(Output(logits=a, hidden=(b, None)))) == statements(by_torchviz((a, b)))


def test_none_is_saved() -> None:
    x = leaf()
    y = Optional.apply(x)
    with pytest.raises(AttributeError):
        by_torchviz(y)
    assert [look for look in looks(make_dot(y)) if "orange" in look] == ['[label="\n (2, 3)" fillcolor=orange]']


@pytest.mark.slow
def test_a_long_chain() -> None:
    x = y = leaf()
    for _ in range(100_000):
        y = y + 1
    with pytest.raises(RecursionError):
        by_torchviz(y)
    dot = make_dot(y)
    assert sum("AddBackward0" in line for line in dot.body) == 100_000
    assert len(dot.body) == 200_000 + 5  # nodes and edges; leaf, its AccumulateGrad, the output
    del x


class Aloof(Tensor):
    """Refuses every function that is called on it while it is closed."""

    closed = False

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if cls.closed:
            raise ValueError(f"{func} was called")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_tensor_subclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(2, 3).as_subclass(Aloof).requires_grad_()
    y = (x * 2).view(6)
    expected = by_torchviz(y, show_saved=True)
    monkeypatch.setattr(Aloof, "closed", True)
    with pytest.raises(ValueError, match="was called"):
        by_torchviz(y, show_saved=True)
    assert statements(make_dot(y, show_saved=True)) == statements(expected)


def test_ragged_tensors() -> None:
    parts = [torch.rand(2, 3, requires_grad=True), torch.rand(4, 3, requires_grad=True)]
    y = torch.nested.as_nested_tensor(parts, layout=torch.jagged) * 2
    assert any("(2, ?, 3)" in look for look in looks(make_dot(y)))


def test_after_backward() -> None:
    x = leaf()
    y = (Square.apply(x.exp(), 2) * x).sum()
    before = make_dot(y, show_saved=True, show_attrs=True)
    y.backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        by_torchviz(y, show_saved=True)
    after = make_dot(y, show_saved=True, show_attrs=True)
    gone = [look for look in looks(after) if "orange" in look]
    assert sorted(gone) == [
        '[label="other\n freed by backward" fillcolor=orange]',
        '[label="result\n freed by backward" fillcolor=orange]',
        '[label="saved tensors, if any\n freed by backward" fillcolor=orange]',
        '[label="self\n freed by backward" fillcolor=orange]',
    ]
    assert any("result: [freed by backward]" in look for look in looks(after))
    kept = [look for look in looks(before) if "Backward" not in look and "orange" not in look]
    assert kept == [look for look in looks(after) if "Backward" not in look and "orange" not in look]


def test_changed_in_place() -> None:
    y = leaf().exp()
    z = y * leaf()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        by_torchviz(z, show_saved=True)
    assert '[label="self\n changed in place" fillcolor=orange]' in looks(make_dot(z, show_saved=True))


def test_a_hook_that_fails() -> None:
    def fail(_: Any) -> Tensor:
        raise LookupError("no such file")

    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.sum(), fail):
        y = leaf().exp()
    dot = make_dot(y, show_saved=True)
    assert '[label="result\n cannot be unpacked: LookupError" fillcolor=orange]' in looks(dot)


def test_a_leaf_that_is_saved_too_has_a_double_border() -> None:
    x, w, b = leaf(), leaf(), leaf()
    y = x * w + b + (x * 2).exp()
    dot = make_dot(y, params={"x": x, "w": w, "b": b}, show_saved=True)
    final = {}
    for line in dot.body:
        if "->" not in line:
            final[line.split()[0]] = line
    double = sorted(line.split('"')[1] for line in final.values() if "peripheries=2" in line)
    assert double == ["w\n (2, 3)", "x\n (2, 3)"]
    assert "peripheries" not in make_dot(y).source


def test_nothing_is_kept_alive() -> None:
    x = leaf()
    y = Square.apply(x, 2)
    node, tensor = weakref.ref(y.grad_fn), weakref.ref(y.grad_fn.saved_tensors[1])
    dot = make_dot(y, show_saved=True, show_attrs=True)
    del y
    gc.collect()
    assert node() is None
    assert tensor() is None
    assert "SquareBackward" in dot.source


def test_a_recording_does_not_see_it() -> None:
    net = Net(lambda net, x: net.block(x) * 2, block=Block(lambda block, x: block.fc(x), fc=linear()))
    with Recorder(net) as r:
        y = net(torch.rand(2, 4))
        before = len(r.events)
        make_dot((y, y.view(8)), show_saved=True, show_attrs=True)
        assert len(r.events) <= before + 1  # the view
