"""Views: pure functions from a graph to a graph that is easier to read. The original is never changed.

* `collapse` shows module calls as single nodes, `expand` opens some of them again.
* `fold` shows what repeats once, as "× 12", `unfold` shows all of it again.
* `select` shows a part, `hide` leaves out what only hands tensors on, `without_accumulation` what only adds a
  parameter's gradient to the others.
* `readable` and `collapse_to_fit` choose by themselves how much there is room for.

They compose in any order. Each node of a view stands for one or more nodes of the original, and there is an edge
between two nodes of the view exactly if there was one between nodes that they stand for; only the way from one
repetition to the next is not drawn, which "× 12" says. What a node or scope stands for is in its ``meta``:

* ``meta["collapsed"]`` counts the nodes in a collapsed one, each repetition inside it too.
* ``meta["repeats"]`` is how often a folded one stood there, and ``meta["repeated"]`` has the names of all that it
  stands for, in execution order. All else that it says is of the first. If a sequence of several blocks repeats, a
  scope that no module made stands around them: then it has more names than repetitions.
* ``meta["between"]`` has the names of the first and the last of those in a row that `readable` shows as one node, of
  kind "function", because there is no room for all of them. They need not be alike.
* ``meta["repeats"]`` of a tensor says that it is the first of so many that come or go side by side.

A view remembers the graph that it was made of, which is how `expand` and `unfold` find back. A saved view does not.
"""

from recorder.views.accumulation import without_accumulation
from recorder.views.collapse import collapse, collapse_to_fit, expand
from recorder.views.fold import fold, unfold
from recorder.views.hide import hide
from recorder.views.room import readable
from recorder.views.select import select

__all__ = [
    "collapse",
    "collapse_to_fit",
    "expand",
    "fold",
    "hide",
    "readable",
    "select",
    "unfold",
    "without_accumulation",
]
