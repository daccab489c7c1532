"""The plugin that comes with graph-recorder: the exporters, one format a file, and metrics in what they write.

Exporters know no torch, and of the core only its public names: each is written as a third party would write it.
"""

from recorder import Graph, Register, add_metrics, hookimpl

__all__ = ["recorder_annotate_graph", "recorder_register_exporters"]


@hookimpl
def recorder_register_exporters(register: Register) -> None:
    """Offer everything below. Exporters import their libraries when they are used, not here."""
    from recorder_exporters.architecture import ArchitectureExporter
    from recorder_exporters.dot import DotExporter
    from recorder_exporters.graph_json import GraphJsonExporter
    from recorder_exporters.html import HtmlExporter
    from recorder_exporters.mermaid import MermaidExporter
    from recorder_exporters.onnx_json import OnnxJsonExporter
    from recorder_exporters.picture import EpsExporter, JpgExporter, PdfExporter, PngExporter, SvgExporter

    register(DotExporter())
    register(SvgExporter())
    register(PngExporter())
    register(PdfExporter())
    register(JpgExporter())
    register(EpsExporter())
    register(OnnxJsonExporter())
    register(GraphJsonExporter())
    register(MermaidExporter())
    register(HtmlExporter())
    register(ArchitectureExporter())


@hookimpl
def recorder_annotate_graph(graph: Graph) -> None:
    """Have documents of a recording say what each call cost."""
    add_metrics(graph)
