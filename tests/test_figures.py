"""Figures in words, where they are lower bounds or of one of several alike."""

import math
import re

import pytest
import torch
from support.models import Block, linear, x
from torch import nn

import recorder
from recorder import Recorder, fold
from recorder.figures import FIGURES, arrived_norm


def blocks() -> recorder.Graph:
    net = nn.Sequential(*(Block(lambda block, x: torch.fft.fft(block.fc(x)).real, fc=linear()) for _ in range(3)))
    with Recorder(net) as r:
        net(x())
    return r.graph


@pytest.mark.parametrize("name", ["flops", "macs"])
def test_a_lower_bound_is_said_to_be_one(name: str) -> None:
    graph = blocks()
    figure = FIGURES[name]
    known = 64 if name == "flops" else 32
    whole, block, *_ = graph.scopes
    assert figure.said(graph, whole) == f"at least {3 * known}"
    assert figure.said(graph, block, label=True) == f"at least {known}{figure.after}"
    fc, fft, *_ = graph.nodes
    assert figure.said(graph, fc) == str(known)
    assert figure.said(graph, fft) is None
    assert figure.value(graph, whole) == 3 * known


def test_what_stands_for_several_has_the_figure_of_each() -> None:
    graph = fold(blocks())
    whole, block = graph.scopes
    assert FIGURES["flops"].said(graph, block) == "at least 64 each"
    assert FIGURES["flops"].said(graph, whole) == "at least 192"
    assert FIGURES["parameters"].said(graph, block, label=True) == "16 parameters each"


def test_a_picture_says_it_on_labels_and_in_tooltips() -> None:
    drawn = recorder.export(blocks(), "dot", depth=1, fold=True, show="name,flops,parameters", colour_by="flops")
    assert isinstance(drawn, str)
    assert "16 parameters · at least 64 FLOPs each" in re.sub(r"<[^>]*>|&#160;", " ", drawn)


def test_the_page_knows_which_figures_are_lower_bounds() -> None:
    page = recorder.export(blocks(), "html")
    assert isinstance(page, str)
    (told,) = re.findall(r'"name":"flops",.*?"least":(\[[\d,]*\])', page)
    assert told == "[9,10,11,12]"  # the scopes, which stand after the nodes


@pytest.mark.parametrize("missing", ["flops_unknown", "flops_backward_unknown"])
def test_backward_is_a_lower_bound_where_any_part_of_either_way_is_unknown(missing: str) -> None:
    assert FIGURES["flops_backward"].in_words(64, {missing: 1}) == "at least 64"
    assert FIGURES["flops_backward"].in_words(64, {missing: 0}) == "64"


@pytest.mark.parametrize(("bad", "norm"), [({}, 5.0), ({"inf": 1}, math.nan), ({"nan": 1}, math.nan)])
def test_the_norm_of_what_arrived_is_of_all_and_none_where_one_is_not_finite(bad: dict[str, int], norm: float) -> None:
    arrived = [{"norm": 3.0, "nan": 0, "inf": 0}, None, {"norm": 4.0, "nan": 0, "inf": 0, **bad}]
    node = recorder.Node("f", "module", "F", "f", meta={"backward": {"arrived": arrived}})
    assert arrived_norm(node) == pytest.approx(norm, nan_ok=True)


def test_what_is_in_a_block_that_is_drawn_once_has_the_sum_of_all_too() -> None:
    graph = blocks()
    view = fold(graph)
    inside = next(node for node in view.nodes if node.op_type == "Linear")
    assert "repeats" not in inside.meta
    times = [node.duration_ns for node in graph.nodes if node.op_type == "Linear"]
    assert len(times) == 3
    assert FIGURES["time"].of_all(view, inside) == sum(time for time in times if time is not None)
    assert str(FIGURES["time"].said(view, inside)).endswith("in all")
