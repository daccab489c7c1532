"""Colours of the interactive page, and the pictures that it saves."""

import colorsys
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from recorder_exporters.drawing.styles import STYLES
from recorder_exporters.drawing.themes import THEMES
from support.browser import Show

import recorder
from recorder.testing import HOSTILE_NAMES, StreamBuilder, chain, sample_graphs

# Colours


def test_colours_by_any_number_with_its_scale(show: Show) -> None:
    graph = chain(8)
    graph.metrics = {node: {"flops": 10**i} for i, node in enumerate(graph.nodes)}
    for i, node in enumerate(graph.nodes):
        node.meta["load"] = {"share": i / 8}
    graph.nodes[3].meta["load"]["share"] = float("nan")
    with show(graph) as page:
        offered = page.locator("#colour option").all_inner_texts()
        assert offered == ["kind", "forward time", "FLOPs", "share"]
        plain = fills(page)
        page.select_option("#colour", label="FLOPs")
        coloured = fills(page)
        assert len(set(plain)) == 1
        assert coloured == drawn_fills(graph, "light")
        light = [lightness(colour) for colour in coloured]
        assert light == sorted(light, reverse=True)
        assert page.locator("#legend").inner_text().split("\n") == ["FLOPs, logarithmic", "1", "10 M", "not known"]
        page.locator(".box.node").nth(6).hover()
        assert page.locator(".box.node title").all_text_contents() == ["blocks.0.6\n1×8\nFLOPs: 1 M"]
        page.select_option("#colour", label="share")
        assert page.locator("#legend").inner_text().split("\n")[1] == "0"
        assert "NaN or Inf" in page.locator("#legend").inner_text()
        theme = THEMES["light"]
        shares = fills(page)
        assert shares[0] == as_rgb(theme.styles["function"].fill)
        assert shares[3] == as_rgb("#1f2328")
        assert shares[7] == as_rgb(theme.ramp[-1])
        page.select_option("#colour", label="FLOPs")
        page.keyboard.press("t")
        assert fills(page) == drawn_fills(graph, "dark")
        page.keyboard.press("t")
        page.select_option("#colour", label="kind")
        assert fills(page) == plain


def drawn_fills(graph: recorder.Graph, theme: str) -> list[str]:
    """Those of the nodes in DOT, coloured by FLOPs."""
    dot = str(recorder.export(graph, "dot", colour_by="flops", theme=theme, depth=None, fold=False))
    found = dict(re.findall(r"^ *(n\d+) \[.*?fillcolor=\"(#[0-9a-f]{6})\"", dot, re.MULTILINE | re.DOTALL))
    return [as_rgb(found[f"n{i}"]) for i in range(len(found))]


def as_rgb(colour: str) -> str:
    """As a browser says it."""
    return f"rgb({', '.join(map(str, rgb255(colour)))})"


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
def test_text_can_be_read_in_light_and_in_dark(show: Show, scheme: str) -> None:
    graph = chain(40, blocks=4)
    graph.metrics = {node: {"flops": i} for i, node in enumerate(graph.nodes)}
    looks = "looks => looks.map(look => { const box = document.querySelector('.box.node'); box.className.baseVal = "
    looks += "'box node look-' + look; return [getComputedStyle(box.querySelector('.body')).fill, "
    looks += "getComputedStyle(box.querySelector('text')).fill]; })"
    with show(graph, depth=2, context={"color_scheme": scheme}) as page:
        pairs = page.evaluate(looks, [look for look in STYLES if look != "gradient"])
        assert len({fill for fill, _ in pairs}) >= len(pairs) - 1
        page.select_option("#colour", label="FLOPs")
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


def test_gradients_are_drawn_where_they_came_back(show: Show) -> None:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.fc = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.fc(self.frozen(x))
            largest, where = h.max(1, keepdim=True)
            return largest + h.gather(1, where)

    net = Net()
    with recorder.Recorder(net, gradients="stats") as r:
        net(torch.ones(1, 4)).sum().backward()
    with show(r.graph, backward=True) as page:
        assert page.locator("#backward").is_checked()
        drawn = page.eval_on_selector_all(
            ".edge:has(.gradient)", "all => all.map(one => viewer.model.values[one.dataset.values].name)"
        )
        # Neither what the frozen layer made, nor the indices, though both ends of their line were reached.
        assert {name for name in drawn if not name.startswith("add")} == {"fc:0", "max:0", "gather:0"}
        display = "() => getComputedStyle(document.querySelector('.gradient')).display"
        assert page.evaluate(display) == "inline"
        page.keyboard.press("b")
        assert page.evaluate(display) == "none"
        offered = page.locator("#colour option").all_inner_texts()
        assert offered[:4] == ["kind", "forward time", "backward time", "gradient norm"]
        assert {"parameters", "FLOPs", "size of results"} < set(offered)
        assert len(offered) == len(set(offered))


# Save


def test_it_saves_svg_and_png_and_the_graph(show: Show, tmp_path: Path) -> None:
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
        counts = {colour: count for count, colour in picture.convert("RGB").getcolors(10**6)}
    for look in ("module", "function"):  # the legend has a swatch of each, the boxes have most of it
        assert counts[rgb255(STYLES[look].fill)] > 20_000
    assert counts.get((0, 0, 0), 0) < 1_000  # what lost its colour
    assert recorder.loads(saved["json"].read_bytes()) == graph


def rgb255(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def test_a_saved_picture_has_everything_where_it_shows(show: Show) -> None:
    """The page, and the picture that it saves, shown by the same browser."""
    graph = sample_graphs()["residual"]
    for node in graph.nodes:
        node.backward_ns = 1
        node.meta["backward"] = {}
        for value in node.outputs:
            value.requires_grad = True
    with show(graph, backward=True) as page:
        assert page.locator(".gradient").count() > 4
        page.evaluate("() => viewer.camera.set({ x: 16, y: 60, k: 1 })")
        top = page.locator("#canvas").bounding_box()["y"]
        drawn = page.locator(".box .body, .shape, .line, .gradient").evaluate_all(WHERE)
        picture = page.evaluate("() => viewer.picture()")
        page.evaluate(
            "text => { const svg = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;"
            " svg.id = 'copy'; document.body.replaceChildren(svg); svg.style.position = 'absolute';"
            " svg.style.left = '0'; svg.style.top = '0'; }",
            picture,
        )
        saved = page.locator("#copy rect, #copy path, #copy text").evaluate_all(WHERE)
    for x, y, *size in drawn:
        place = [x, y - top, *size]
        assert any(all(abs(a - b) < 2 for a, b in zip(place, other, strict=True)) for other in saved), place


WHERE = """all => all.map(one => {
    const rect = one.getBoundingClientRect();
    return [rect.x, rect.y, rect.width, rect.height];
})"""


@pytest.mark.parametrize("name", ["\x00\x1b\u202e]]>", *HOSTILE_NAMES[:9]], ids=ascii)
def test_a_saved_picture_is_whole_whatever_the_names(show: Show, name: str) -> None:
    build = StreamBuilder(name)
    x = build.tensor((1,))
    with build.call("", name, [x]) as net:
        net.outputs = [build.op("leaf", name, [x], (1,))]
    with show(recorder.assemble(build.stream)) as page:
        root = ElementTree.fromstring(page.evaluate("() => viewer.picture()"))
    assert not any(key.startswith("on") for part in root.iter() for key in part.attrib)
