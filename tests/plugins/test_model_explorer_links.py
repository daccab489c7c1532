"""Links between ranks in Model Explorer."""

import json

from recorder_model_explorer import ModelExplorerExporter
from support.linked import linked


def test_what_ranks_issued_together_is_an_overlay() -> None:
    (drawn,) = json.loads(ModelExplorerExporter().export(linked(2)))["graphs"]
    (pane,) = drawn["tasksData"]["edgeOverlaysDataListLeftPane"]
    assert pane["name"] == "ranks"
    found = {
        overlay["name"]: [(edge["sourceNodeId"], edge["targetNodeId"]) for edge in overlay["edges"]]
        for overlay in pane["overlays"]
    }
    assert found == {"all_reduce": [("n0", "n3"), ("n1", "n4")], "send": [("n2", "n5")]}
