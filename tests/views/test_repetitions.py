"""What repeats, as `repetitions` says it, beside what `fold` makes of it."""

from recorder import Node, Scope, fold, repetitions
from recorder.testing import chain, sample_graphs


def test_each_says_where_its_nodes_are_and_what_they_are_called() -> None:
    graph = chain(24, blocks=4)
    *inner, outer = repetitions(graph)
    assert [(one.first, one.size, one.repeats) for one in inner] == [(n, 1, 6) for n in (18, 12, 6, 0)]
    assert (outer.first, outer.size, outer.repeats) == (0, 6, 4)
    assert outer.names == [f"blocks.{i}" for i in range(4)]
    assert outer.places == (outer.place,)
    assert isinstance(outer.place, Scope)


def test_those_that_show_are_what_fold_says() -> None:
    found = 0
    for graph in sample_graphs().values():
        view = fold(graph)
        told = {repetition.place.name: repetition for repetition in repetitions(graph)}
        places: list[Node | Scope] = [*view.nodes, *view.scopes]
        for place in places:
            if "repeats" not in place.meta:
                continue
            repetition = told[place.name]
            assert (place.meta["repeats"], place.meta["repeated"]) == (repetition.repeats, repetition.names)
            assert repetition.first + repetition.size * repetition.repeats <= len(graph.nodes)
            found += 1
    assert found > 0


def test_nothing_repeats_in_what_is_empty_or_alone() -> None:
    assert repetitions(sample_graphs()["empty"]) == []
    assert repetitions(chain(1)) == []
