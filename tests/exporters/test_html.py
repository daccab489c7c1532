"""What the page is made of: the file itself, without a browser."""

import base64
import hashlib
import json
import math
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from recorder_exporters import html as exporter
from recorder_exporters.drawing.styles import STYLES

import recorder
from recorder import OptionError, Value
from recorder.figures import WORDS, stats_in_words
from recorder.testing import sample_graphs

PAGE = Path(exporter.__file__).parent / "page"


def block(page: str, name: str) -> str:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", sorted(sample_graphs()))
def test_the_whole_graph_is_in_the_page(name: str) -> None:
    graph = sample_graphs()[name]
    page = str(recorder.export(graph, "html"))
    assert recorder.loads(block(page, "graph")) == graph
    assert page == recorder.export(sample_graphs()[name], "html")


def test_data_holds_nothing_that_a_parser_of_html_looks_for() -> None:
    page = str(recorder.export(sample_graphs()["hostile"], "html"))
    for name in ("graph", "settings"):
        assert not set("<>&\u2028\u2029") & set(block(page, name))
    assert page.count("<script") == page.count("</script") == 4


def test_nothing_runs_but_what_is_named_and_nothing_is_asked_for() -> None:
    page = str(recorder.export(sample_graphs()["tiny"], "html"))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    for rule, texts in (("script-src", scripts), ("style-src", styles)):
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert rules[rule].split() == [f"'sha256-{one}'" for one in hashes]
    assert not re.search(r"\bsrc=|@import|url\((?!#)|sourceMappingURL|\bfetch\(|XMLHttpRequest|WebSocket", page)
    assert not re.search(r'(?i)<[^>]*\s(on\w+|style)="', page)


def test_the_licence_of_the_layout_is_in_the_page_and_beside_it() -> None:
    licence = (PAGE.parent / "vendor" / "dagre" / "LICENSE").read_text(encoding="utf-8")
    page = str(recorder.export(sample_graphs()["tiny"], "html"))
    assert licence.startswith("Copyright (c) 2012-2014 Chris Pettitt")
    assert page.count(licence.strip()) == 1
    assert "Copyright (c) 2012-2014 Chris Pettitt" in page.split("<details>")[1].split("</details>")[0]


def test_options() -> None:
    graph = sample_graphs()["tiny"]
    page = str(recorder.export(graph, "html", title="A & B", depth=1, backward=True, theme="dark", timing=False))
    settings = json.loads(block(page, "settings"))
    assert (settings["title"], settings["depth"], settings["backward"]) == ("A & B", 1, True)
    assert "<title>A &amp; B</title>" in page
    assert '<html lang="en" data-theme="dark">' in page
    assert "duration_ns" not in block(page, "graph")
    assert "duration_ns" in block(str(recorder.export(graph, "html")), "graph")
    with pytest.raises(OptionError, match="depth is -1"):
        recorder.export(graph, "html", depth=-1)


def test_every_kind_of_box_has_its_colours_in_the_dark_too() -> None:
    style = (PAGE / "page.css").read_text(encoding="utf-8")
    for look in STYLES:
        for part in ("fill", "line", "text"):
            assert f"--{look}-{part}:" in style


def test_every_script_is_in_the_page_after_what_it_imports() -> None:
    assert sorted(path.stem for path in PAGE.glob("*.mjs")) == sorted(exporter.SCRIPTS)
    for at, name in enumerate(exporter.SCRIPTS):
        text = (PAGE / f"{name}.mjs").read_text(encoding="utf-8")
        assert text.startswith("// "), f"{name} says why it is there"
        assert len(text.splitlines()) < 400
        imported = re.findall(r'from "\./(\w+)\.mjs"', text)
        assert set(imported) <= set(exporter.SCRIPTS[:at])
    page = str(recorder.export(sample_graphs()["tiny"], "html"))
    assert not re.search(r"(?m)^(import|export) ", page.rsplit("<script>", 1)[1])


@pytest.mark.slow
def test_scripts_by_themselves() -> None:
    """What needs no browser, under Node.js."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed, by which the page's scripts are tested")
    tests = sorted(str(path) for path in (Path(__file__).parents[1] / "page").glob("*.test.mjs"))
    assert tests
    done = subprocess.run(["node", "--test", *tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# skipped 0" in done.stdout or "ℹ skipped 0" in done.stdout


MOST = {"count": 1e21, "bytes": 1e21, "share": 1, "norm": 1e21}


def test_numbers_are_said_as_in_every_other_drawing() -> None:
    """By JavaScript and by Python, ties and ends of units included."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed, by which the page's scripts are tested")
    some = random.Random(0)
    numbers = [0, 1, 999, 999.4, 999.5, 1125, 1135, 9994, 9995, 9996, 12_250, 99_949, 99_950, 0.125, 0.5, 1e-5, 2.5e-7]
    numbers += [999_499, 999_500, 1e18, 5e21, 0.0005, 0.00625, 1234.5, -1_500_000]
    numbers += [some.choice((round, float))(10 ** some.uniform(0, 20)) for _ in range(300)]
    numbers += [10 ** some.uniform(-9, 5) for _ in range(100)]
    asked = [(words, number) for words in WORDS for number in numbers if words == "time" or 0 <= number <= MOST[words]]
    script = f"const {{ figures }} = await import({json.dumps((PAGE / 'text.mjs').as_uri())});"
    script += f"console.log(JSON.stringify({json.dumps(asked)}.map(([words, number]) => figures(number, words))));"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    told = dict(zip(asked, json.loads(done.stdout), strict=True))
    assert {pair: words for pair, words in told.items() if words != WORDS[pair[0]](pair[1])} == {}


def test_what_was_measured_is_said_as_in_every_other_drawing() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed, by which the page's scripts are tested")
    keys = ("norm", "largest", "mean", "nan", "inf", "zeros")
    numbers = [
        (3.35776, 1.8042, -0.05845, 0, 0, 0.0),
        (0.0, 0.0, 0.0, 1234, 7, 0.125),
        (1e30, 2.5e-7, -1234.5, 0, 1, 1.0),
    ]
    metas: list[dict[str, Any]] = [{}, *({"stats": dict(zip(keys, row))} for row in numbers)]
    script = f"const {{ measuredOf }} = await import({json.dumps((PAGE / 'text.mjs').as_uri())});"
    script += f"console.log(JSON.stringify({json.dumps(metas)}.map((meta) => measuredOf({{ meta }}))));"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert json.loads(done.stdout) == [stats_in_words(Value("v", (4,), "float32", "cpu", meta=meta)) for meta in metas]


def test_the_page_gets_the_figures_of_the_graph() -> None:
    graph = sample_graphs()["residual"]
    graph.metrics = {node: {"flops": 7, "time_share": 0.5} for node in graph.nodes}
    graph.nodes[0].meta["backward"] = {"arrived": [{"norm": 1.0, "nan": 1, "inf": 0}]}
    settings = json.loads(block(str(recorder.export(graph, "html")), "settings"))
    told = {figure["name"]: figure["values"] for figure in settings["figures"]}
    unknown = [None] * len(graph.scopes)
    assert told["flops"] == [*[7] * len(graph.nodes), *unknown]
    assert told["gradient"][0] == str(math.nan)
    assert told["time"][0] == graph.nodes[0].duration_ns
    untimed = json.loads(block(str(recorder.export(graph, "html", timing=False)), "settings"))
    assert [figure["name"] for figure in untimed["figures"]] == ["gradient", "flops"]
