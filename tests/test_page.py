"""The interactive page as a reader has it: in a real browser, by mouse and keys."""

import colorsys
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from browser import launched, opened, still
from PIL import Image

import recorder
from recorder import Graph, Node
from recorder.display import mimebundle
from recorder.testing import HOSTILE_NAMES, StreamBuilder, chain, sample_graphs
from recorder_exporters.html import HtmlExporter
from recorder_exporters.look import STYLES

Open = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as chromium:
        yield chromium


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Open:
    """Opens the page of a graph: ``with show(graph, **options) as page``. ``context`` is for the browser."""

    def open_page(graph: Graph, context: dict[str, Any] | None = None, **options: Any) -> AbstractContextManager[Any]:
        path = tmp_path / "net.html"
        recorder.save(graph, path, **options)
        return opened(browser, path, **(context or {}))

    return open_page


def names(page: Any, selector: str) -> list[str]:
    """The names of what is drawn, as they stand in the document."""
    return page.eval_on_selector_all(selector, "all => all.map(one => one.dataset.name)")


def item(page: Any, name: str) -> Any:
    """The box or, of an open scope, the frame with a name; the innermost one."""
    number = page.evaluate("name => viewer.model.items.findLast(one => one.name === name && one.source.op_type).id", name)
    return page.locator(f".box[data-id='{number}'], .frame[data-id='{number}']").last


def boxes(page: Any) -> list[str]:
    still(page)
    return names(page, ".box:is(.node, .scope)")


# Open and close


def test_it_opens_with_everything_that_fits(show: Open) -> None:
    graph = sample_graphs()["residual"]
    with show(graph) as page:
        assert page.title() == "Residual"
        assert page.locator("#title").inner_text() == "Residual"
        assert boxes(page) == [node.name for node in graph.nodes]
        assert names(page, ".frame") == [scope.name for scope in graph.scopes]
        assert [text for text in page.locator(".shape").all_text_contents() if text != "1×8×32×32"] == []
        assert page.locator("#counts").inner_text() == "6 nodes · 3 of 3 scopes open"


def test_a_large_one_opens_with_what_stays_readable(show: Open) -> None:
    with show(chain(400, blocks=20)) as page:
        assert boxes(page) == [f"blocks.{i}" for i in range(20)]
    with show(chain(400, blocks=20), depth=0) as page:
        assert boxes(page) == ["Chain"]
    with show(chain(400, blocks=20), depth=2) as page:
        assert len(boxes(page)) == 400


def test_scopes_open_and_close_in_place(show: Open) -> None:
    with show(chain(400, blocks=20)) as page:
        before = item(page, "blocks.2").bounding_box()
        item(page, "blocks.2").dblclick()
        assert boxes(page) == sum(
            ([f"blocks.2.{n}" for n in range(20)] if i == 2 else [f"blocks.{i}"] for i in range(20)), []
        )
        frame = item(page, "blocks.2").bounding_box()
        assert frame["y"] == pytest.approx(before["y"], abs=2)
        assert frame["x"] + frame["width"] / 2 == pytest.approx(before["x"] + before["width"] / 2, abs=3)
        page.locator(".title", has_text="blocks.2").click()
        assert boxes(page) == [f"blocks.{i}" for i in range(20)]
        after = item(page, "blocks.2").bounding_box()
        assert (after["x"], after["y"]) == pytest.approx((before["x"], before["y"]), abs=3)


def test_things_move_on_the_way_and_not_for_those_who_want_no_movement(show: Open) -> None:
    count = "() => { let n = 0; const set = viewer.camera.set; viewer.camera.set = function (view) { n += 1; "
    count += "set.call(this, view); }; viewer.toggle(viewer.model.scopes[1]); return new Promise(done => "
    count += "setTimeout(() => done(n), 600)); }"
    with show(chain(60, blocks=6)) as page:
        assert page.evaluate(count) > 3
    with show(chain(60, blocks=6), context={"reduced_motion": "reduce"}) as page:
        assert page.evaluate(count) == 1


