"""Where things stand on the interactive page, and how long that takes."""

from itertools import product
from typing import Any

import pytest
from support.browser import Show, boxes, still

import recorder
from recorder import Graph
from recorder.testing import StreamBuilder, chain, sample_graphs


@pytest.mark.parametrize("name", sorted(sample_graphs()))
def test_nothing_overlaps_and_lines_end_at_what_they_join(show: Show, name: str) -> None:
    graph = sample_graphs()[name]
    with show(graph, depth=9) as page:
        scene = page.evaluate(SCENE)
        check_scene(scene)
        page.keyboard.press("l")
        still(page)
        check_scene(page.evaluate(SCENE))
    assert len(scene["boxes"]) >= len(graph.nodes)


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_the_same_for_a_net_with_branches_lanes_and_shared_tensors(show: Show, direction: str) -> None:
    with show(transformer(30), depth=9, fold=False, direction=direction) as page:
        scene = page.evaluate(SCENE)
    check_scene(scene)
    assert sum(edge["lane"] for edge in scene["edges"]) >= 25


# What flows across is looked at in a mirror, in which it flows down.
SCENE = """() => {
    const { across } = viewer.layouts;
    const turned = ({ x, y, w, h }) => (across ? { x: y, y: x, w: h, h: w } : { x, y, w, h });
    const rect = ([item, r]) => ({ id: item.id, parent: item.parent.id, ...turned(r) });
    const ends = (end) => end && end.id;
    return { boxes: [...viewer.scene.boxes].map(rect), frames: [...viewer.scene.frames].map(rect),
        edges: [...viewer.scene.edges.values()].map((edge) => ({ lane: edge.lane, points: edge.points.map(turned),
            scope: edge.scope.id, ends: edge.ends.map(ends) })) };
}"""


def check_scene(scene: dict[str, Any]) -> None:
    places = {place["id"]: place for place in scene["boxes"] + scene["frames"]}
    for one, other in product(places.values(), repeat=2):
        if one["id"] < other["id"] and one["parent"] == other["parent"]:
            apart = (
                one["x"] + one["w"] <= other["x"] + 0.01
                or other["x"] + other["w"] <= one["x"] + 0.01
                or one["y"] + one["h"] <= other["y"] + 0.01
                or other["y"] + other["h"] <= one["y"] + 0.01
            )
            assert apart, (one, other)
    for place in places.values():
        around = places.get(place["parent"])
        if around is not None:
            assert around["x"] <= place["x"]
            assert around["y"] <= place["y"]
            assert place["x"] + place["w"] <= around["x"] + around["w"] + 0.01
            assert place["y"] + place["h"] <= around["y"] + around["h"] + 0.01
    open_scopes = {frame["id"] for frame in scene["frames"]}
    for edge in scene["edges"]:
        border = places.get(edge["scope"])
        for last, end in enumerate(edge["ends"]):
            at = edge["points"][-last]
            place = places[end] if end is not None else border
            lower = (last == 0) != (end is None)  # a line leaves a box below and enters a scope from above
            assert at["y"] == pytest.approx(place["y"] + (place["h"] if lower else 0), abs=0.1)
            assert place["x"] - 0.1 <= at["x"] <= place["x"] + place["w"] + 0.1
            if end in open_scopes:  # and goes on inside where it came to the border
                inside = [one["points"][last - 1] for one in scene["edges"] if one["scope"] == end]
                assert any(abs(one["x"] - at["x"]) + abs(one["y"] - at["y"]) < 0.2 for one in inside)


def transformer(blocks: int) -> Graph:
    """Blocks with a residual connection each, and a mask that all of them use."""
    build = StreamBuilder("Transformer")
    x, mask = build.tensor((1, 16, 8)), build.tensor((16, 16), dtype="bool")
    with build.call("", "Transformer", [x, mask]) as net:
        for i in range(blocks):
            with build.call(f"h.{i}", "Block", [x, mask]) as block:
                h = build.op(f"h.{i}.attn", "Attention", [x, mask], (1, 16, 8), weight=(8, 8))
                x = build.op(None, "add", [x, h], (1, 16, 8))
                block.outputs = [x]
        net.outputs = [x]
    return recorder.assemble(build.stream)


def test_nothing_overlaps_after_opening_and_closing(show: Show) -> None:
    with show(transformer(12), depth=1) as page:
        check_scene(page.evaluate(SCENE))
        for number, opened in ((3, True), (5, True), (3, False)):
            page.evaluate("([n, open]) => viewer.setOpen([viewer.model.scopes[n]], open)", [number, opened])
            still(page)
            check_scene(page.evaluate(SCENE))


def test_a_flat_graph_of_long_edges_is_laid_out_too(show: Show) -> None:
    build = StreamBuilder("UNet")
    x = build.tensor((1, 8))
    down = []
    for _ in range(300):
        x = build.op(None, "down", [x], (1, 8))
        down.append(x)
    for skipped in reversed(down):
        x = build.op(None, "up", [x, skipped], (1, 8))
    with show(recorder.assemble(build.stream)) as page:
        scene = page.evaluate(SCENE)
        print(f"600 nodes with skips over all of them: open after {page.evaluate(READY)} ms")
    check_scene(scene)


READY = "() => document.documentElement.dataset.ready"


OPEN_ALL = """async () => {
    const start = performance.now();
    await viewer.openAll();
    viewer.drawing.stop?.();
    document.body.offsetHeight;
    return Math.round(performance.now() - start);
}"""


def test_how_long_5000_nodes_take(show: Show) -> None:
    for name, graph in (("50 blocks of 100", chain(5000, blocks=50)), ("one block of 5,000", chain(5000))):
        with show(graph, fold=False) as page:
            first = page.evaluate(READY)
            everything = page.evaluate(OPEN_ALL)
            print(f"5,000 nodes, {name}: open after {first} ms; all scopes opened in {everything} ms")
            assert len(boxes(page)) == 5000
