"""Figures in words, where they are lower bounds or of one of several alike."""

import re

import pytest
import torch
from support.models import Block, linear, x
from torch import nn

import recorder
from recorder import Recorder, fold
from recorder.figures import FIGURES


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