def test_what_failed_is_in_sight(show: Open) -> None:
    build = StreamBuilder("Net")
    x = build.tensor((1, 8))
    with build.call("", "Net", [x]) as net:
        for i in range(120):
            with build.call(f"blocks.{i}", "Block", [x]) as call:
                x = build.op(f"blocks.{i}.fc", "Linear", [x], (1, 8), error="ValueError: no" if i == 60 else None)
                call.outputs = [x]
        net.outputs = [x]
    with show(recorder.assemble(build.stream)) as page:
        assert "blocks.60.fc" in boxes(page)
        assert page.locator(".box.look-error text").all_text_contents() == ["Linear", "fc", "ValueError: no"]
        item(page, "blocks.60.fc").click()
        assert page.locator("#panel .error").inner_text() == "ValueError: no"


# Where things are


@pytest.mark.parametrize("name", sorted(sample_graphs()))
def test_nothing_overlaps_and_lines_end_at_what_they_join(show: Open, name: str) -> None:
    graph = sample_graphs()[name]
    with show(graph, depth=9) as page:
        scene = page.evaluate(SCENE)
    check_scene(scene)
    assert len(scene["boxes"]) >= len(graph.nodes)


def test_the_same_for_a_net_with_branches_lanes_and_shared_tensors(show: Open) -> None:
    with show(transformer(30), depth=9) as page:
        scene = page.evaluate(SCENE)
    check_scene(scene)
    assert sum(edge["lane"] for edge in scene["edges"]) >= 25


