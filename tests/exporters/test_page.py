"""The interactive page as a reader has it: in a real browser, by mouse and keys."""

from collections.abc import Callable
from typing import Any

import pytest
from support.browser import Show, boxes, item, names, still

import recorder
from recorder import Graph, Node, Scope, Value
from recorder.testing import StreamBuilder, chain, sample_graphs

# Open and close


def test_it_opens_with_everything_that_fits(show: Show) -> None:
    graph = sample_graphs()["residual"]
    with show(graph) as page:
        assert page.title() == "Residual"
        assert page.locator("#title").inner_text() == "Residual"
        assert boxes(page) == [node.name for node in graph.nodes]
        assert names(page, ".frame") == [scope.name for scope in graph.scopes]
        assert [text for text in page.locator(".shape").all_text_contents() if text != "1×8×32×32"] == []
        assert page.locator("#counts").inner_text() == "6 nodes · 3 of 3 scopes open"


def test_a_large_one_opens_with_what_stays_readable(show: Show) -> None:
    with show(chain(400, blocks=20)) as page:
        assert boxes(page) == [f"blocks.{i}" for i in range(20)]
    with show(chain(400, blocks=20), depth=0) as page:
        assert boxes(page) == ["Chain"]
    with show(chain(400, blocks=20), depth=2, fold=False) as page:
        assert len(boxes(page)) == 400


def test_scopes_open_and_close_in_place(show: Show) -> None:
    with show(chain(400, blocks=20)) as page:
        before = item(page, "blocks.2").bounding_box()
        item(page, "blocks.2").dblclick()
        inside = [f"blocks.2.{n}" for n in range(20)]
        assert boxes(page) == ["blocks.0", "blocks.1", *inside, *(f"blocks.{i}" for i in range(3, 20))]
        frame = item(page, "blocks.2").bounding_box()
        assert frame["y"] == pytest.approx(before["y"], abs=2)
        assert frame["x"] + frame["width"] / 2 == pytest.approx(before["x"] + before["width"] / 2, abs=3)
        page.locator(".title", has_text="blocks.2").click()
        assert boxes(page) == [f"blocks.{i}" for i in range(20)]
        after = item(page, "blocks.2").bounding_box()
        assert (after["x"], after["y"]) == pytest.approx((before["x"], before["y"]), abs=3)


def test_what_is_opened_stays_where_it_was_though_all_around_it_moves(show: Show) -> None:
    with show(sample_graphs()["branching"], depth=1) as page:
        for name in ("branches.0", "branches.2", "branches.1"):
            before = item(page, name).bounding_box()
            page.evaluate("name => viewer.toggle(viewer.model.scopes.find(one => one.name === name))", name)
            still(page)
            after = item(page, name).bounding_box()
            assert after["y"] == pytest.approx(before["y"], abs=1)
            # A closed scope looks like a pile, three pixels wider than it is.
            assert after["x"] + after["width"] / 2 == pytest.approx(before["x"] + before["width"] / 2, abs=2.5)
            assert after["height"] > 2 * before["height"]


def test_things_move_on_the_way_and_not_for_those_who_want_no_movement(show: Show) -> None:
    count = "() => { let n = 0; const set = viewer.camera.set; viewer.camera.set = function (view) { n += 1; "
    count += "set.call(this, view); }; viewer.toggle(viewer.model.scopes[1]); return new Promise(done => "
    count += "setTimeout(() => done(n), 600)); }"
    with show(chain(60, blocks=6)) as page:
        assert page.evaluate(count) > 3
    with show(chain(60, blocks=6), context={"reduced_motion": "reduce"}) as page:
        assert page.evaluate(count) == 1


def test_what_failed_is_in_sight(show: Show) -> None:
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


def called() -> Graph:
    """One call, whose names, order and arguments are those of the call."""

    def tensor(name: str, role: Any = "activation") -> Value:
        return Value(name, (2,), "float32", "cpu", role=role)

    mask, ids, weight, y, z = (
        tensor("mask", "input"),
        tensor("ids", "input"),
        tensor("w", "parameter"),
        *map(tensor, "yz"),
    )
    net = Scope("", 0, "Net", name="Net", inputs=(mask, ids), outputs=(z, y, z), meta={"arguments": {"use_cache": 1}})
    net.input_names, net.output_names = ("attention_mask", "ids"), ("logits", "past.0", "again")
    fc = Node("fc", "module", "Linear", "", "fc", 0, net, (ids, ids, weight), (y,), {}, {"arguments": {"mode": "eval"}})
    fc.input_names, fc.output_names = ("query", "key", "w"), ("",)
    nodes = [fc, Node("relu", "function", "relu", "torch.relu", scope=net, inputs=(y,), outputs=(z,))]
    ends = {"inputs": [ids], "outputs": [z, y, z], "output_names": ["logits", "past.0", "again"]}
    return Graph(nodes, **ends, initializers=[weight], scopes=[net])  # type: ignore[arg-type]


