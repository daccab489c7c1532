"""The architecture as text, to commit beside a model and to compare: what did not change does not move."""

from recorder import Graph, architecture

__all__ = ["ArchitectureExporter"]


class ArchitectureExporter:
    """The architecture as text, a line a place; recorder.loads reads it back, recorder.diff compares it."""

    name, suffixes, media_type = "architecture", (".arch",), "text/plain"

    def export(self, graph: Graph) -> str:
        """The text of `recorder.architecture`.

        Raises:
            GraphError: attributes hold what JSON cannot; the message says where.
        """
        return architecture(graph)
