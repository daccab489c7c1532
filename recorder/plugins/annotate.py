"""What plugins add to a graph: asked of them as `Recorder.graph` asks, for a graph that came from elsewhere."""

from recorder.graph.core import Graph
from recorder.plugins.manager import installed

__all__ = ["annotate"]


def annotate(graph: Graph) -> Graph:
    """Let every installed plugin add its facts to a graph, in place, as they are added to ``r.graph``; returns it.

    For what `recorder.assemble` returned. The plugin that comes with graph-recorder adds the metrics to what is written
    of the graph: see `recorder.add_metrics`. One that raises is warned about, and keeps no other from its turn.
    """
    installed().annotate(graph)
    return graph