SCENE = """() => {
    const rect = ([item, r]) => ({ id: item.id, parent: item.parent.id, ...r });
    const ends = (end) => end && end.id;
    return { boxes: [...viewer.scene.boxes].map(rect), frames: [...viewer.scene.frames].map(rect),
        edges: [...viewer.scene.edges.values()].map((edge) => ({ lane: edge.lane, points: edge.points,
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
    for edge in scene["edges"]:
        border = places.get(edge["scope"])
        for at, end in zip((edge["points"][0], edge["points"][-1]), edge["ends"], strict=True):
            place = places[end] if end is not None else border
            leaves = at is edge["points"][0]
            inward = end is None
            y = place["y"] + (place["h"] if leaves != inward else 0)
            assert at["y"] == pytest.approx(y, abs=0.1)
            assert place["x"] - 0.1 <= at["x"] <= place["x"] + place["w"] + 0.1


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


def test_a_flat_graph_of_long_edges_is_laid_out_too(show: Open) -> None:
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


# Find


def test_search_by_name_type_and_shape(show: Open) -> None:
    with show(sample_graphs()["branching"], depth=1) as page:
        assert boxes(page) == ["branches.0", "branches.1", "branches.2", "cat"]

        def found(query: str) -> list[str]:
            page.fill("#search", query)
            return page.locator("#found li:not(.note) .name").all_inner_texts()

        assert found("branches.1.fc") == ["branches.1.fc"]
        assert found("TANH") == [f"branches.{i}.act" for i in range(3)]
        assert found("1x12") == ["cat", "cat:0"]
        assert found("[1, 12] cat") == ["cat", "cat:0"]
        assert found("linear 4") == [f"branches.{i}.fc" for i in range(3)]
        assert found("linear 5") == []
        assert page.locator("#found").inner_text() == "nothing found"
        assert found("models.Branch ranches") == [f"branches.{i}" for i in range(3)]


def test_what_is_found_is_opened_and_picked(show: Open) -> None:
    with show(chain(400, blocks=20)) as page:
        page.keyboard.press("/")
        page.keyboard.type("blocks.17.1")
        assert names(page, ".box.found") == ["blocks.17"]
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        still(page)
        assert names(page, ".box.picked") == ["blocks.17.10"]
        assert page.locator("#panel .name").first.inner_text() == "blocks.17.10"
        place = item(page, "blocks.17.10").bounding_box()
        assert 0 < place["x"] < 1280
        assert 40 < place["y"] < 800
        page.keyboard.press("Escape")
        assert page.locator("#found").is_hidden()
        assert page.locator(".found").count() == 0


# Details


def test_details_of_a_node(show: Open) -> None:
    graph = sample_graphs()["residual"]
    node = graph.nodes[0]
    node.attributes |= {"kernel_size": [3, 3], "padding_mode": "zeros"}
    node.backward_ns = 2_500_000
    node.meta["metrics"] = {"parameters": 576, "flops": 1_179_648, "activation_bytes": 32768}
    node.meta["source"] = {"file": "net.py", "line": 12}
    with show(graph) as page:
        item(page, "layer1.conv").click()
        panel = page.locator("#panel").inner_text()
        for told in (
            "Conv2d", "layer1.conv", "torch.nn.Conv2d", "forward time\t1 µs", "backward time\t2.5 ms",
            "parameters\t576", "flops\t1.18 M (1,179,648)", "activation\t32 KiB", "kernel_size\t[3,3]",
            "padding_mode\tzeros", "net.py", "1×8×32×32 float32", "layer1.conv.weight", "8×8×3×3",
        ):  # fmt: skip
            assert told in panel
        page.locator("#panel").get_by_role("button", name="layer1.bn").click()
        assert page.locator("#panel h2").inner_text() == "BatchNorm2d"
        page.locator("#panel nav button").last.click()
        assert page.locator("#panel h2").inner_text() == "Block"
        page.keyboard.press("Escape")
        assert page.locator("#panel").is_hidden()


def test_details_of_what_flows_along_a_line(show: Open) -> None:
    with show(sample_graphs()["residual"]) as page:
        edge = page.locator(".edge[data-values]").nth(2)
        edge.locator(".hit").dispatch_event("click")
        panel = page.locator("#panel").inner_text()
        assert "shape\t1×8×32×32" in panel
        assert "dtype\tfloat32" in panel
        assert " → " in panel


# Paths


def test_what_leads_to_a_node_and_what_follows_from_it(show: Open) -> None:
    graph = sample_graphs()["branching"]
    node = next(node for node in graph.nodes if node.name == "branches.1.fc")

    def closure(node: Node, step: Callable[[Node], list[Node]]) -> set[str]:
        return {node.name}.union(*(closure(other, step) for other in step(node)))

    with show(graph) as page:
        item(page, node.name).click()
        page.keyboard.press("d")
        assert set(names(page, ".box.node.lit")) == closure(node, Node.successors)
        page.keyboard.press("u")
        assert set(names(page, ".box.node.lit")) == closure(node, Node.predecessors)
        page.keyboard.press("p")
        both = closure(node, Node.predecessors) | closure(node, Node.successors)
        assert set(names(page, ".box.node.lit")) == both
        assert float(item(page, "branches.0.fc").evaluate("one => getComputedStyle(one).opacity")) < 0.5
        item(page, "cat").click(modifiers=["Shift"])
        assert set(names(page, ".box.node.lit")) == {"branches.1.fc", "branches.1.act", "cat"}
        page.keyboard.press("Escape")
        assert page.locator(".lit").count() == 0


def test_a_closed_scope_is_no_short_cut(show: Open) -> None:
    """Two chains through one scope that have nothing to do with each other."""
    build = StreamBuilder("Net")
    x, y = build.tensor((1,)), build.tensor((2,))
    with build.call("", "Net", [x, y]) as net:
        a, b = build.op(None, "first", [x], (1,)), build.op(None, "second", [y], (2,))
        with build.call("both", "Both", [a, b]) as both:
            a, b = build.op("both.a", "A", [a], (1,)), build.op("both.b", "B", [b], (2,))
            both.outputs = [a, b]
        net.outputs = [build.op(None, "third", [a], (1,)), build.op(None, "fourth", [b], (2,))]
    with show(recorder.assemble(build.stream), depth=1) as page:
        item(page, "first").click()
        page.keyboard.press("d")
        assert names(page, ".box:is(.node, .scope).lit") == ["first", "both", "third"]


# Colours


def test_colours_by_any_number_with_its_scale(show: Open) -> None:
    graph = chain(8)
    for i, node in enumerate(graph.nodes):
        node.meta["metrics"] = {"flops": 10**i}
        node.meta["load"] = {"share": i / 8}
    graph.nodes[3].meta["load"]["share"] = float("nan")
    with show(graph) as page:
        offered = page.locator("#colour option").all_inner_texts()
        assert offered == ["kind", "forward time", "flops", "share"]
        plain = fills(page)
        page.select_option("#colour", label="flops")
        coloured = fills(page)
        assert len(set(plain)) == 1
        assert len(set(coloured)) == 8
        light = [lightness(colour) for colour in coloured]
        assert light == sorted(light, reverse=True)
        assert page.locator("#legend").inner_text().split("\n") == ["flops, logarithmic", "1", "10 M"]
        page.select_option("#colour", label="share")
        assert "NaN or Inf" in page.locator("#legend").inner_text()
        assert len(set(fills(page))) == 8
        page.select_option("#colour", label="kind")
        assert fills(page) == plain


def fills(page: Any) -> list[str]:
    return page.eval_on_selector_all(".box.node .body", "all => all.map(one => getComputedStyle(one).fill)")


def rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    return red, green, blue


def lightness(colour: str) -> float:
    return colorsys.rgb_to_hls(*rgb(colour))[1]


def contrast(one: str, other: str) -> float:
    """By WCAG 2.2: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

    def luminance(colour: str) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(show: Open, scheme: str) -> None:
    graph = chain(40, blocks=4)
    for i, node in enumerate(graph.nodes):
        node.meta["metrics"] = {"flops": i}
    looks = "looks => looks.map(look => { const box = document.querySelector('.box.node'); box.className.baseVal = "
    looks += "'box node look-' + look; return [getComputedStyle(box.querySelector('.body')).fill, "
    looks += "getComputedStyle(box.querySelector('text')).fill]; })"
    with show(graph, context={"color_scheme": scheme}) as page:
        pairs = page.evaluate(looks, [look for look in STYLES if look != "gradient"])
        assert len({fill for fill, _ in pairs}) >= len(pairs) - 1
        page.select_option("#colour", label="flops")
        pairs += page.eval_on_selector_all(
            ".box.node.measured",
            "all => all.map(one => [...one.querySelectorAll('.body, text')].map(part => getComputedStyle(part).fill))",
        )
        pairs.append(page.evaluate("() => [getComputedStyle(document.body).backgroundColor, "
                                   "getComputedStyle(document.body).color]"))  # fmt: skip
        for fill, text, *_ in pairs:
            assert contrast(fill, text) > 4.5, (fill, text)
        back = lightness(pairs[-1][0])
        assert back < 0.2 if scheme == "dark" else back > 0.9
        page.keyboard.press("t")
        turned = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (lightness(turned) < 0.2) is (scheme == "light")


