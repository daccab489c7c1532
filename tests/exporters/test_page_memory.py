"""The chart of memory in the page."""

import re

import torch
from support.browser import Show, item
from support.memory import needs_memory
from torch import nn

from recorder import Graph, Recorder
from recorder.testing import chain

pytestmark = needs_memory


def trained(**options: bool) -> Graph:
    net = nn.Sequential(*(nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(4)))
    optimizer = torch.optim.AdamW(net.parameters())
    with Recorder(net, **options) as r:
        net(torch.randn(128, 64)).pow(2).sum().backward()
        optimizer.step()
    return r.graph


def test_memory_over_time_with_its_peak_leads_to_places(show: Show) -> None:
    graph = trained(memory=True)
    report = graph.memory_report()
    with show(graph) as page:
        assert page.locator("#memory").is_hidden()
        page.click("#memory-button")
        said = page.locator("#memory p")
        peak = str(report).splitlines()[0].removeprefix("peak ").replace(", reached in", " in")
        assert said.inner_text() == f"peak {peak}"
        chart = page.locator("#memory svg")
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 1000
        heights = [moment.total for moment in report.timeline]
        line = page.locator("#memory .peak").get_attribute("x1")
        assert heights[int(float(line or -1))] == report.peak_bytes
        # The uppermost area ends at the height of all together, at every moment.
        top = page.locator("#memory .kind-5").last.get_attribute("d") or ""
        upper = [float(y) for y in re.findall(r"L\d+ ([\d.]+)H", top)][: len(heights)]
        assert upper == [round(100 * (1 - height / report.peak_bytes), 2) for height in heights]
        at = next(i for i, moment in enumerate(report.timeline) if moment.place == "2.1" and moment.saved)
        x = box["x"] + (at + 0.5) * box["width"] / len(heights)
        page.mouse.move(x, box["y"] + 50)
        assert " of 2.1: " in said.inner_text()
        assert "kept for backward" in said.inner_text()
        page.mouse.click(x, box["y"] + 50)
        assert page.locator("#panel h2").inner_text() == "GELU"
        assert item(page, "2.1").is_visible()
        page.keyboard.press("y")
        assert page.locator("#memory").is_hidden()


def test_no_chart_where_nothing_was_recorded_of_it(show: Show) -> None:
    for graph in (trained(), chain(3)):
        with show(graph) as page:
            assert page.locator("#memory-button").is_hidden()
            page.keyboard.press("y")
            assert page.locator("#memory").is_hidden()


def test_what_is_kept_colours_the_boxes(show: Show) -> None:
    with show(trained(memory=True), depth=3) as page:
        page.select_option("#colour", label="kept for backward")
        assert page.locator("#legend").inner_text().startswith("kept for backward, logarithmic")
        item(page, "0.1").hover()
        assert "kept for backward: 131 kB" in page.locator(".box.node title").all_text_contents()[0]
