"""What has to hold for any input. A target takes bytes, and raises if it does not hold."""

import html
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from recorder_exporters import mermaid
from recorder_exporters.drawing import dot_markup
from recorder_exporters.drawing.words import legible

import recorder
from recorder import (
    EventStream,
    Graph,
    GraphError,
    Node,
    PluginError,
    RecorderError,
    StreamError,
    assemble,
    collapse,
    fold,
    hide,
    readable,
)
from recorder.summary import Summary
from recorder.terminal import harmless, in_one_line
from recorder.testing import HOSTILE_NAMES, sample_graphs, sample_streams

__all__ = ["TARGETS", "seeds"]

BIDIRECTIONAL_CONTROLS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
TEXT_FORMATS = ("dot", "mermaid", "onnx-json", "json")


def stream(data: bytes) -> None:
    """A file that says it is a recording is refused with the line, or as a whole, or is a recording like any other."""
    path = _file()
    path.write_bytes(data)
    try:
        loaded = EventStream.load(path)
    except StreamError as error:
        _begins(error, f"{path}")
        return
    try:
        graph = assemble(loaded)
    except StreamError as error:
        _begins(error, "event ")
        return
    graph.lint()
    _can_be_shown(graph)


def document(data: bytes) -> None:
    """Bytes that say they are a graph are refused, or are a graph like any other, that is read back as it was."""
    try:
        graph = recorder.loads(data)
    except (StreamError, GraphError):
        return
    graph.lint()
    _can_be_shown(graph)
    assert recorder.loads(recorder.dumps(graph, timing=True)) == graph


def label(data: bytes) -> None:
    """A name of any characters stays a name: nothing breaks out, nothing is lost unseen."""
    text = data.decode("utf-8", "surrogatepass" if data[:1] < b"\x80" else "replace") if _decodes(data) else ascii(data)
    seen = legible(text, dot_markup.LABEL_LIMIT)
    assert len(seen) <= dot_markup.LABEL_LIMIT
    _is_safe(seen)
    markup = dot_markup.escaped(seen)
    (read,) = [ElementTree.fromstring(f"<b>{markup}</b>").text or ""]
    assert read.replace("\\\\", "\\") == seen
    quoted = dot_markup.tooltip([text])
    assert quoted[0] == quoted[-1] == '"'
    assert '"' not in quoted[1:-1]
    assert "\n" not in quoted
    assert html.unescape(quoted[1:-1].replace(4 * "\\", "\\")) == legible(text, 200) or "&" in text or "\\" in text
    drawn = mermaid._label([text])
    assert re.fullmatch(r"(?:[A-Za-z0-9 ,×·…._]|#[0-9]+;)+", drawn)
    back = re.sub(r"#([0-9]+);", lambda code: chr(int(code[1])), drawn)
    assert back == (legible(text, mermaid._LINE) or " ")
    _is_safe(in_one_line(text))
    _is_safe(harmless(text).replace("\n", "").replace("\t", ""))
    if text.isascii() and text.isprintable():
        assert in_one_line(text) == text
    name = text.encode("utf-8", "backslashreplace").decode()
    graph = Graph([Node(text, "function", text, text, attributes={text: text}, error=text)], name=text)
    (node,) = json.loads(recorder.export(graph, "json"))["nodes"]
    assert (node["name"], node["op_type"], node["error"], node["attributes"]) == (name, name, name, {name: name})
    (node,) = json.loads(recorder.export(graph, "onnx-json"))["graph"]["node"]
    assert node["name"] == name
    _is_safe(str(Summary(graph)).replace("\n", ""))


def _begins(error: Exception, words: str) -> None:
    assert str(error).startswith(words)


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass" if data[:1] < b"\x80" else "replace")
    except UnicodeDecodeError:
        return False
    return True


def _is_safe(text: str) -> None:
    """A terminal obeys nothing of it, and shows it in the order in which it stands."""
    for character in text:
        assert unicodedata.category(character) not in ("Cc", "Cs"), ascii(character)
        assert unicodedata.bidirectional(character) not in BIDIRECTIONAL_CONTROLS, ascii(character)


def _can_be_shown(graph: Graph) -> None:
    """Every exporter writes it or says why not, and so do the summary, the report and the views."""
    for name in TEXT_FORMATS:
        try:
            recorder.export(graph, name)
        except PluginError:  # some other exception, of the exporter's own
            raise
        except RecorderError:
            pass
    _is_safe(str(Summary(graph)).replace("\n", ""))
    str(graph.gradient_report())
    if any("norm" in json.dumps(node.meta) for node in graph.nodes if node.meta):
        try:
            recorder.export(graph, "dot", colour_by="gradient", backward=True, initializers=True)
        except PluginError:
            raise
        except RecorderError:
            pass
    for view in (
        collapse(graph, 0),
        fold(graph),
        hide(graph, ("identities", "views", "constants")),
        readable(graph, 2),
    ):
        view.lint()
        recorder.export(view, "mermaid", limits="none")


@cache
def _file() -> Path:
    """One file for all inputs of this process."""
    number, name = tempfile.mkstemp(suffix=".jsonl")
    os.close(number)
    return Path(name)


TARGETS: dict[str, Callable[[bytes], None]] = {"stream": stream, "document": document, "label": label}


def seeds(target: str) -> list[bytes]:
    """Good input, small, from which bad is made: samples, and runs of real networks."""
    if target == "label":
        return [name.encode("utf-8", "surrogatepass") for name in HOSTILE_NAMES]
    streams = [stream for name, stream in sample_streams().items() if name != "hostile"] + _recorded()
    if target == "stream":
        return [each.save(_file()).read_bytes() for each in streams]
    graphs = [sample_graphs()["empty"], *map(assemble, streams), collapse(assemble(streams[1]), 1)]
    graphs.append(fold(sample_graphs()["branching"]))
    return [recorder.dumps(graph, timing=True) for graph in graphs]


def _recorded() -> list[EventStream]:
    import torch
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True))
            self.head = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = checkpoint(self.body, x, use_reentrant=False)
            return self.head(h.flatten(1).mul_(2) + 1)

    found = []
    for gradients in ("calls", "stats"):
        net = Net()
        with recorder.Recorder(net, gradients=gradients) as run:
            net(torch.ones(1, 1, 4, 4)).sum().backward()
        found.append(run.events)
    return found
