"""What repeats, on the interactive page: folded as `recorder.fold` does it, opened by the reader."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recorder_exporters import html as exporter
from support.browser import Show, boxes, item, names, still
from torch import nn

import recorder
from recorder import Graph, Recorder, Scope, fold
from recorder.figures import FIGURES
from recorder.testing import StreamBuilder, chain

PAGE = Path(exporter.__file__).parent / "page"


class Decoder(nn.Module):
    """A sequence of several that repeats, which has no module around it."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.emb, self.cell, self.out = steps, nn.Embedding(9, 4), nn.GRUCell(4, 4), nn.Linear(4, 9)

    def forward(self, h: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        logits = []
        for _ in range(self.steps):
            h = self.cell(self.emb(t), h)
            logits.append(self.out(h))
            t = logits[-1].argmax(-1)
        return torch.stack(logits, 1)


class Stages(nn.Module):
    """Blocks within blocks, each with a residual connection, and a mask that all use."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(Stage() for _ in range(3))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        made = []
        for stage in self.stages:
            x, kept = stage(x, mask)
            made.append(kept)
        return [x, *made]


class Stage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fcs = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(4))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for fc in self.fcs:
            x = x + fc(x) * mask
        return x, x.tanh()


def recorded(net: nn.Module, *inputs: torch.Tensor) -> Graph:
    with Recorder(net, values="stats") as r:
        net(*inputs)
    return r.graph


def decoder(steps: int = 20) -> Graph:
    return recorded(Decoder(steps), torch.zeros(1, 4), torch.zeros(1, dtype=torch.long))


def resnet() -> Graph:
    import torchvision

    return recorded(torchvision.models.resnet50(weights=None).eval(), torch.zeros(1, 3, 32, 32))


def gpt2() -> Graph:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=4, n_embd=8, n_head=2, vocab_size=9, n_positions=8, bos_token_id=1, eos_token_id=1)
    return recorded(GPT2LMHeadModel(config).eval(), torch.zeros(1, 4, dtype=torch.long))


GRAPHS: dict[str, Callable[[], Graph]] = {
    "chain": lambda: chain(24, blocks=4),
    "decoder": decoder,
    "stages": lambda: recorded(Stages(), torch.zeros(2, 4), torch.zeros(2, 4)),
    "resnet": resnet,
    "gpt2": gpt2,
}

SHOWN = """
const [page, told] = process.argv.slice(1);
const { buildModel } = await import(`${page}/model.mjs`);
const { metricsOf, saidOf } = await import(`${page}/metrics.mjs`);
import { readFileSync } from "node:fs";
const { doc, settings } = JSON.parse(readFileSync(told, "utf8"));
const model = buildModel(doc, settings);
const metrics = metricsOf(doc, settings.figures).filter(({ repeated }) => repeated);
const drawn = (kind) => model.items.filter((item) => item.kind === kind && item.source && item.shown === item);
const key = (item) => (item.run?.group === item ? item.members.map((one) => one.name).sort().join(" ") : item.name);
const flows = model.items.flatMap((item) => [...(item.links?.values() ?? [])]).flatMap((link) => link.flows);
const figures = Object.fromEntries([...drawn("node"), ...drawn("scope")].map((item) => [key(item),
  Object.fromEntries(metrics.map((metric) => [metric.key, saidOf(metric, item)]).filter(([, said]) => said))]));
const pairs = flows.filter(({ from, to }) => from.kind === "node" && to.kind === "node")
  .map(({ from, to }) => `${from.shown.name} > ${to.shown.name}`);
const values = (look) => drawn("value").filter((item) => (item.look === "output") === (look === "output"));
console.log(JSON.stringify({ nodes: drawn("node").map((item) => item.name), figures, pairs: [...new Set(pairs)].sort(),
  short: Object.fromEntries([...drawn("node"), ...drawn("scope")].map((item) => [key(item), [item.short, item.times]])),
  outputs: values("output").length, inputs: values("input").filter((item) => item.look === "input").length }));
"""


def settings_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="settings">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


def first_of(group: Scope) -> str:
    """The names of the first of the sequences that a new scope stands for."""
    every = group.meta["repeated"]
    return " ".join(sorted(every[: len(every) // group.meta["repeats"]]))


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_the_page_folds_what_the_drawings_do_and_says_the_same_figures(name: str, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed, by which the page's scripts are tested")
    graph = GRAPHS[name]()
    told = tmp_path / "told.json"
    doc, settings = json.loads(recorder.dumps(graph)), settings_of(str(recorder.export(graph, "html", fold=True)))
    told.write_text(json.dumps({"doc": doc, "settings": settings}), encoding="utf-8")
    command = ["node", "--input-type=module", "-e", SHOWN, PAGE.as_uri(), str(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    view = fold(graph)
    assert shown["nodes"] == [node.name for node in view.nodes]
    assert len(view.nodes) < len(graph.nodes)
    assert shown["pairs"] == sorted({f"{edge.source.name} > {edge.target.name}" for edge in view.edges()})
    assert (shown["inputs"], shown["outputs"]) == (len(view.inputs), len(dict.fromkeys(view.outputs)))
    places = [*view.nodes, *(scope for scope in view.scopes if scope.op_type)]
    groups = [scope for scope in view.scopes if not scope.op_type]
    keyed = {place.name: place for place in places} | {first_of(group): group for group in groups}
    offered = {figure["name"] for figure in settings["figures"]}
    assert set(shown["figures"]) == set(keyed)
    checked = 0
    for key, place in keyed.items():
        for figure in (FIGURES[name] for name in offered):
            value = figure.of_all(view, place)
            said = shown["figures"][key].get(figure.name, "")
            assert said == ("" if value in (None, figure.absent) else figure.said(view, place)), (key, figure.name)
            checked += said.endswith(("each", "in all", "at most"))
        assert shown["short"][key][1] == place.meta.get("repeats", 0)
    assert checked > len(view.nodes)


# By the reader


def stages() -> Graph:
    build = StreamBuilder("Net")
    x = build.tensor((1, 8))
    with build.call("", "Net", [x]) as net:
        for i in range(12):
            with build.call(f"h.{i}", "Block", [x]) as block:
                y = build.op(f"h.{i}.fc", "Linear", [x], (1, 8))
                y = build.op(f"h.{i}.act", "GELU", [y], (1, 8))
                x = build.op(None, "add", [x, y], (1, 8))
                block.outputs = [x]
        for i, kind in enumerate(("Norm", "Linear", "Tanh", "Dropout", "Linear", "ReLU", "Linear", "Softmax")):
            x = build.op(f"head{i}", kind, [x], (1, 8))
        net.outputs = [x]
    return recorder.assemble(build.stream)


def test_a_block_that_repeats_opens_as_one_and_shows_all_on_request(show: Show) -> None:
    head = [f"head{i}" for i in range(8)]
    with show(stages(), fold=True, depth=1) as page:
        assert boxes(page) == ["h.0", *head]
        assert item(page, "h.0").locator("text").all_text_contents() == ["▸ Block × 12", "h.0–11 · 3 nodes each"]
        assert "× n: n alike, drawn once" in page.locator("#legend").inner_text()
        item(page, "h.0").dblclick()
        assert boxes(page) == ["h.0.fc", "h.0.act", "h.0.add", *head]
        assert page.locator("g.title").last.text_content().startswith("▾ Block × 12")
        page.locator(".title", has_text="× 12").click()
        assert boxes(page) == ["h.0", *head]
        item(page, "h.0").click()
        page.get_by_role("button", name="Show all 12").click()
        assert boxes(page) == [*(f"h.{i}" for i in range(12)), *head]
        assert names(page, ".box.picked") == ["h.0"]
        assert item(page, "h.0").locator("text").first.text_content() == "▸ Block"
        item(page, "h.7").click()
        page.get_by_role("button", name="Fold 12 into one").click()
        assert boxes(page) == ["h.0", *head]
        assert names(page, ".box.picked") == ["h.0"]
        page.keyboard.press("x")
        assert len(boxes(page)) == 20
        page.keyboard.press("r")
        assert page.locator("#fold").is_checked()
        assert len(boxes(page)) == 9
        page.locator("#fold").uncheck()
        assert len(boxes(page)) == 20


def test_what_is_folded_away_is_found_and_shown(show: Show) -> None:
    with show(stages(), fold=True, depth=1) as page:
        page.fill("#search", "h.7.act")
        assert names(page, ".box.found") == ["h.0"]
        page.keyboard.press("Enter")
        still(page)
        assert names(page, ".box.picked") == ["h.7.act"]
        assert {"h.6", "h.7.fc", "h.8"} < set(boxes(page))


def test_the_flow_is_followed_past_what_is_folded(show: Show) -> None:
    with show(stages(), fold=True, depth=1) as page:
        item(page, "h.0").click()
        page.keyboard.press("ArrowDown")
        still(page)
        assert names(page, ".box.picked") == ["head0"]
        page.keyboard.press("ArrowUp")
        still(page)
        assert names(page, ".box.picked") == ["h.0"]
        page.keyboard.press("l")
        still(page)
        page.keyboard.press("ArrowRight")
        still(page)
        assert names(page, ".box.picked") == ["head0"]


def test_a_model_small_enough_is_not_folded_and_one_without_repeats_has_no_switch(show: Show) -> None:
    with show(stages(), depth=1) as page:
        assert len(boxes(page)) == 20
        assert not page.locator("#fold").is_checked()
    with show(chain(2)) as page:
        assert page.locator("#fold").is_hidden()


WHOLE = """() => {
    const canvas = document.getElementById("canvas").getBoundingClientRect();
    return [...document.querySelectorAll(".box, .frame")].every((one) => {
        const place = one.getBoundingClientRect();
        return place.left >= canvas.left && place.right <= canvas.right && place.top >= canvas.top
            && place.bottom <= canvas.bottom;
    });
}"""


@pytest.mark.parametrize(("name", "fewest"), [("resnet", 8), ("gpt2", 8), ("long decoder", 5)])
def test_a_large_model_opens_with_a_picture_of_it(show: Show, name: str, fewest: int) -> None:
    """The whole in view; fewer than eight boxes only of what has so few that are not alike."""
    with show(decoder(100) if name == "long decoder" else GRAPHS[name]()) as page:
        assert fewest <= len(boxes(page)) <= 90
        assert page.evaluate(WHOLE)
