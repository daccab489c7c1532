"""Exporters that break a promise each, in a module of their own, since another process is to import them."""

import itertools
from typing import Literal

from recorder import OptionError

__all__ = ["FAULTY", "Good"]


class Good:
    """Names, one a line."""

    name, suffixes, media_type = "toy", (".toy",), "text/plain"

    def export(self, graph, *, upper: bool = False, refused: Literal["no", "yes"] = "no"):
        """Write names, in ``upper`` case if wished; ``refused`` is what cannot be had."""
        if refused == "yes":
            raise OptionError("refused cannot be had")
        text = "".join(f"{node.name}\n" for node in graph.nodes)
        return text.upper() if upper else text


class Undocumented(Good):
    def export(self, graph):
        return ""


class NotToldOf(Good):
    """Lines."""

    def export(self, graph, *, colour: bool = False):
        """Lines."""
        return ""


class WithoutType(Good):
    """Takes a colour."""

    def export(self, graph, *, colour=None):
        return ""


class Choosy(Good):
    """Cannot write one of the names."""

    def export(self, graph):
        if any("\x00" in node.op_type for node in graph.nodes):
            raise ValueError("no NUL")
        return ""


class OnlyUtf8(Good):
    """Writes what text can hold."""

    def export(self, graph):
        return "".join(node.name for node in graph.nodes).encode()


class Numeric(Good):
    """Gives no text."""

    def export(self, graph):
        return len(graph.nodes)


class FailingOption(Good):
    """Has an option ``colour`` that nobody tried."""

    def export(self, graph, *, colour: Literal["red", "blue"] = "red"):
        return {"red": "red"}[colour]


class BrokenJson(Good):
    """Quotes nothing."""

    media_type = "application/json"

    def export(self, graph):
        return f"""{{"name": "{graph.name}"}}"""


class BrokenXml(Good):
    """Quotes a little."""

    media_type = "application/toy+xml; charset=utf-8"

    def export(self, graph):
        return "<g>{}</g>".format("".join(n.op_type.replace("<", "&lt;") for n in graph.nodes))


class Changing(Good):
    """Leaves a note."""

    def export(self, graph):
        for node in graph.nodes:
            node.meta["toy"] = True
        return ""


class Counting(Good):
    """Numbers what it writes."""

    numbers = itertools.count()

    def export(self, graph):
        return str(next(self.numbers))


class Unordered(Good):
    """Writes a set."""

    def export(self, graph):
        return " ".join({node.op_type for node in graph.nodes})


class WithTorch(Good):
    """Knows torch."""

    def export(self, graph):
        import torch

        return torch.__version__


class Untrained(Good):
    """Does not know that a gradient may be missing."""

    def export(self, graph):
        return "".join(str(one["norm"]) for n in graph.nodes for one in n.meta.get("backward", {}).get("arrived", ()))


class Unreachable(Good):
    """Cannot be handed on."""

    def __init__(self):
        self.function = lambda: ""


class Unregistered(Good):
    """Has no suffixes."""

    suffixes = "toy"


FAULTY = {
    Undocumented: "AssertionError: the exporter 'toy' has no docstring to tell what it is",
    NotToldOf: "AssertionError: the exporter 'toy' has an option 'colour' that no docstring tells of",
    WithoutType: "AssertionError: the exporter 'toy' has an option 'colour' without a type",
    Choosy: "PluginError: the exporter 'toy' of the plugin 'checked' failed: ValueError: no NUL",
    OnlyUtf8: "PluginError: the exporter 'toy' of the plugin 'checked' failed: UnicodeEncodeError: .*surrogates",
    Numeric: "PluginError: the exporter 'toy' of the plugin 'checked' returned int",
    FailingOption: "PluginError: the exporter 'toy' of the plugin 'checked' failed: KeyError: 'blue'",
    BrokenJson: "AssertionError: the exporter 'toy' writes 'hostile' as broken json: ",
    BrokenXml: "AssertionError: the exporter 'toy' writes 'hostile' as broken xml: ",
    Changing: "AssertionError: the exporter 'toy' changes the graph 'tiny'",
    Counting: "AssertionError: the exporter 'toy' writes 'empty' anew each time",
    Unordered: "AssertionError: the exporter 'toy' writes other text or bytes in another process: .*names",
    WithTorch: "AssertionError: the exporter 'toy' fails in a process without torch: .*ModuleNotFoundError.*torch",
    Untrained: "PluginError: the exporter 'toy' of the plugin 'checked' failed: TypeError: 'NoneType'",
    Unreachable: "AssertionError: the exporter 'toy' cannot be handed to another process: ",
    Unregistered: "PluginError: the format 'toy' of the plugin 'checked' has the suffixes 'toy'",
}
"""And what `check_exporter` says of each."""