def test_gradients_are_drawn_where_they_came_back(show: Open) -> None:
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    with recorder.Recorder(net, gradients="stats") as r:
        net(torch.ones(1, 4)).sum().backward()
    with show(r.graph, backward=True) as page:
        assert page.locator("#backward").is_checked()
        drawn = page.eval_on_selector_all(
            ".edge:has(.gradient)", "all => all.map(one => viewer.model.values[one.dataset.values].name)"
        )
        assert set(drawn) == {"2:0"}
        display = "() => getComputedStyle(document.querySelector('.gradient')).display"
        assert page.evaluate(display) == "inline"
        page.keyboard.press("b")
        assert page.evaluate(display) == "none"
        assert page.locator("#colour option").all_inner_texts() == [
            "kind", "forward time", "backward time", "gradient norm"
        ]  # fmt: skip


# Keys, and looking around


def test_everything_goes_by_keys(show: Open) -> None:
    with show(chain(40, blocks=4), depth=1) as page:
        page.locator("#canvas").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        still(page)
        assert names(page, ".picked") == ["blocks.0"]
        page.keyboard.press("Enter")
        assert len(boxes(page)) == 13
        page.keyboard.press("c")
        assert len(boxes(page)) == 4
        page.keyboard.press("e")
        assert len(boxes(page)) == 40
        page.keyboard.press("s")
        assert not page.locator(".shape").first.is_visible()
        assert page.locator("#minimap").is_visible()
        page.keyboard.press("m")
        assert not page.locator("#minimap").is_visible()
        page.keyboard.press("?")
        assert "search" in page.locator("#help").inner_text()
        page.keyboard.press("Escape")
        assert page.locator("#help").is_hidden()
        before = page.evaluate("() => viewer.camera.k")
        page.keyboard.press("+")
        assert page.evaluate("() => viewer.camera.k") > before


