"""Formats and plugins that do next to nothing, to try out what is done with them."""

from typing import Literal

from recorder import hookimpl
from recorder.testing import sample_graphs

__all__ = ["GRAPH", "Failing", "Toy", "offering", "working"]


GRAPH = sample_graphs()["tiny"]


class Toy:
    """A toy format.

    More about it.
    """

    media_type = "text/plain"

    def __init__(self, name="toy", suffixes=(".toy",)):
        self.name, self.suffixes = name, suffixes

    def export(self, graph, *, depth: int | None = None, direction: Literal["TB", "LR"] = "TB", legend: bool = True):
        return f"{self.name} {depth} {direction} {legend}"


def offering(*exporters):
    """A plugin with these exporters."""

    class Plugin:
        @hookimpl
        def recorder_register_exporters(self, register):
            for exporter in exporters:
                register(exporter)

    return Plugin()


WORKING = """
class Toy:
    name, suffixes, media_type = {name!r}, ({suffix!r},), "text/plain"
    def export(self, graph): return __name__

@hookimpl
def recorder_register_exporters(register): register(Toy())
"""


def working(name, suffix=".toy"):
    return WORKING.format(name=name, suffix=suffix)


class Failing(Toy):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def export(self, graph):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result