def test_what_is_returned_is_named_and_drawn_once(show: Show) -> None:
    with show(called()) as page:
        shown = page.locator(".box.look-output text.title, .box.look-output text").all_text_contents()
        assert [text for text in shown if text != "2"] == ["logits, again", "past.0"]


def test_the_panel_has_calls_in_their_order_and_under_their_names(show: Show) -> None:
    with show(called()) as page:
        panel = page.locator("#panel")

        def told(name: str) -> list[str]:
            page.evaluate("name => viewer.reveal(viewer.model.items.find(one => one.name === name))", name)
            return [text.replace("\n", " ") for text in panel.locator(".tensor").all_inner_texts()]

        assert told("Net") == [
            "attention_mask: 2 float32 mask", "2 float32 ids from ids", "logits: 2 float32 z to z",
            "past.0: 2 float32 y to relu, y", "again: 2 float32 z to z",
        ]  # fmt: skip
        assert panel.locator("tr", has_text="use_cache").inner_text().split() == ["use_cache", "1"]
        assert told("fc")[:2] == ["query: 2 float32 ids from ids", "key: 2 float32 ids from ids"]
        assert panel.locator("tr", has_text="mode").inner_text().split() == ["mode", "eval"]


# Find


def test_search_by_name_type_and_shape(show: Show) -> None:
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


def test_what_is_found_is_opened_and_picked(show: Show) -> None:
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


def test_what_is_touched_in_the_list_is_seen_in_a_narrow_window(show: Show) -> None:
    with show(chain(400, blocks=20)) as page:
        page.set_viewport_size({"width": 390, "height": 800})
        page.fill("#search", "blocks.17.1")
        page.locator("#found li").nth(1).click()
        still(page)
        assert names(page, ".box.picked") == ["blocks.17.10"]
        assert page.locator("#found").is_hidden()
        page.locator("#search").press("Enter")  # keys walk on, and what they pick is above the panel and below the list
        page.locator("#search").focus()
        page.keyboard.press("ArrowDown")
        page.fill("#search", "blocks.16.1")
        page.keyboard.press("Enter")
        still(page)
        found, panel = page.locator("#found").bounding_box(), page.locator("#panel").bounding_box()
        assert found["y"] + found["height"] < panel["y"] - 60


# Details


def test_details_of_a_node(show: Show) -> None:
    graph = sample_graphs()["residual"]
    node = graph.nodes[0]
    node.attributes |= {"kernel_size": [3, 3], "padding_mode": "zeros"}
    node.backward_ns = 2_500_000
    graph.metrics[node] = {"parameters": 576, "flops": 1_179_648, "activation_bytes": 32768}
    node.meta["source"] = {"file": "net.py", "line": 12}
    with show(graph) as page:
        item(page, "layer1.conv").click()
        panel = page.locator("#panel").inner_text()
        for told in (
            "Conv2d", "layer1.conv", "torch.nn.Conv2d", "forward time\t1 µs", "backward time\t2.50 ms",
            "parameters\t576", "FLOPs\t1.18 M (1,179,648)", "size of results\t32.8 kB (32,768)", "kernel_size\t[3,3]",
            "padding_mode\tzeros", "net.py", "1×8×32×32 float32", "layer1.conv.weight", "8×8×3×3",
        ):  # fmt: skip
            assert told in panel
        page.locator("#panel").get_by_role("button", name="layer1.bn").click()
        assert page.locator("#panel h2").inner_text() == "BatchNorm2d"
        page.locator("#panel nav button").last.click()
        assert page.locator("#panel h2").inner_text() == "Block"
        page.keyboard.press("Escape")
        assert page.locator("#panel").is_hidden()


def test_details_of_what_flows_along_a_line(show: Show) -> None:
    with show(sample_graphs()["residual"]) as page:
        edge = page.locator(".edge[data-values]").nth(2)
        edge.locator(".hit").dispatch_event("click")
        panel = page.locator("#panel").inner_text()
        assert "shape\t1×8×32×32" in panel
        assert "dtype\tfloat32" in panel
        assert " → " in panel


# Paths


def test_what_leads_to_a_node_and_what_follows_from_it(show: Show) -> None:
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


def test_a_closed_scope_is_no_short_cut(show: Show) -> None:
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


# Keys, and looking around


def test_everything_goes_by_keys(show: Show) -> None:
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


def test_wheel_zooms_at_the_pointer_drag_moves_and_the_map_goes_there(show: Show) -> None:
    with show(chain(40, blocks=4), depth=2) as page:
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
