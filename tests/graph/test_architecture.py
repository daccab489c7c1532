"""An architecture as text: it is read back, it says what is in it, and what did not change does not move."""

import difflib
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from support.models import Net
from support.strategies import graphs, streams
from torch import Tensor, nn

from recorder import EventStream, Graph, Recorder, StreamError, architecture, assemble, diff, export, load, loads, save
from recorder.testing import sample_graphs


def recorded(net: nn.Module, *inputs: Tensor, backward: bool = False) -> Graph:
    with Recorder(net) as r:
        made = net(*inputs)
        if backward:
            (made**2).mean().backward()
    return r.graph


def check_is_read_back(graph: Graph) -> None:
    text = architecture(graph)
    again = loads(text)
    again.lint()
    assert architecture(again) == text
    assert not diff(graph, again), str(diff(graph, again))


@given(graphs())
def test_any_graph_is_read_back(graph: Graph) -> None:
    check_is_read_back(graph)


@given(streams())
def test_any_recording_is_read_back(stream: EventStream) -> None:
    check_is_read_back(assemble(stream))


@pytest.mark.parametrize("name", sample_graphs())
def test_a_sample_is_read_back(name: str) -> None:
    check_is_read_back(sample_graphs()[name])


class Block(nn.Module):
    def __init__(self, between: Callable[[Tensor], Tensor] = lambda h: h) -> None:
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(4, 8), nn.Linear(8, 4), nn.LayerNorm(4)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        h = self.between(torch.relu(self.up(x)))
        return self.norm(self.down(h) + x)


def changed_lines(a: Graph, b: Graph) -> list[str]:
    lines = difflib.unified_diff(architecture(a).splitlines(), architecture(b).splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def test_it_says_where_each_input_comes_from() -> None:
    text = architecture(recorded(Block(), torch.ones(2, 4)))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[:4] == ["architecture 1", "name Block", "input x float32[2, 4]", "/: Block <- x=$x"]
    assert lines[4] == (
        "up: nn.linear.Linear(in_features=4, out_features=8) <- $x, param weight float32[8, 4], param bias float32[8]"
        " -> float32[2, 8]"
    )
    assert "relu = torch.relu <- up -> float32[2, 8]" in lines
    assert "add = Tensor.add <- down, $x -> float32[2, 4]" in lines
    assert lines[-2:] == ["return norm", "return /"]


def test_an_inserted_function_is_a_line_and_changes_the_line_of_its_user() -> None:
    x = torch.ones(2, 4)
    lines = changed_lines(recorded(Block(), x), recorded(Block(torch.tanh), x))
    assert [line[0] for line in lines] == ["-", "+", "+"]
    assert "tanh = torch.tanh <- relu" in lines[1]
    assert "<- tanh, param" in lines[2]
    assert "<- relu, param" in lines[0]


def test_an_inserted_module_is_a_line_and_changes_the_line_of_its_user() -> None:
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(2)]
    blocks[1] = nn.Sequential(blocks[1][0], blocks[1][1], nn.Identity(), blocks[1][2])
    x = torch.ones(2, 4)
    assert len(changed_lines(recorded(blocks[0], x), recorded(blocks[1], x))) == 5  # the last one has another name, too


def test_blocks_behind_an_inserted_one_change_nothing_but_their_names() -> None:
    def stack(*blocks: Block) -> nn.Module:
        return nn.Sequential(*blocks)

    x = torch.ones(2, 4)
    before, after = stack(*(Block() for _ in range(6))), stack(*(Block() for _ in range(7)))
    lines = changed_lines(recorded(before, x), recorded(after, x))
    assert len([line for line in lines if line[0] == "-"]) == 1  # what is returned
    assert len([line for line in lines if line[0] == "+"]) == 1 + 1 + 6


def test_weights_training_devices_and_losses_make_no_difference() -> None:
    torch.manual_seed(0)
    one = architecture(recorded(Block().eval(), torch.ones(2, 4)))
    torch.manual_seed(1)
    assert architecture(recorded(Block(), torch.zeros(2, 4), backward=True)) == one
    assert architecture(recorded(Block().to("meta"), torch.empty(2, 4, device="meta"))) == one


def test_a_device_is_no_argument_of_an_architecture() -> None:
    net = Net(lambda self, x: x.to(x.device) + torch.zeros(3, device=x.device))
    texts = [architecture(recorded(net, torch.empty(3, device=device))) for device in ("cpu", "meta")]
    assert texts[0] == texts[1]
    assert "meta" not in texts[1]


def test_what_glues_two_models_is_part_and_a_loss_is_not() -> None:
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    with Recorder({"a": a, "b": b}) as r:
        b(a(torch.ones(1, 4)) * 2).exp()
    text = architecture(r.graph)
    assert "mul" in text
    assert "exp" not in text


def test_names_that_hold_signs_of_the_text_are_read_back() -> None:
    net = nn.Sequential()
    for name in ("a@b", "input", "x~2", 'q"uote', "two words", "é", "a:b", "-> x", "$x", "\n"):
        net.add_module(name, nn.Linear(2, 2))
    check_is_read_back(recorded(net, torch.ones(1, 2)))


def test_a_tied_weight_an_unused_module_and_a_constant_are_read_back() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head, self.spare = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False), nn.Linear(1, 1)
            self.head.weight = self.embed.weight

        def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            h = self.embed(x) + torch.ones(4)
            return self.head(h), {"hidden": h}

    with Recorder(net := Tied()) as r:
        net(torch.zeros(1, 3, dtype=torch.long))
    check_is_read_back(r.graph)
    text = architecture(r.graph)
    assert "param /embed.weight float32[5, 4]" in text
    assert "param /spare.weight float32[1, 1]" in text
    assert list(loads(text).output_names) == list(r.graph.output_names)


def test_files_and_formats_are_the_same_text(tmp_path: "pytest.TempPathFactory") -> None:
    graph = recorded(Block(), torch.ones(2, 4))
    path = save(graph, tmp_path / "net.arch")  # type: ignore[operator]
    assert path.read_text("utf-8") == export(graph, "architecture") == architecture(graph)
    assert not diff(load(path), graph)
    assert not diff(loads(path.read_bytes()), graph)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("architecture 1", "architecture 9"), "does not begin|graph document"),
        (("<- up ", "<- nowhere "), "line 6: 'nowhere' leads nowhere"),
        (("<- down, $x", "<- down, $y"), r"'\$y' leads nowhere"),
        (("float32[2, 8]", "float32[two]"), "a dtype and shape is missing"),
        (("  relu =", "        relu ="), "indented"),
        (("relu =", "relu"), "no sign of what it is"),
        (("torch.relu", "numpy.relu"), "no operation of torch's"),
        (("in_features=4", "in_features=four"), "line 5"),
        (("return /", "return / and more"), "nothing was expected"),
        (("down:", "up:"), "two places up"),
    ],
)
def test_what_is_wrong_in_a_text_is_told_with_its_line(change: tuple[str, str], told: str) -> None:
    text = architecture(recorded(Block(), torch.ones(2, 4)))
    assert change[0] in text
    with pytest.raises(StreamError, match=told):
        loads(text.replace(*change))