def test_wheel_zooms_at_the_pointer_drag_moves_and_the_map_goes_there(show: Open) -> None:
    with show(chain(40, blocks=4)) as page:
        box = item(page, "blocks.0.3")
        place = box.bounding_box()
        page.mouse.move(place["x"], place["y"])
        page.mouse.wheel(0, -300)
        nearer = box.bounding_box()
        assert nearer["width"] > 1.3 * place["width"]
        assert (nearer["x"], nearer["y"]) == pytest.approx((place["x"], place["y"]), abs=1.5)
        page.mouse.move(200, 400)
        page.mouse.down()
        page.mouse.move(260, 370, steps=4)
        page.mouse.up()
        moved = box.bounding_box()
        assert (moved["x"] - nearer["x"], moved["y"] - nearer["y"]) == pytest.approx((60, -30), abs=1.5)
        assert page.locator(".picked").count() == 0
        minimap = page.locator("#minimap").bounding_box()
        page.mouse.click(minimap["x"] + minimap["width"] / 2, minimap["y"] + minimap["height"] - 8)
        assert item(page, "blocks.3.9").bounding_box()["y"] < 800


# Save


def test_it_saves_svg_and_png_and_the_graph(show: Open, tmp_path: Path) -> None:
    graph = sample_graphs()["residual"]
    with show(graph, context={"accept_downloads": True}) as page:
        saved = {}
        for kind in ("svg", "png", "json"):
            with page.expect_download() as download:
                page.select_option("#save", kind)
            assert download.value.suggested_filename == f"Residual.{kind}"
            saved[kind] = tmp_path / f"saved.{kind}"
            download.value.save_as(saved[kind])
    root = ElementTree.parse(saved["svg"]).getroot()
    parts = {part.tag.rpartition("}")[2] for part in root.iter()}
    assert parts <= {"svg", "g", "title", "rect", "text", "tspan", "path"}
    texts = ["".join(part.itertext()) for part in root.iter("{http://www.w3.org/2000/svg}text")]
    for text in ("Residual", "Conv2d", "add", "1×8×32×32", "module call"):
        assert any(text in one for one in texts)
    size = (float(root.attrib["width"]), float(root.attrib["height"]))
    with Image.open(saved["png"]) as picture:
        assert picture.size == pytest.approx([2 * side for side in size], abs=2)
        assert len(picture.convert("RGB").getcolors(10**6)) > 20
    assert recorder.loads(saved["json"].read_bytes()) == graph


@pytest.mark.parametrize("name", ["\x00\x1b\u202e]]>", *HOSTILE_NAMES[:9]], ids=ascii)
def test_a_saved_picture_is_whole_whatever_the_names(show: Open, name: str) -> None:
    build = StreamBuilder(name)
    x = build.tensor((1,))
    with build.call("", name, [x]) as net:
        net.outputs = [build.op("leaf", name, [x], (1,))]
    with show(recorder.assemble(build.stream)) as page:
        root = ElementTree.fromstring(page.evaluate("() => viewer.picture()"))
    assert not any(key.startswith("on") for part in root.iter() for key in part.attrib)


# Names that mean harm


