"""The whole graph as JSON of our own, for programs that read it, and to keep: nothing is left out, and `recorder.loads`
gives an equal graph back. The JSON schema is published as ``docs/graph.schema.json``.
"""

from recorder import Graph, dumps

__all__ = ["GraphJsonExporter"]


class GraphJsonExporter:
    """The whole graph as JSON; recorder.loads reads it back."""

    name, suffixes, media_type = "json", (".json",), "application/json"

    def export(self, graph: Graph, *, timing: bool = False, indent: int = 0) -> str:
        """The document of `recorder.json_schema`.

        Args:
            graph: any graph.
            timing: include measured durations, which differ from run to run.
            indent: spaces for each level; 0 writes one line.

        Raises:
            GraphError: attributes or meta hold what JSON cannot; the message says where.
        """
        return dumps(graph, timing=timing, indent=indent).decode()
