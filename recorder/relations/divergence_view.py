"""The graph after, with what is known of each place's divergence in ``meta["divergence"]``: for pictures.

``{"given", "made", "added", "expected", "found", "first"}``, as a `Row` of `recorder.relations.divergence_rows` has
them, of the row that tells most; of a call that holds others, of all that is in it. What is infinite is the largest
number that there is.
"""

import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from recorder.graph.core import Graph
from recorder.graph.outline import Place, around
from recorder.relations.divergence_rows import Row
from recorder.views.copies import Copies

if TYPE_CHECKING:
    from recorder.relations.divergence import Divergence

__all__ = ["diverging"]


def diverging(divergence: "Divergence") -> Graph:
    """A copy of ``b`` that says by how much each place differs."""
    rows: defaultdict[Place, list[Row]] = defaultdict(list)
    for row in divergence.rows:
        rows[row.b].append(row)
        scope = around(row.b)
        for outer in () if scope is None else scope.ancestors():
            rows[outer].append(row)
    copies = Copies()
    nodes = []
    for node in divergence.b.nodes:
        copy = copies.node(node)
        if node in rows:
            copy.meta["divergence"] = _told(rows[node])
        nodes.append(copy)
    for scope in divergence.b.scopes:
        copied = copies.scope(scope)
        if scope in rows and copied is not None:
            copied.meta["divergence"] = _told(rows[scope])
    graph = copies.graph(divergence.b, nodes, divergence.b.scopes)
    graph._shown = None  # what is drawn of it is its own: the other says nothing of a divergence
    return graph


def _told(rows: list[Row]) -> dict[str, Any]:
    worst = max(rows, key=lambda row: (row.first, row.found, row.added))
    numbers = {name: min(getattr(worst, name), sys.float_info.max) for name in ("given", "made", "added", "expected")}
    return {**numbers, "found": worst.found, "first": worst.first}