def test_hostile_names_are_names(show: Open) -> None:
    graph = sample_graphs()["hostile"]
    with show(graph, depth=9) as page:
        assert boxes(page) == [node.name for node in graph.nodes]
        assert names(page, ".frame") == [scope.name for scope in graph.scopes]
        assert page.evaluate("() => document.scripts.length") == 4
        assert page.evaluate("() => document.querySelectorAll('b, a, iframe, img').length") == 0
        titles = page.eval_on_selector_all(".box.node tspan:first-child", "all => all.map(one => one.textContent)")
        for name in ('"', "<b>bold</b>", "</script><script>alert(1)</script>", "&amp;", "é漢字😀", "__proto__", "␠"):
            assert name in titles
        shown = page.locator("#panel .name").first
        for node in graph.nodes:
            page.evaluate("id => viewer.pick(viewer.model.nodes[id])", graph.nodes.index(node))
            if node.name.isprintable() and node.name.strip():
                assert shown.text_content() == node.name
        for name in HOSTILE_NAMES:
            page.fill("#search", name)


@pytest.mark.parametrize("name", ["</script><script>document.title = 'bad'</script>", "</title><b>", "<!--<script>"])
def test_markup_anywhere_does_nothing(show: Open, name: str) -> None:
    scope = recorder.Scope(name, 0, name, None, name, name, error=name)
    x = recorder.Value(name, (2, 3), "float32", "cpu", role="input", meta={name: {name: 1}})
    y = recorder.Value(f"{name} y", (2, 3), name, name, grad_fn=name)
    node = Node(name, "module", name, name, name, 0, scope, (x,), (y,), {name: name}, {name: {name: 3}}, error=name)
    graph = Graph([node], inputs=[x], outputs=[y], scopes=[scope], name=name, meta={name: name})
    with show(graph, title=name) as page:
        assert page.title() == name
        assert page.locator("#title").text_content() == name
        item(page, name).click()
        page.select_option("#colour", index=1)
        page.evaluate("() => viewer.reveal(viewer.model.items.at(-1))")
        assert page.evaluate("() => document.scripts.length") == 4
        assert page.locator("b").count() == page.locator("#panel b, #found b").count()
        with page.expect_download() as download:
            page.select_option("#save", "json")
        assert recorder.loads(download.value.path().read_bytes()) == graph


def test_a_script_in_the_page_that_is_not_ours_does_not_run(browser: Any, tmp_path: Path) -> None:
    """The policy holds even if the escaping failed."""
    page = HtmlExporter().export(sample_graphs()["tiny"])
    path = tmp_path / "net.html"
    path.write_text(page.replace("<main>", "<main><script>window.bad = 1</script><img src='https://example.org/x'>"))
    context = browser.new_context()
    tab = context.new_page()
    failed: list[tuple[str, str | None]] = []
    tab.on("requestfailed", lambda request: failed.append((request.url, request.failure)))
    tab.goto(path.as_uri())
    tab.wait_for_selector("html[data-ready]", state="attached")
    assert tab.evaluate("() => window.bad") is None
    assert failed == [("https://example.org/x", "csp")]
    context.close()


# Size, and notebooks


def test_how_long_5000_nodes_take(show: Open) -> None:
    for name, graph in (("50 blocks of 100", chain(5000, blocks=50)), ("one block of 5,000", chain(5000))):
        with show(graph) as page:
            first = page.evaluate(READY)
            everything = page.evaluate("() => { const start = performance.now(); viewer.openAll(); viewer.drawing.stop?.(); "
                                       "document.body.offsetHeight; return Math.round(performance.now() - start); }")  # fmt: skip
            print(f"5,000 nodes, {name}: open after {first} ms; all scopes opened in {everything} ms")
            assert len(boxes(page)) == 5000


def test_a_notebook_shows_the_page_in_a_frame(browser: Any, tmp_path: Path) -> None:
    graph = chain(100, blocks=10)
    shown = mimebundle(graph, repr(graph))
    assert set(shown) == {"text/plain", "text/html"}
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!DOCTYPE html><body>{shown['text/html']}</body>", encoding="utf-8")
    context = browser.new_context()
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text))
    tab.goto(notebook.as_uri())
    frame = tab.frame_locator("iframe")
    frame.locator(".box").first.wait_for()
    assert frame.locator(".box.scope").count() == 10
    frame.locator(".box.scope").nth(3).dblclick()
    frame.locator(".box.node").nth(9).wait_for()
    assert errors == []
    context.close()
