"""A graph as a list of edges, one a line: the smallest exporter that is of use."""

from recorder import Graph, hookimpl


class EdgeList:
    """Plain text, one edge a line: source -> target."""

    name, suffixes, media_type = "edgelist", (".edges",), "text/plain"

    def export(self, graph: Graph, *, shapes: bool = False) -> str:
        """Write one line for each edge.

        Args:
            graph: any graph.
            shapes: whether the tensor's shape stands behind it.
        """
        return "".join(
            f"{edge.source.name} -> {edge.target.name}{f' {list(edge.value.shape)}' if shapes else ''}\n"
            for edge in graph.edges()
        )


@hookimpl
def recorder_register_exporters(register):  # noqa: D103 - the hook's own documentation says it
    register(EdgeList())
