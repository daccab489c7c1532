"""Ready streams and graphs for people who write exporters and plugins. None of it needs torch.

    from recorder.testing.stream_builder import check_exporter, sample_graphs

    def test_it_keeps_every_promise():
        check_exporter(MyExporter())

    def test_tiny():
        assert MyExporter().export(sample_graphs()["tiny"]) == "fc -> relu"

`StreamBuilder` writes streams of your own.
"""

from recorder.testing.exporter_checks import check_exporter
from recorder.testing.samples import HOSTILE_NAMES, bearing, chain, sample_graphs, sample_streams
from recorder.testing.stream_builder import StreamBuilder

__all__ = ["HOSTILE_NAMES", "StreamBuilder", "bearing", "chain", "check_exporter", "sample_graphs", "sample_streams"]
