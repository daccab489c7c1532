"""Which functions are tensor views, known by name, so that it needs no torch.

There are two meanings of it:

* `SHARE_MEMORY`: the result looks at memory that is there already. It takes no bytes, and nothing is computed.
* `SAME_ELEMENTS`: the result shows every element that was given, as it was, in another shape or order. A reader misses
  nothing where it is left out.

The second ones are among the first, but for ``contiguous``, which copies, and modules. What shares memory and shows
something else takes elements apart or picks some of them, as ``chunk`` and ``narrow`` do, reads them as another type,
as ``view_as_real`` does, or cuts the gradient off, as ``detach`` does: it matters that it was there. The tests hold
the first against the schemas of torch's operators, and the rule between the two against what torch does.
"""

__all__ = ["SAME_ELEMENTS", "SHARE_MEMORY"]


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


SHARE_MEMORY = _named(
    "adjoint alias as_strided broadcast_to chunk detach diagonal dsplit expand expand_as flatten H hsplit imag mH mT "
    "moveaxis movedim narrow permute ravel real reshape reshape_as select split split_with_sizes squeeze swapaxes "
    "swapdims T t tensor_split transpose unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze view view_as "
    "view_as_complex view_as_real vsplit"
)
"""Functions that look at memory which is there already, at least as a rule: ``reshape`` copies where it has to."""

SAME_ELEMENTS = _named(
    "Flatten H T Unflatten adjoint broadcast_to contiguous expand expand_as flatten mH mT moveaxis movedim permute "
    "ravel reshape reshape_as squeeze swapaxes swapdims t transpose unflatten unsqueeze view view_as"
)
"""Functions and modules that show the same elements in another shape or order."""
